/** Many resources go in one request: what is removed, what is missing, what is refused with what, and what the answer says of each. */
import t from "tap";
import type { Change } from "../../../../src/control-plane/store/store.ts";
import {
  fields,
  rig,
  service as serviceIn,
  type Answer,
  type Rig,
} from "../../../support/control-plane/api.ts";
import { take } from "../../../support/control-plane/store-contract/fixtures.ts";

type Body = Record<string, unknown>;

const OWN = "mesh.wherry.dev/v1alpha1";

/** "shop/a" as the list names it: a key, and nothing else. */
const named = (place: string, kind = "Service"): Body => {
  const [namespace = "", name = ""] = place.split("/");
  return { apiVersion: OWN, kind, metadata: { name, namespace } };
};

const MESH: Body = {
  apiVersion: OWN,
  kind: "Mesh",
  metadata: { name: "default" },
};

/** A mesh with these Services in it, a Workload of a sidecar and the Mesh. */
async function filled(
  t: Parameters<typeof rig>[0],
  ...places: readonly string[]
): Promise<Rig> {
  const world = await rig(t);
  const { store } = world;
  for (const place of places) {
    const [namespace = "", name = ""] = place.split("/");
    const { spec } = serviceIn(name);
    const metadata = { name, namespace };
    await store.put(
      { apiVersion: OWN, kind: "Service", metadata, spec },
      undefined,
    );
  }
  await store.put(
    {
      apiVersion: OWN,
      kind: "Mesh",
      metadata: { name: "default" },
      spec: { authorization: { defaultAction: "ALLOW" } },
    },
    undefined,
  );
  return world;
}

function remove(
  { call }: Rig,
  items: readonly unknown[],
  query = "",
  headers: Record<string, string> = {},
): Promise<Answer> {
  return call("POST", `/delete${query}`, { items }, headers);
}

/** "deleted shop/a", in the order of the answer. */
function outcomes({ body }: Answer): string[] {
  const items = body["items"] as
    | { outcome: string; namespace?: string; name?: string }[]
    | undefined;
  return (items ?? []).map(
    ({ outcome, namespace = "", name = "" }) =>
      `${outcome} ${namespace}/${name}`,
  );
}

/** "items[1].metadata.name: MESSAGE" */
function told({ body }: Answer): string[] {
  const list = body["causes"] as { field: string; message: string }[];
  return list.map(({ field, message }) => `${field}: ${message}`);
}

const summary = ({ revision, type, resource }: Change): string =>
  `${revision} ${type} ${resource.metadata.name}`;

async function left({ store }: Rig): Promise<string[]> {
  const { resources } = await store.list("Service");
  return resources.map(
    ({ metadata }) => `${metadata.namespace ?? ""}/${metadata.name}`,
  );
}

void t.test(
  "what is there goes, in its order, and what is not is told",
  async (t) => {
    const world = await filled(t, "shop/a", "shop/b", "shop/c", "default/d");
    const before = await world.store.revision();
    const answer = await remove(world, [
      named("shop/c"),
      named("shop/gone"),
      // A whole resource, as a file has it, at whatever version it was read.
      {
        ...serviceIn("a", { resourceVersion: "999" }),
        metadata: { name: "a", namespace: "shop", resourceVersion: "999" },
      },
      { apiVersion: OWN, kind: "Service", metadata: { name: "d" } },
    ]);
    t.equal(answer.code, 200);
    t.same(outcomes(answer), [
      "deleted shop/c",
      "missing shop/gone",
      "deleted shop/a",
      "deleted default/d",
    ]);
    t.match(answer.body, {
      kind: "DeleteResult",
      metadata: { resourceVersion: String(before + 3) },
      causes: [],
    });
    t.same((await take(world.store, before, 3)).map(summary), [
      `${before + 1} remove c`,
      `${before + 2} remove a`,
      `${before + 3} remove d`,
    ]);
    t.same(await left(world), ["shop/b"]);
    const none = await remove(world, []);
    t.equal(none.code, 200);
    t.same(none.body["items"], []);
    t.same(outcomes(await remove(world, [named("shop/a")])), [
      "missing shop/a",
    ]);
  },
);

void t.test("a dry run says the same and removes nothing", async (t) => {
  const world = await filled(t, "shop/a");
  const revision = await world.store.revision();
  const items = [named("shop/a"), named("shop/b"), MESH];
  const dry = await remove(world, items, "?dryRun=All");
  t.equal(dry.code, 207);
  t.same(outcomes(dry), [
    "deleted shop/a",
    "missing shop/b",
    "refused /default",
  ]);
  t.equal(await world.store.revision(), revision);
  t.same(outcomes(await remove(world, items)), outcomes(dry));
  t.equal(await world.store.revision(), revision + 1);
});

void t.test(
  "what may not go keeps its namespace, and with atomic all",
  async (t) => {
    const world = await filled(t, "shop/a", "bank/a", "bank/b");
    const items = [
      named("shop/a"),
      named("bank/a"),
      { ...named("bank/b"), kind: "Servise" },
      MESH,
    ];
    const revision = await world.store.revision();
    const atomic = await remove(world, items, "?atomic=true");
    t.equal(atomic.code, 403);
    t.match(atomic.body, {
      message:
        /^nothing of the list was changed, for 2 of 4 resources are refused/,
    });
    t.equal(await world.store.revision(), revision);
    const answer = await remove(world, items);
    t.equal(answer.code, 207);
    t.same(outcomes(answer), [
      "deleted shop/a",
      "skipped bank/a",
      "refused bank/b",
      "refused /default",
    ]);
    t.match(told(answer), [
      /^items\[2\]\.kind: "Servise" is not a kind .*Service/,
      /^items\[3\]: Mesh default holds the settings of the whole mesh/,
    ]);
    t.same(await left(world), ["bank/a", "bank/b"]);
    t.same(
      outcomes(
        await remove(world, [
          { ...MESH, metadata: { name: "other" } },
          named("bank/a"),
        ]),
      ),
      ["missing /other", "deleted bank/a"],
      "a Mesh that is not there keeps nothing",
    );
  },
);

void t.test("what cannot be read", async (t) => {
  const world = await filled(t, "shop/a");
  const answer = await remove(world, [
    named("shop/a"),
    named("else/"),
    named("shop/a"),
  ]);
  t.equal(answer.code, 422);
  t.same(fields(answer), ["items[1].metadata.name", "items[2].metadata.name"]);
  t.match(answer.body, { message: /Service shop\/a is in items\[0\] already/ });
  for (const body of [
    { items: [{ ...named("shop/a"), metadata: { name: "a", namespace: 7 } }] },
    { items: ["shop/a"] },
    { items: {} },
    { items: [], more: 1 },
    [],
  ])
    t.equal((await world.call("POST", "/delete", body)).code, 422);
  const large = { items: Array.from({ length: 2001 }, () => named("shop/a")) };
  t.equal((await world.call("POST", "/delete", large)).code, 422);
  t.equal(
    (
      await world.call("POST", "/delete", "items: []", {
        "content-type": "application/yaml",
      })
    ).code,
    415,
  );
  t.same(await left(world), ["shop/a"]);
});

void t.test("a name that begins as another one's", async (t) => {
  const longest = "a".repeat(253);
  const world = await filled(t, `shop/${longest}`);
  const answer = await remove(world, [named(`shop/${longest}a`)]);
  t.equal(answer.code, 422);
  t.same(fields(answer), ["items[0].metadata.name"]);
  t.same(await left(world), [`shop/${longest}`]);
});

void t.test("rights are those of each namespace", async (t) => {
  const world = await filled(t, "shop/a", "bank/a", "wherry-system/a");
  const items = [
    named("shop/a"),
    named("bank/a"),
    named("wherry-system/a"),
    MESH,
  ];
  const anonymous = await world.api.inject({
    method: "POST",
    url: "/delete",
    headers: { "content-type": "application/json" },
    payload: { items },
  });
  t.equal(anonymous.statusCode, 401);
  for (const list of [items, []]) {
    const viewer = await remove(world, list, "", await world.as("viewer"));
    t.equal(viewer.code, 403);
    t.match(viewer.body, { message: /role viewer, which only reads/ });
  }
  const editor = await world.as("editor", ["shop"]);
  const answer = await remove(world, items, "", editor);
  t.equal(answer.code, 207);
  t.same(outcomes(answer), [
    "deleted shop/a",
    "refused bank/a",
    "refused wherry-system/a",
    "refused /default",
  ]);
  t.same(await left(world), ["bank/a", "wherry-system/a"]);
  // Whether it is there is not told to whoever may not write there.
  t.equal((await remove(world, [named("bank/no")], "", editor)).code, 403);
});

void t.test("what a sidecar holds under a lease", async (t) => {
  const world = await filled(t);
  const { store } = world;
  const metadata = { name: "w", namespace: "shop" };
  const spec = { address: "10.0.0.1", serviceAccount: "w" };
  await store.put(
    { apiVersion: OWN, kind: "Workload", metadata, spec },
    undefined,
  );
  world.world.leased.add("shop/w");
  const items = [named("shop/w", "Workload")];
  const editor = await world.as("editor", ["shop"]);
  const refused = await remove(world, items, "", editor);
  t.equal(refused.code, 403);
  t.match(refused.body, { message: /registered by its sidecar under a lease/ });
  t.same(outcomes(await remove(world, items)), ["deleted shop/w"]);
});

void t.test("each resource has its line in the audit log", async (t) => {
  const world = await filled(t, "shop/a", "bank/a");
  const lines: Body[] = [];
  Object.assign(world.options, {
    logger: { info: (line: Body) => void lines.push(line) },
  });
  const items = [
    named("shop/a"),
    named("shop/b"),
    named("bank/a"),
    { ...named("bank/b"), kind: "x" },
  ];
  await remove(world, items, "?dryRun=All");
  await remove(world, items);
  t.same(
    lines.map((line) => [line["url"], line["resource"], line["outcome"]]),
    [
      ["/delete", "Service shop/a", "deleted"],
      ["/delete", "Service shop/b", "missing"],
      ["/delete", "Service bank/a", "skipped"],
      ["/delete", "x bank/b", "refused"],
    ],
  );
});
