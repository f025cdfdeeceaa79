/** Long lists: written in slices as their readers take them, and ended where they cannot be. */
import { text } from "node:stream/consumers";
import Fastify from "fastify";
import t from "tap";
import {
  LongList,
  sendLong,
} from "../../../src/control-plane/api/long-list.ts";
import { pauses } from "../../../src/core/slices.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { rig, SHOP } from "../../support/control-plane/api.ts";

const SERVICE = (name: string): Resource => ({
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Service",
  metadata: { name, namespace: "shop" },
  spec: { ports: [{ port: 80 }] },
});

const items = (count: number): readonly number[] =>
  Array.from({ length: count }, (_, index) => index);

/** Writes a list of numbers; each takes a millisecond. */
function written(
  count: number,
  complete: (item: number) => Promise<number>,
): { readonly list: LongList; readonly done: Promise<void> } {
  const clock = fakeClock();
  const list = new LongList("[");
  const slow = async (item: number): Promise<string> => {
    clock.advance(1);
    return String(await complete(item));
  };
  const first = items(50).map(String);
  const done = list.write(items(count), first, slow, "]", pauses(clock));
  return { list, done };
}

const same = (item: number): Promise<number> => Promise.resolve(item);

void t.test("others have their turn between two groups", async (t) => {
  const order: string[] = [];
  const { list, done } = written(500, (item) => {
    order.push("item");
    return same(item);
  });
  setImmediate(() => order.push("another"));
  t.same(JSON.parse(await text(list)), items(500));
  await done;
  const at = order.indexOf("another");
  t.ok(at > 0 && at <= 100, `another came after ${at} items`);
});

void t.test("it is written whether or not somebody reads", async (t) => {
  const { list } = written(500, same);
  await list.written;
  t.equal(list.unread, JSON.stringify(items(500)).length);
  t.same(JSON.parse(await text(list)), items(500));
  t.equal(list.unread, 0);
});

void t.test("nothing more is made once its reader has gone", async (t) => {
  let made = 0;
  const { list, done } = written(5000, (item) => {
    made += 1;
    if (made === 100) list.destroy();
    return same(item);
  });
  await done;
  await list.written;
  t.equal(made, 100);
});

void t.test(
  "an item that cannot be made ends the list, and not in order",
  async (t) => {
    const { list, done } = written(500, (item) =>
      item === 120 ? Promise.reject(new Error("broken")) : same(item),
    );
    await t.rejects(text(list), { message: "broken" });
    await done;
    await list.written;
  },
);

void t.test("as a response", async (t) => {
  const clock = fakeClock();
  const server = Fastify();
  t.teardown(() => server.close());
  server.get<{ readonly Querystring: { readonly count: string } }>(
    "/",
    (request, reply) => {
      const list = items(Number(request.query.count));
      const body = { before: '"items":[]x', items: list };
      return sendLong(reply, body, "items", clock, (item) =>
        item === 400
          ? Promise.reject(new Error("broken"))
          : Promise.resolve(-item),
      );
    },
  );
  for (const count of [0, 1, 50, 51, 100, 120]) {
    const { body, headers } = await server.inject(`/?count=${count}`);
    const expected = {
      before: '"items":[]x',
      items: items(count).map((item) => -item),
    };
    t.equal(body, JSON.stringify(expected), `${count} items`);
    t.match(headers["content-type"], /^application\/json/);
  }
  const head = await server.inject({ method: "HEAD", url: "/?count=120" });
  t.same([head.statusCode, head.body], [200, ""]);
  await t.rejects(
    server.inject("/?count=500"),
    "what is broken later is cut off, and not taken for whole",
  );
});

void t.test(
  "what an item is made of may go before the next is made",
  async (t) => {
    const server = Fastify();
    t.teardown(() => server.close());
    // Used again for each: what is not text by then shows the last of its group.
    const one = { number: 0 };
    server.get("/", (_request, reply) =>
      sendLong<"items", { readonly number: number }>(
        reply,
        { items: items(120).map((number) => ({ number })) },
        "items",
        fakeClock(),
        (item) => Promise.resolve(Object.assign(one, item)),
      ),
    );
    const { body } = await server.inject("/");
    t.same(JSON.parse(body), {
      items: items(120).map((number) => ({ number })),
    });
  },
);

void t.test("what is gone by its turn is left out", async (t) => {
  const there: Readonly<Record<string, (item: number) => boolean>> = {
    none: () => false,
    "all but a few": (item) => item % 7 !== 0,
    "nothing of the first group": (item) => item >= 50,
    "nothing of a group in between": (item) => item < 50 || item >= 100,
    "nothing of the last group": (item) => item < 100,
  };
  for (const count of [20, 120])
    for (const [name, isThere] of Object.entries(there)) {
      const server = Fastify();
      server.get("/", (_request, reply) =>
        sendLong(
          reply,
          Object.assign({ items: items(count) }, { after: 1 }),
          "items",
          fakeClock(),
          (item) => Promise.resolve(isThere(item) ? item : undefined),
        ),
      );
      const { body } = await server.inject("/");
      await server.close();
      const expected = { items: items(count).filter(isThere), after: 1 };
      t.equal(body, JSON.stringify(expected), `${name}, of ${count}`);
    }
});

void t.test("a HEAD writes nothing that nobody reads", async (t) => {
  const { api, as, options } = await rig(t);
  await options.store.transact(
    Array.from({ length: 1000 }, (_, index) => ({
      resource: SERVICE(`s${index}`),
      expected: "absent" as const,
    })),
  );
  let made = 0;
  Object.assign(options, {
    openStatus: () =>
      Promise.resolve(async (resource: Resource) => {
        made += 1;
        await new Promise((resolve) => setImmediate(resolve));
        return resource;
      }),
  });
  const url = await api.listen({ host: "127.0.0.1", port: 0 });
  const { authorization = "" } = await as("viewer");
  const response = await fetch(`${url}${SHOP}/services`, {
    method: "HEAD",
    headers: { authorization },
  });
  t.equal(response.status, 200);
  for (let last = -1; last !== made;) {
    last = made;
    for (let turn = 0; turn < 60; turn += 1)
      await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(made > 0 && made <= 150, `${made} of 1,000 were made`);
});
