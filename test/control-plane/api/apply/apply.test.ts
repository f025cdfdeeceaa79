/** Many resources in one request: what is written, what is refused with what, and what the answer says of each. */
import t from "tap";
import type { Change } from "../../../../src/control-plane/store/store.ts";
import {
  fields,
  rig,
  route as routeIn,
  service as serviceIn,
  type Answer,
  type Rig,
} from "../../../support/api.ts";
import { take } from "../../../support/store-contract.ts";

type Body = Record<string, unknown>;

const into = (namespace: string, resource: Body): Body => ({
  ...resource,
  metadata: { ...(resource["metadata"] as object), namespace },
});

const service = (
  place: string,
  more: Record<string, unknown> = {},
  spec: Record<string, unknown> = {},
): Body => {
  const [namespace = "", name = ""] = place.split("/");
  return into(namespace, serviceIn(name, more, spec));
};

/** In `namespace`, to the port of a Service. */
const route = (namespace: string, to: string, port = 80): Body => {
  const [home = "", name = ""] = to.split("/");
  const made = into(namespace, routeIn("r", name, port)) as {
    spec: { parentRefs: Body[]; rules: { backendRefs: Body[] }[] };
  };
  for (const ref of [
    ...made.spec.parentRefs,
    ...made.spec.rules.flatMap(({ backendRefs }) => backendRefs),
  ])
    ref["namespace"] = home;
  for (const ref of made.spec.parentRefs) delete ref["port"];
  return made;
};

const workload = (place: string, address: string): Body => {
  const [namespace = "", name = ""] = place.split("/");
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Workload",
    metadata: { name, namespace },
    spec: { address, ports: { http: 8080 }, serviceAccount: name },
  };
};

const MESH: Body = {
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Mesh",
  metadata: { name: "default" },
  spec: { authorization: { defaultAction: "ALLOW" } },
};

const BROKEN = service("bad/broken", {}, { colour: "blue" });

function apply(
  { call }: Rig,
  items: readonly unknown[],
  query = "",
  headers: Record<string, string> = {},
): Promise<Answer> {
  return call("POST", `/apply${query}`, { items }, headers);
}

/** "created shop/orders", in the order of the answer. */
function outcomes({ body }: Answer): string[] {
  const items = body["items"] as
    { outcome: string; namespace?: string; name?: string }[] | undefined;
  return (items ?? []).map(
    ({ outcome, namespace = "", name = "" }) =>
      `${outcome} ${namespace}/${name}`,
  );
}

/** "items[1].spec.a: MESSAGE" */
function told({ body }: Answer, what: "causes" | "warnings"): string[] {
  const list = body[what] as { field: string; message: string }[];
  return list.map(({ field, message }) => `${field}: ${message}`);
}

const summary = ({ revision, type, created, resource }: Change): string =>
  `${revision} ${created === true ? "new" : type} ${resource.metadata.name}`;

void t.test(
  "a list is created, configured or left, each with a version of its own in its order",
  async (t) => {
    const world = await rig(t);
    const before = await world.store.revision();
    const first = await apply(world, [service("shop/b"), service("shop/a")]);
    t.equal(first.code, 200);
    t.same(outcomes(first), ["created shop/b", "created shop/a"]);
    const second = await apply(world, [
      service("shop/a"),
      service("shop/c"),
      service("shop/b", {}, { selector: { app: "x" } }),
    ]);
    t.equal(second.code, 200);
    t.same(outcomes(second), [
      "unchanged shop/a",
      "created shop/c",
      "configured shop/b",
    ]);
    t.match(second.body, {
      kind: "ApplyResult",
      metadata: { resourceVersion: String(before + 4) },
      items: [
        { resourceVersion: String(before + 2) },
        { resourceVersion: String(before + 3) },
        { resourceVersion: String(before + 4) },
      ],
      warnings: [],
      causes: [],
    });
    t.same((await take(world.store, before, 4)).map(summary), [
      `${before + 1} new b`,
      `${before + 2} new a`,
      `${before + 3} new c`,
      `${before + 4} put b`,
    ]);
    const none = await apply(world, []);
    t.equal(none.code, 200);
    t.same(none.body["items"], []);
  },
);

void t.test(
  "what is wrong in one namespace keeps all of it out, and nothing else",
  async (t) => {
    const world = await rig(t);
    const answer = await apply(world, [
      service("bad/fine"),
      service("shop/orders"),
      BROKEN,
      { ...MESH, spec: {} },
      route("shop", "shop/orders"),
    ]);
    t.equal(answer.code, 207);
    t.same(outcomes(answer), [
      "skipped bad/fine",
      "created shop/orders",
      "refused bad/broken",
      "refused /default",
      "created shop/r",
    ]);
    t.match(told(answer, "causes"), [
      /^items\[2\]\.spec\.colour: unknown field/,
      /^items\[3\]\.spec\.authorization: /,
    ]);
    const stored = await world.store.list("Service");
    t.same(
      stored.resources.map(({ metadata }) => metadata.name),
      ["orders"],
    );
  },
);

void t.test("atomic: nothing is changed where anything is wrong", async (t) => {
  const world = await rig(t);
  const revision = await world.store.revision();
  const items = [service("shop/orders"), BROKEN, route("a", "shop/orders", 81)];
  const answer = await apply(world, items, "?atomic=true");
  t.equal(answer.code, 422);
  t.match(answer.body, {
    reason: "Invalid",
    message:
      /^nothing of the list was changed, for 2 of 3 resources are refused: items\[1\]/,
  });
  t.same(
    fields(answer),
    ["items[1].spec.colour", "items[2].spec.rules[0].backendRefs[0].port"],
    "all that is wrong is told at once",
  );
  t.equal(await world.store.revision(), revision);
  const whole = await apply(world, items.slice(0, 1), "?atomic=true");
  t.same(outcomes(whole), ["created shop/orders"]);
  t.equal((await apply(world, items, "?atomic=false")).code, 400);
});

void t.test("where all is refused, the answer is a refusal", async (t) => {
  const world = await rig(t);
  const answer = await apply(world, [BROKEN, service("bad/fine")]);
  t.equal(answer.code, 422);
  t.same(fields(answer), ["items[0].spec.colour"]);
});

void t.test(
  "a list that does not say where each item belongs is refused as a whole",
  async (t) => {
    const world = await rig(t);
    const revision = await world.store.revision();
    const rows: readonly (readonly [unknown, string[]])[] = [
      [{ items: [service("shop/a"), 3] }, ["items[1]"]],
      [{ items: [null, service("shop/a")] }, ["items[0]"]],
      [
        { items: [{ ...service("shop/a"), metadata: { namespace: 5 } }] },
        ["items[0].metadata.name", "items[0].metadata.namespace"],
      ],
      [{ items: {} }, ["items"]],
      [{ items: [], more: 1 }, ["more"]],
      [{ kind: "ServiceList", items: [] }, ["kind"]],
      [{}, ["items"]],
      [[], [""]],
    ];
    for (const [body, expected] of rows) {
      const answer = await world.call("POST", "/apply", body);
      t.equal(answer.code, 422, JSON.stringify(body));
      t.same(fields(answer).sort(), expected);
    }
    t.equal(await world.store.revision(), revision);
    const list = { apiVersion: "v1", kind: "List", metadata: {} };
    const items = [{ ...serviceIn("a"), status: {} }];
    const taken = await world.call("POST", "/apply", { ...list, items });
    t.same(outcomes(taken), ["created default/a"], "as kubectl prints it");
  },
);

void t.test(
  "an item of no known kind is refused with its namespace",
  async (t) => {
    const world = await rig(t);
    const answer = await apply(world, [
      { ...service("bad/a"), kind: "Rabbit" },
      service("bad/b"),
      service("shop/a"),
    ]);
    t.equal(answer.code, 207);
    t.same(outcomes(answer), [
      "refused bad/a",
      "skipped bad/b",
      "created shop/a",
    ]);
    t.match(told(answer, "causes"), [
      /^items\[0\]\.kind: "Rabbit" is not a kind/,
    ]);
  },
);

void t.test("a resource that is in the list twice is refused", async (t) => {
  const answer = await apply(await rig(t), [
    service("shop/a"),
    service("else/a"),
    service("shop/a", {}, { selector: { app: "x" } }),
  ]);
  t.same(outcomes(answer), [
    "skipped shop/a",
    "created else/a",
    "refused shop/a",
  ]);
  t.same(told(answer, "causes"), [
    "items[2].metadata.name: Service shop/a is in items[0] already",
  ]);
});

void t.test(
  "a stated version must be the one that is there; what is not there is made",
  async (t) => {
    const world = await rig(t);
    const first = await apply(world, [service("shop/a"), service("else/a")]);
    const [version] = (first.body["items"] as Body[]).map(
      (item) => item["resourceVersion"],
    );
    const changed = (place: string, app: string): Body =>
      service(place, { resourceVersion: version }, { selector: { app } });
    t.same(outcomes(await apply(world, [changed("shop/a", "x")])), [
      "configured shop/a",
    ]);
    const stale = await apply(world, [
      changed("shop/a", "y"),
      changed("new/a", "y"),
    ]);
    t.equal(stale.code, 207);
    t.same(outcomes(stale), ["refused shop/a", "created new/a"]);
    t.match(told(stale, "causes"), [
      /^items\[0\]\.metadata\.resourceVersion: Service shop\/a is at resourceVersion \d+, but the write expected.*read it again/,
    ]);
    const alone = await apply(world, [changed("shop/a", "y")]);
    t.equal(alone.code, 409);
    t.match(alone.body, { reason: "Conflict" });
    const odd = await apply(world, [
      service("shop/a", { resourceVersion: "x1" }),
    ]);
    t.equal(odd.code, 422);
    t.same(fields(odd), ["items[0].metadata.resourceVersion"]);
  },
);

void t.test("a list is judged as a whole", async (t) => {
  const world = await rig(t);
  const fine = await apply(world, [
    route("shop", "shop/orders"),
    service("shop/orders"),
  ]);
  t.equal(fine.code, 200);
  t.same(told(fine, "warnings"), [], "the Service comes after its route");
  const early = await apply(world, [
    service("a/x"),
    route("a", "shop/none"),
    route("b", "shop/orders"),
  ]);
  t.equal(early.code, 200);
  t.match(told(early, "warnings"), [
    /^items\[1\]\.spec\.parentRefs\[0\]\.name: there is no Service shop\/none yet/,
    /^items\[1\]\.spec\.rules\[0\]\.backendRefs\[0\]\.name: /,
  ]);
});

void t.test(
  "what relies on a refused namespace is judged without it",
  async (t) => {
    const world = await rig(t);
    await apply(world, [service("bad/web")]);
    const ports = { ports: [{ port: 81 }] };
    const answer = await apply(world, [
      route("one", "bad/web", 81),
      service("bad/web", {}, ports),
      BROKEN,
      service("bad/new"),
      route("two", "bad/new"),
      service("three/x"),
    ]);
    t.equal(answer.code, 207);
    t.same(outcomes(answer), [
      "refused one/r",
      "skipped bad/web",
      "refused bad/broken",
      "skipped bad/new",
      "created two/r",
      "created three/x",
    ]);
    t.match(told(answer, "causes"), [
      /^items\[0\]\.spec\.rules\[0\]\.backendRefs\[0\]\.port: Service bad\/web has no port 81/,
      /^items\[2\]\.spec\.colour: /,
    ]);
    t.match(told(answer, "warnings"), [
      /^items\[4\].*no Service bad\/new yet/,
      /./,
    ]);
  },
);

void t.test(
  "a chain of namespaces that rely on refused ones ends in a refusal of the rest",
  async (t) => {
    const world = await rig(t);
    const names = Array.from({ length: 12 }, (_, count) => `n${count}`);
    await apply(
      world,
      names.map((name) => service(`${name}/web`)),
    );
    // Each relies on the port that the one before it gets in this list.
    const links = names.flatMap((name, index) => [
      service(`${name}/web`, {}, { ports: [{ port: 81 }] }),
      ...(index === 0 ? [] : [route(name, `n${index - 1}/web`, 81)]),
    ]);
    const whole = await apply(world, links, "?dryRun=All");
    t.equal(whole.code, 200);
    const answer = await apply(world, [
      ...links,
      service("n0/broken", {}, { colour: "blue" }),
      service("apart/x"),
    ]);
    t.equal(answer.code, 422);
    // One namespace goes in each of eight rounds, and then the rest at once.
    t.equal(fields(answer).length, 17);
    t.match(
      answer.text,
      /too many namespaces of the list depend on refused ones/,
    );
  },
);

void t.test("a dry run tells what would be and changes nothing", async (t) => {
  const world = await rig(t);
  await apply(world, [service("shop/a")]);
  const revision = await world.store.revision();
  const answer = await apply(
    world,
    [service("shop/a"), service("shop/new"), service("else/a"), BROKEN],
    "?dryRun=All",
  );
  t.equal(answer.code, 207);
  t.same(outcomes(answer), [
    "unchanged shop/a",
    "created shop/new",
    "created else/a",
    "refused bad/broken",
  ]);
  const [known, made] = answer.body["items"] as Body[];
  t.equal(known?.["resourceVersion"], String(revision));
  t.equal(made?.["resourceVersion"], undefined);
  const changed = service("shop/a", {}, { selector: { app: "x" } });
  t.same(outcomes(await apply(world, [changed], "?dryRun=All")), [
    "configured shop/a",
  ]);
  t.equal(await world.store.revision(), revision);
});

void t.test("rights are those of each namespace", async (t) => {
  const world = await rig(t);
  const { api, as } = world;
  const anonymous = await api.inject({
    method: "POST",
    url: "/apply",
    headers: { "content-type": "application/json" },
    payload: { items: [] },
  });
  t.equal(anonymous.statusCode, 401);
  const viewer = await apply(
    world,
    [service("shop/a")],
    "",
    await as("viewer"),
  );
  t.equal(viewer.code, 403);
  t.match(viewer.body, { message: /role viewer, which only reads/ });
  t.equal((await apply(world, [], "", await as("viewer"))).code, 403);

  const editor = await as("editor", ["shop"]);
  const answer = await apply(
    world,
    [
      service("shop/a"),
      service("else/a"),
      // What is wrong with it is not told to whoever may not write there.
      BROKEN,
      service("wherry-system/a"),
      MESH,
    ],
    "",
    editor,
  );
  t.equal(answer.code, 207);
  t.same(outcomes(answer), [
    "created shop/a",
    "refused else/a",
    "refused bad/broken",
    "refused wherry-system/a",
    "refused /default",
  ]);
  t.match(told(answer, "causes"), [
    /^items\[1\]: this token is for the namespaces shop, not for else/,
    /^items\[2\]: this token is for the namespaces shop/,
    /^items\[3\]: writing in namespace wherry-system.* needs an admin token/,
    /^items\[4\]: writing a resource of the whole mesh needs an admin token/,
  ]);
  const forbidden = await apply(
    world,
    [BROKEN, service("shop/b", {}, { colour: "blue" })],
    "",
    editor,
  );
  t.equal(forbidden.code, 403, "the gravest reason is the reason of all");
});

void t.test(
  "what acts on others needs the same right as in a write by itself",
  async (t) => {
    const world = await rig(t);
    const editor = await world.as("editor", ["shop"]);
    await apply(world, [workload("shop/known", "10.0.0.1")]);
    world.world.leased.add("shop/leased");
    const external = {
      location: "MESH_EXTERNAL",
      hosts: ["api.example"],
      ports: [{ port: 443 }],
      selector: undefined,
    };
    const rows: readonly (readonly [Body, RegExp | undefined])[] = [
      [workload("shop/known", "10.0.0.1"), undefined],
      [workload("shop/known", "10.0.0.2"), /address of a Workload draws/],
      [workload("shop/other", "10.0.0.3"), /address of a Workload draws/],
      [workload("shop/leased", "10.0.0.4"), /registered by its sidecar/],
      [
        into("shop", {
          ...workload("shop/own", "10.0.0.5"),
          metadata: {
            name: "own",
            annotations: { "mesh.wherry.dev/registered-by": "x" },
          },
        }),
        /says that a sidecar registered/,
      ],
      [
        service("shop/out", {}, { ...external, exportTo: ["*"] }),
        /act on the calls of every namespace/,
      ],
      [service("shop/out", {}, { ...external, exportTo: ["."] }), undefined],
    ];
    for (const [item, expected] of rows) {
      const answer = await apply(world, [item], "", editor);
      if (expected === undefined) t.equal(answer.code, 200, answer.text);
      else {
        t.equal(answer.code, 403);
        t.match(answer.body, { message: expected });
      }
    }
  },
);

/** Lets something happen after each judgement and before the write that follows from it. */
function meanwhile(
  { options }: Rig,
  happen: (time: number) => Promise<unknown>,
): void {
  const { checkInPlace } = options;
  let time = 0;
  Object.assign(options, {
    checkInPlace: async (...given: Parameters<typeof checkInPlace>) => {
      const found = await checkInPlace(...given);
      time += 1;
      await happen(time);
      return found;
    },
  });
}

const stored = (place: string, app: string) =>
  service(place, {}, { selector: { app } }) as never;

void t.test("a list that meets a faster writer is judged again", async (t) => {
  const world = await rig(t);
  const { store } = world;
  await apply(world, [service("shop/a")]);
  meanwhile(world, async (time) => {
    if (time <= 3) await store.put(stored("shop/a", `x${time}`), undefined);
  });
  const answer = await apply(world, [service("shop/a"), service("else/a")]);
  t.equal(answer.code, 200);
  t.same(
    outcomes(answer),
    ["configured shop/a", "created else/a"],
    "compared with what the other wrote",
  );
  const kept = await store.get({
    kind: "Service",
    namespace: "shop",
    name: "a",
  });
  t.match(kept?.spec, { selector: { app: "a" } });
});

void t.test(
  "a right that hangs on what is there holds for what is there at the write",
  async (t) => {
    const world = await rig(t);
    const { store } = world;
    const editor = await world.as("editor", ["shop"]);
    await apply(world, [workload("shop/w", "10.0.0.1")]);
    meanwhile(world, async (time) => {
      if (time === 1)
        await store.put(workload("shop/w", "10.0.0.2") as never, undefined);
    });
    const answer = await apply(
      world,
      [workload("shop/w", "10.0.0.1")],
      "",
      editor,
    );
    t.equal(answer.code, 403, "the address is no longer its own");
  },
);

void t.test("a list that never gets its turn is a conflict", async (t) => {
  const world = await rig(t);
  let times = 0;
  meanwhile(world, async (time) => {
    times = time;
    await world.store.put(stored("shop/a", `x${time}`), undefined);
  });
  const answer = await apply(world, [service("shop/a"), service("else/a")]);
  t.equal(answer.code, 409);
  t.equal(times, 8);
  t.same(
    (await world.store.list("Service", "else")).resources,
    [],
    "nor is what nobody else wrote",
  );
});

void t.test(
  "each resource of a list has its line in the audit log",
  async (t) => {
    const world = await rig(t);
    const lines: Body[] = [];
    Object.assign(world.options, {
      logger: { info: (line: Body) => void lines.push(line) },
    });
    const items = [service("shop/a"), BROKEN, service("bad/a"), MESH];
    await apply(world, items);
    await apply(world, items, "?dryRun=All");
    await apply(world, items, "?atomic=true");
    t.same(
      lines.map((line) => [line["url"], line["resource"], line["outcome"]]),
      [
        ["/apply", "Service shop/a", "created"],
        ["/apply", "Service bad/broken", "refused"],
        ["/apply", "Service bad/a", "skipped"],
        ["/apply", "Mesh default", "created"],
        ["/apply?atomic=true", "Service shop/a", "skipped"],
        ["/apply?atomic=true", "Service bad/broken", "refused"],
        ["/apply?atomic=true", "Service bad/a", "skipped"],
        ["/apply?atomic=true", "Mesh default", "skipped"],
      ],
    );
    for (const line of lines)
      t.match(line, {
        method: "POST",
        token: /^[0-9a-f-]{36}$/,
        remote: String,
      });
  },
);

void t.test(
  "of many causes 500 are told and the rest are counted",
  async (t) => {
    const world = await rig(t);
    const items = Array.from({ length: 600 }, (_, count) =>
      service(`n${count}/a`, {}, { colour: "blue" }),
    );
    const refused = await apply(world, items);
    t.equal(refused.code, 422);
    t.equal(fields(refused).length, 501);
    t.match(refused.body, { message: /; and 595 more$/ });
    const some = await apply(world, [...items, service("shop/a")]);
    t.equal(some.code, 207);
    t.equal(told(some, "causes").at(-1), ": and 100 more");
  },
);
