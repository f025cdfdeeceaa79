/** What one request may cost: the API reads, checks and answers within bounds, whatever a holder of a token sends. */
import { once } from "node:events";
import { request, type ClientRequest } from "node:http";
import t from "tap";
import { MOST_BODIES_OF_TOKEN } from "../../../src/control-plane/api/bodies.ts";
import { ResourceHandlers } from "../../../src/control-plane/api/routes/resource-handlers.ts";
import { startApi } from "../../../src/control-plane/api/server.ts";
import { openWatch } from "../../../src/control-plane/api/watch.ts";
import type { Clock } from "../../../src/core/clock.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { SERVICE } from "../../../src/resources/service/schema.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { fields, rig, service, SHOP } from "../../support/control-plane/api.ts";

const PATH = `${SHOP}/services/a`;
const YAML = { "content-type": "application/yaml" };

function times(count: number, text: (index: number) => string): string {
  return Array.from({ length: count }, (_, index) => text(index)).join("");
}

void t.test("YAML of more than 256 KiB is 413", async (t) => {
  const { call } = await rig(t);
  const answer = await call("PUT", PATH, "#".repeat(256 * 1024 + 1), YAML);
  t.equal(answer.code, 413);
  t.match(answer.body, { reason: "RequestEntityTooLarge" });
});

void t.test(
  "a body of more than 50,000 values is 400, also where aliases make them",
  async (t) => {
    const { call } = await rig(t);
    const ones = "1,".repeat(600);
    for (const [title, body, headers] of [
      ["JSON", `[${"0,".repeat(50_000)}0]`, {}],
      ["YAML", `[${"0,".repeat(50_000)}0]`, YAML],
      ["aliases", `a: &a [${ones}]\nb: [${"*a ,".repeat(99)}]`, YAML],
    ] as const) {
      const answer = await call("PUT", PATH, body, headers);
      t.equal(answer.code, 400, title);
      t.match(answer.body, { message: /more than 50000 values/ });
    }
  },
);

void t.test(
  "a key that stands twice among 20,000 in YAML is found without comparing each pair",
  async (t) => {
    const { call } = await rig(t);
    const keys = times(20_000, (index) => `k${index}:\n`);
    const answer = await call("PUT", PATH, `${keys}k7:\n`, YAML);
    t.equal(answer.code, 400);
    // The words are those of our own linear look: the parser's, which compares pairs, says otherwise.
    t.match(answer.body, {
      message: /not YAML at line 20001, column 1: .*"k7" is there already/,
    });
  },
);

void t.test("more than 100 aliases are refused with their place", async (t) => {
  const { call } = await rig(t);
  const body = `- &a x\n${"- *a\n".repeat(101)}`;
  const answer = await call("PUT", PATH, body, YAML);
  t.equal(answer.code, 400);
  t.match(answer.body, { message: /line 102, column 3: .*100 aliases/ });
});

void t.test(
  "of many things that are wrong with a body or query, 50 are named and the rest counted",
  async (t) => {
    const { call } = await rig(t);
    const namespaces = Array.from({ length: 40_000 }, () => 0);
    const body = { role: "viewer", namespaces };
    const answer = await call("POST", "/tokens/api", body);
    t.equal(answer.code, 422);
    t.equal(fields(answer).length, 51);
    t.match(answer.body, { message: /; and 39951 more$/ });
    t.ok(answer.text.length < 20_000, `${answer.text.length} characters`);
    const query = times(200, (index) => `&q${index}=1`);
    const listed = await call("GET", `${SHOP}/services?${query}`);
    t.equal(listed.code, 400);
    t.equal(fields(listed).length, 51);
  },
);

void t.test("patches cannot add up to more than 2 MiB", async (t) => {
  const { call } = await rig(t);
  await call("PUT", PATH, service("a"));
  const patch = (index: number): object => ({
    metadata: {
      annotations: Object.fromEntries(
        Array.from({ length: 15 }, (_, at) => [
          `k${index}-${at}`,
          "x".repeat(60_000),
        ]),
      ),
    },
  });
  t.equal((await call("PATCH", PATH, patch(0))).code, 200);
  t.equal((await call("PATCH", PATH, patch(1))).code, 200);
  const refused = await call("PATCH", PATH, patch(2));
  t.equal(refused.code, 422);
  t.match(refused.body, { message: /would have 27\d{5} bytes as JSON/ });
});

void t.test(
  "bodies that come slowly are few of one token, and keep no other waiting",
  async (t) => {
    const { as, options } = await rig(t);
    const running = await startApi(options, { host: "127.0.0.1", port: 0 });
    t.teardown(() => running.close());
    const [slow, other] = [await as("editor", ["shop"]), await as("admin")];
    const put = async (
      name: string,
      headers: Record<string, string>,
    ): Promise<number> => {
      const { status } = await fetch(`${running.url}${SHOP}/services/${name}`, {
        method: "PUT",
        headers: { ...headers, "content-type": "application/json" },
        body: JSON.stringify(service(name)),
      });
      return status;
    };
    const begun = Array.from({ length: MOST_BODIES_OF_TOKEN }, () => {
      const sent: ClientRequest = request(`${running.url}${PATH}`, {
        method: "PUT",
        headers: {
          ...slow,
          "content-type": "application/json",
          "content-length": 1000,
        },
        agent: false,
      });
      sent.on("error", () => undefined);
      sent.write("{");
      return sent;
    });
    let code = 0;
    while (code !== 503) code = await put("b", slow);
    t.equal(await put("c", other), 201);
    const [first] = begun;
    first?.end(" ".repeat(999));
    const [answer] = (await once(first ?? t, "response")) as [
      { readonly statusCode: number },
    ];
    t.equal(answer.statusCode, 400, "it is not JSON");
    while (code === 503) code = await put("b", slow);
    t.ok([200, 201].includes(code), "its place is free");
    for (const sent of begun) sent.destroy();
  },
);

void t.test("a label selector of more than 64 terms is 400", async (t) => {
  const { call } = await rig(t);
  const list = (terms: number, more = ""): ReturnType<typeof call> =>
    call(
      "GET",
      `${SHOP}/services?labelSelector=${Array(terms).fill("!a").join()}${more}`,
    );
  t.equal((await list(64)).code, 200);
  for (const more of ["", "&watch=1"]) {
    const refused = await list(65, more);
    t.equal(refused.code, 400);
    t.same(fields(refused), ["labelSelector"]);
    t.match(refused.text, /expected at most 64 terms and values/);
  }
});

/** By it, each look at the time is a millisecond of work. */
function workingClock(): Clock {
  const clock = fakeClock();
  const now = (): number => {
    clock.advance(1);
    return clock.now();
  };
  return { ...clock, now, wall: () => clock.wall() };
}

/** Turns that others have while it runs. */
async function turnsWhile(run: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  const count = (): void => {
    turns += 1;
    handle = setImmediate(count);
  };
  let handle = setImmediate(count);
  await run();
  clearImmediate(handle);
  return turns;
}

const MANY: readonly Resource[] = Array.from({ length: 3000 }, (_, index) => ({
  ...(service(`s${index}`) as unknown as Resource),
  metadata: { name: `s${index}`, namespace: "shop", resourceVersion: "1" },
}));

void t.test("others have their turn while a list is selected", async (t) => {
  const { options } = await rig(t);
  const { mesh } = await options.mesh.current();
  const handlers = new ResourceHandlers(
    {
      ...options,
      clock: workingClock(),
      mesh: {
        current: () =>
          Promise.resolve({ mesh: { ...mesh, list: () => MANY }, revision: 1 }),
      },
      openStatus: () => Promise.resolve((found) => Promise.resolve(found)),
    },
    SERVICE,
  );
  const target = {
    principal: { tokenId: "a", role: "viewer" },
    author: () => ({ by: "a", from: "b", request: "c" }),
    ...{ namespace: "shop", name: undefined },
  } as const;
  const turns = await turnsWhile(async () => {
    const { list } = await handlers.list(target, "!app,app");
    t.same(list.items, []);
  });
  t.ok(turns >= 3, `${turns} turns`);
});

void t.test("others have their turn while a watch begins", async (t) => {
  const { options } = await rig(t);
  const end = new AbortController();
  t.teardown(() => end.abort());
  const turns = await turnsWhile(async () => {
    const stream = await openWatch({
      store: {
        ...options.store,
        list: () => Promise.resolve({ resources: MANY, revision: 0 }),
        // oxlint-disable-next-line require-yield
        watch: async function* () {
          await once(end.signal, "abort");
        },
      },
      clock: workingClock(),
      definition: SERVICE,
      ...{ namespace: "shop", matches: () => false, after: undefined },
      ...{ bookmarks: true, signal: end.signal },
    });
    const [line] = (await once(stream, "data")) as [Buffer];
    t.match(String(line), /^{"type":"BOOKMARK"/);
  });
  t.ok(turns >= 100, `${turns} turns`);
});
