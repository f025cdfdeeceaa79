/** Many resources in one request: what is written, what is refused with what, and what the answer says of each. */
import t from "tap";
import type { Change } from "../../../../src/control-plane/store/store.ts";
import {
  apply,
  BROKEN,
  MESH,
  outcomes,
  route,
  service,
  told,
  type Body,
} from "../../../support/control-plane/apply.ts";
import {
  fields,
  rig,
  service as serviceIn,
} from "../../../support/control-plane/api.ts";
import { take } from "../../../support/control-plane/store-contract/fixtures.ts";

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
