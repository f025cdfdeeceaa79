/** What the API tells of what was done by it, and to whom. */
import { randomBytes } from "node:crypto";
import t from "tap";
import type { AuditEntry } from "../../../../src/control-plane/audit/audit.ts";
import {
  apply,
  MESH,
  service,
  workload,
} from "../../../support/control-plane/apply.ts";
import {
  OWN,
  rig,
  SHOP,
  type Rig,
} from "../../../support/control-plane/api.ts";

interface Read {
  readonly items: readonly AuditEntry[];
  readonly next?: number;
}

async function audit(
  { call }: Rig,
  query = "",
  headers?: Record<string, string>,
): Promise<Read> {
  const { code, body, text } = await call(
    "GET",
    `/audit${query}`,
    undefined,
    headers,
  );
  if (code !== 200) throw new Error(text);
  return body as unknown as Read;
}

const line = ({ verb, kind, namespace, name }: AuditEntry): string =>
  `${verb} ${kind} ${namespace}/${name}`;

void t.test(
  "every write by the API is told of, and nothing else",
  async (t) => {
    const world = await rig(t);
    const { call, store } = world;
    const place = `${SHOP}/services/web`;
    const body = service("shop/web");
    const meshUrl = `${OWN}/meshes/default`;
    const made = await call("POST", "/tokens/api", { role: "viewer" });
    const enrolment = { namespace: "shop", serviceAccount: "web" };
    for (const [method, url, sent, code] of [
      ["POST", `${SHOP}/services`, body, 201],
      // Nothing is changed by these.
      ["POST", `${SHOP}/services?dryRun=All`, service("shop/b"), 201],
      ["PUT", place, body, 200],
      ["GET", place, undefined, 200],
      ["PUT", `${SHOP}/services/bad`, service("shop/bad", {}, { x: 1 }), 422],
      ["PATCH", place, { spec: { ports: [{ port: 81 }] } }, 200],
      ["DELETE", `${place}?dryRun=All`, undefined, 200],
      ["DELETE", place, undefined, 200],
      ["PUT", meshUrl, MESH, 201],
      ["POST", "/tokens/enrolment", enrolment, 201],
      ["DELETE", `/tokens/api/${String(made.body["id"])}`, undefined, 200],
      ["POST", "/store/accept", { id: "another" }, 409],
      ["POST", "/store/accept", { id: store.id }, 200],
    ] as const)
      t.equal((await call(method, url, sent)).code, code, `${method} ${url}`);
    const { items } = await audit(world);
    t.match(items.map(line), [
      `accept Store /${store.id}`,
      `delete ApiToken /${String(made.body["id"])}`,
      /^create EnrolmentToken \//,
      "create Mesh /default",
      "delete Service shop/web",
      "update Service shop/web",
      "create Service shop/web",
      `create ApiToken /${String(made.body["id"])}`,
    ]);
    t.equal(items.length, 8);
    for (const { by, from } of items) {
      t.match(by, /^ApiToken\/[0-9a-f-]{36}$/);
      t.equal(from, "127.0.0.1");
    }
    t.equal(new Set(items.map(({ request }) => request)).size, 8);
    t.match(items[5]?.changes, [
      { path: "spec.ports[0].name", before: "http" },
      { path: "spec.ports[0].port", before: 80, after: 81 },
    ]);
    const [secret = ""] = /[0-9a-f]{64}/.exec(
      JSON.stringify(await store.list("ApiToken")),
    ) ?? [""];
    t.ok(secret);
    t.notMatch(JSON.stringify(items), /[0-9a-f]{64}/, "no hash of a token");
  },
);

void t.test("a list has an entry a resource, of one request", async (t) => {
  const world = await rig(t);
  await apply(world, [
    service("shop/a"),
    service("infra/b"),
    workload("shop/w", "10.0.0.1"),
    service("bad/c", {}, { colour: "blue" }),
  ]);
  await apply(world, [service("shop/a"), service("shop/d")]);
  await world.call("POST", "/delete", {
    items: [service("shop/a"), service("shop/none")],
  });
  const { items } = await audit(world);
  t.same(items.map(line), [
    "delete Service shop/a",
    "create Service shop/d",
    "create Workload shop/w",
    "create Service infra/b",
    "create Service shop/a",
  ]);
  const [, , ...first] = items;
  const [request = ""] = first.map((entry) => entry.request);
  t.ok(first.every((entry) => entry.request === request));
  t.equal((await audit(world, `?request=${request}`)).items.length, 3);
});

void t.test("readers see what is in their namespaces", async (t) => {
  const world = await rig(t);
  const { as } = world;
  await apply(world, [
    service("shop/a"),
    service("infra/b"),
    service("wherry-system/c"),
  ]);
  await world.call("POST", "/tokens/api", { role: "viewer" });
  const seen = async (
    headers: Record<string, string>,
    query = "",
  ): Promise<string[]> =>
    (await audit(world, query, headers)).items.map(
      ({ namespace, name }) => `${namespace}/${name}`,
    );
  const all = ["wherry-system/c", "infra/b", "shop/a"];
  t.same(await seen(await as("viewer")), all);
  t.same(await seen(await as("editor")), all);
  for (const role of ["admin", "editor", "viewer"] as const) {
    const bound = await as(role, ["shop"]);
    t.same(await seen(bound), ["wherry-system/c", "shop/a"], role);
    t.same(await seen(bound, "?namespace=infra"), [], role);
  }
});

void t.test("pages, and queries that are wrong", async (t) => {
  const world = await rig(t);
  await apply(
    world,
    Array.from({ length: 7 }, (_, index) => service(`shop/s${index}`)),
  );
  const names: string[] = [];
  let next: number | undefined;
  do {
    const page: Read = await audit(
      world,
      `?limit=3${next === undefined ? "" : `&before=${next}`}`,
    );
    t.ok(page.items.length <= 3);
    names.push(...page.items.map(({ name }) => name));
    next = page.next;
  } while (next !== undefined);
  t.same(names, ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]);
  for (const query of [
    "limit=0",
    "limit=501",
    "before=-1",
    "since=yesterday",
    "who=me",
    "kind=",
  ]) {
    const { code } = await world.call("GET", `/audit?${query}`);
    t.equal(code, 400, query);
  }
});

void t.test("what cannot be recorded is not done", async (t) => {
  const world = await rig(t);
  const { store, call } = world;
  Object.assign(store, {
    record: () => Promise.reject(new Error(randomBytes(4).toString("hex"))),
  });
  const { code } = await call("POST", "/store/accept", { id: store.id });
  t.equal(code, 500);
  t.equal(world.world.accepted, false);
});
