/** What a list may be, and how many are read and judged at a time. */
import { once } from "node:events";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import t from "tap";
import {
  LIST_LIMIT,
  MOST_ITEMS,
  MOST_LISTS,
  MOST_LISTS_OF_TOKEN,
} from "../../../../src/control-plane/api/bodies.ts";
import { startApi } from "../../../../src/control-plane/api/server.ts";
import {
  fields,
  rig,
  service,
  type Answer,
  type Rig,
} from "../../../support/control-plane/api.ts";

/** A resource of about so many bytes. */
const large = (name: string, bytes: number): Record<string, unknown> =>
  service(name, {
    annotations: Object.fromEntries(
      Array.from({ length: Math.ceil(bytes / 60_000) }, (_, index) => [
        `k${index}`,
        "x".repeat(60_000),
      ]),
    ),
  });

void t.test("a list has bounds of its own", async (t) => {
  const { call, store } = await rig(t);
  const revision = await store.revision();
  const many = Array.from({ length: MOST_ITEMS + 1 }, (_, count) =>
    service(`s${count}`),
  );
  const tooMany = await call("POST", "/apply", { items: many });
  t.equal(tooMany.code, 422);
  t.same(fields(tooMany), ["items"]);
  t.match(tooMany.body, { message: /2000/ });
  const tooLarge = await call("POST", "/apply", "x".repeat(LIST_LIMIT + 1));
  t.equal(tooLarge.code, 413);
  const values = `{"items":[{"a":[${"0,".repeat(400_000)}0]}]}`;
  const tooFine = await call("POST", "/apply", values);
  t.equal(tooFine.code, 400);
  t.match(tooFine.body, { message: /more than 400000 values/ });
  t.equal(await store.revision(), revision);

  const enough = await call("POST", "/apply", {
    items: [
      large("a", 1_500_000),
      large("b", 1_500_000),
      ...many.slice(0, MOST_ITEMS - 2),
    ],
  });
  t.equal(enough.code, 200, "larger than a resource by itself may be");
  t.equal(await store.revision(), revision + MOST_ITEMS);
});

void t.test("a list comes as JSON; nothing else is read", async (t) => {
  const { api, as } = await rig(t);
  const headers = await as("admin");
  for (const type of [
    "application/yaml",
    "application/merge-patch+json",
    "text/plain",
  ]) {
    const answer = await api.inject({
      method: "POST",
      url: "/apply",
      headers: { ...headers, "content-type": type },
      // As YAML it would be 400.
      payload: "items: [",
    });
    t.equal(answer.statusCode, 415, type);
    t.match(answer.json(), { reason: "UnsupportedMediaType" });
  }
  const none = await api.inject({ method: "POST", url: "/apply", headers });
  t.equal(none.statusCode, 415);
});

/** Holds each judgement until `release` is called, and counts them. */
function holdBack({ options }: Rig): { held: number; release: () => void } {
  const { checkInPlace } = options;
  const gate = Promise.withResolvers<undefined>();
  const held = { held: 0, release: () => gate.resolve(undefined) };
  Object.assign(options, {
    checkInPlace: async (...given: Parameters<typeof checkInPlace>) => {
      held.held += 1;
      await gate.promise;
      return checkInPlace(...given);
    },
  });
  return held;
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1)
    await new Promise((resolve) => setImmediate(resolve));
};

void t.test("lists wait for their turn, other writes do not", async (t) => {
  const world = await rig(t);
  const { call } = world;
  const gate = holdBack(world);
  const apply = (name: string, headers = {}): Promise<Answer> =>
    call("POST", "/apply", { items: [service(name)] }, headers);
  const calls = Array.from({ length: MOST_LISTS }, (_, count) =>
    apply(`s${count}`),
  );
  await turns(50);
  t.equal(gate.held, MOST_LISTS_OF_TOKEN, "one token leaves room to others");
  const other = await world.as("admin");
  for (let count = 0; count < 3; count += 1)
    calls.push(apply(`o${count}`, other));
  await turns(50);
  t.equal(gate.held, MOST_LISTS);
  t.equal((await call("GET", "/status")).code, 200);
  t.equal((await call("DELETE", "/tokens/x")).code, 404);
  gate.release();
  for (const answer of await Promise.all(calls)) t.equal(answer.code, 200);
  t.equal(gate.held, MOST_LISTS + 3);
});

void t.test("a client that goes while it waits leaves its place", async (t) => {
  const world = await rig(t);
  const gate = holdBack(world);
  const running = await startApi(world.options, { host: "127.0.0.1", port: 0 });
  t.teardown(() => running.close());
  const tokens = [await world.as("admin"), await world.as("admin")];
  const send = (name: string, by = 0): ReturnType<typeof request> =>
    request(`${running.url}/apply`, {
      method: "POST",
      headers: { ...tokens[by], "content-type": "application/json" },
      agent: false,
    })
      .on("error", () => undefined)
      .end(JSON.stringify({ items: [service(name)] }));
  const statusOf = async (
    sent: ReturnType<typeof request>,
  ): Promise<string> => {
    const [answer] = (await once(sent, "response")) as [
      NodeJS.ReadableStream & { statusCode: number },
    ];
    await text(answer);
    return String(answer.statusCode);
  };
  const first = Array.from({ length: MOST_LISTS }, (_, count) =>
    statusOf(send(`first-${count}`, count % 2)),
  );
  while (gate.held < MOST_LISTS) await turns(1);
  const gone = Array.from({ length: MOST_LISTS }, (_, count) =>
    send(`gone-${count}`),
  );
  await Promise.all(gone.map((sent) => once(sent, "finish")));
  // Those that go before their turn, and one that goes in its turn.
  for (const sent of gone) sent.destroy();
  await turns(20);
  const last = statusOf(send("last"));
  gate.release();
  t.same(await Promise.all([...first, last]), [
    ...first.map(() => "200"),
    "200",
  ]);
});
