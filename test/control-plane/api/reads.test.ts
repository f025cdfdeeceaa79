/** Reads give way to all else: to a late event loop, to each other, and to readers that do not read. */
import { EventEmitter, once } from "node:events";
import type { ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";
import t from "tap";
import {
  LATE,
  LONGEST_WAIT,
  MOST_LONG_READS,
  MOST_WAITING,
} from "../../../src/control-plane/api/reads.ts";
import {
  MOST_UNREAD,
  TAKEN_WITHIN,
  Unread,
} from "../../../src/control-plane/api/unread.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  OWN,
  rig,
  service,
  SHOP,
  type Rig,
} from "../../support/control-plane/api.ts";

const LISTS = [
  `${SHOP}/services`,
  `${OWN}/workloads`,
  `${OWN}/services?watch=1`,
  "/status",
  "/sidecars/shop/web-1/config",
] as const;
const SINGLE = [`${SHOP}/services/web`, "/store", "/tokens"] as const;

/** How often reads were refused, by why. */
function shedOf({ meters }: Rig): Record<string, number> {
  return Object.fromEntries(
    [...meters.shed.series()].map(([[why = ""], { value }]) => [why, value]),
  );
}

void t.test("where the event loop is late, long reads get 429", async (t) => {
  const opened = await rig(t);
  const { call, world } = opened;
  await call("POST", `${SHOP}/services`, service("web"));
  world.late = LATE.long - 1;
  t.equal((await call("GET", `${SHOP}/services`)).code, 200);
  world.late = LATE.long;
  const waits = new Set<string>();
  for (const url of LISTS) {
    const { code, body, headers } = await call("GET", url);
    t.equal(code, 429, url);
    t.match(body, {
      reason: "TooManyRequests",
      message: /^the control plane is busy .*: try again in [123] s$/,
    });
    t.match(String(headers["retry-after"]), /^[123]$/);
    waits.add(String(headers["retry-after"]));
  }
  t.ok(waits.size > 1, "not all come back at once");
  t.equal((await call("HEAD", `${SHOP}/services`)).code, 429);
  t.same(shedOf(opened), { late: LISTS.length + 1 });
});

void t.test("what sidecars and writers need goes on meanwhile", async (t) => {
  const { call, world, as } = await rig(t);
  world.late = 60_000;
  for (const url of ["/livez", "/readyz", "/metrics"])
    t.equal((await call("GET", url)).code, 200, url);
  const made = await call("POST", `${SHOP}/services`, service("web"));
  t.equal(made.code, 201);
  t.equal((await call("DELETE", `${SHOP}/services/web`)).code, 200);
  const stranger = await call("GET", `${SHOP}/services`, undefined, {
    authorization: "Bearer nothing",
  });
  t.equal(stranger.code, 401, "a stranger learns nothing of it");
  const other = await call(
    "GET",
    `${OWN}/namespaces/other/services`,
    undefined,
    await as("viewer", ["shop"]),
  );
  t.equal(other.code, 403, "and a token that is refused learns nothing either");
});

void t.test("single resources can be read for longer", async (t) => {
  const { call, world } = await rig(t);
  await call("POST", `${SHOP}/services`, service("web"));
  world.late = LATE.short - 1;
  for (const url of SINGLE) t.equal((await call("GET", url)).code, 200, url);
  world.late = LATE.short;
  for (const url of SINGLE) t.equal((await call("GET", url)).code, 429, url);
});

/** Holds lists up in the middle, until it is called. */
function holdLists(opened: Rig): { readonly begun: number; release(): void } {
  const { options } = opened;
  const waiting: (() => void)[] = [];
  let begun = 0;
  const { mesh } = options;
  Object.assign(options, {
    mesh: {
      async current() {
        begun += 1;
        await new Promise<void>((resolve) => waiting.push(resolve));
        return mesh.current();
      },
    },
  });
  return {
    get begun() {
      return begun;
    },
    release: () => {
      for (const go of waiting.splice(0)) go();
    },
  };
}

/** Lets what was asked get where it waits. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 30; turn += 1)
    await new Promise((resolve) => setImmediate(resolve));
}

void t.test(
  "few long reads go at a time, and a token's own do not fill the queue",
  async (t) => {
    const opened = await rig(t);
    const { call, as, clock } = opened;
    const held = holdLists(opened);
    const fits = MOST_LONG_READS + MOST_WAITING.ofToken;
    const asked = Array.from({ length: fits }, () =>
      call("GET", `${SHOP}/services`),
    );
    await turns();
    t.equal(held.begun, MOST_LONG_READS);
    const refused = await call("GET", `${SHOP}/services`);
    t.equal(refused.code, 429);
    t.match(refused.body, { message: /^too many reads of many resources/ });
    const other = call(
      "GET",
      `${SHOP}/services`,
      undefined,
      await as("viewer"),
    );
    await turns();
    clock.advance(LONGEST_WAIT);
    const late = await other;
    t.equal(late.code, 429, "another token waits its time");
    t.match(late.body, { message: /^this read waited 10 s/ });
    held.release();
    const codes = (await Promise.all(asked)).map(({ code }) => code);
    t.same(
      codes,
      codes.map((_, at) => (at < MOST_LONG_READS ? 200 : 429)),
    );
    t.same(shedOf(opened), { many: 1, slow: 1 + MOST_WAITING.ofToken });
  },
);

void t.test("who waits gets his turn when another is done", async (t) => {
  const opened = await rig(t);
  const held = holdLists(opened);
  const asked = Array.from({ length: 3 * MOST_LONG_READS }, () =>
    opened.call("GET", `${SHOP}/services`),
  );
  for (let round = 1; round <= 3; round += 1) {
    await turns();
    t.equal(held.begun, round * MOST_LONG_READS);
    held.release();
  }
  for (const { code } of await Promise.all(asked)) t.equal(code, 200);
  t.same(shedOf(opened), {});
});

function connectionsOf({ api }: Rig): Promise<number> {
  return new Promise((resolve) =>
    api.server.getConnections((_error, count) => resolve(count)),
  );
}

void t.test("whoever hangs up while waiting frees the place", async (t) => {
  const opened = await rig(t);
  const { api, as } = opened;
  const held = holdLists(opened);
  await api.listen({ host: "127.0.0.1", port: 0 });
  const { port } = api.server.address() as AddressInfo;
  const { authorization = "" } = await as("viewer");
  const head = `GET ${SHOP}/services HTTP/1.1\r\nhost: a\r\nauthorization: ${authorization}\r\n\r\n`;
  const sockets = Array.from(
    { length: MOST_LONG_READS + MOST_WAITING.ofToken },
    () => connect(port, "127.0.0.1").on("error", () => undefined),
  );
  for (const socket of sockets) {
    if (socket.connecting) await once(socket, "connect");
    socket.write(head);
  }
  while (held.begun < MOST_LONG_READS) await turns();
  for (const socket of sockets) socket.destroy();
  while ((await connectionsOf(opened)) > 0) await turns();
  const { begun } = held;
  held.release();
  await turns();
  t.equal(held.begun, begun, "nobody is let in who has gone");
  const after = opened.call("GET", `${SHOP}/services`, undefined, {
    authorization,
  });
  while (held.begun === begun) await turns();
  held.release();
  t.equal((await after).code, 200);
});

/** As far as `Unread` looks at it. */
class Response extends EventEmitter {
  destroyed = false;
  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
}

void t.test(
  "what readers do not take is bounded for each token and in all, and ends",
  (t) => {
    const clock = fakeClock();
    const unread = new Unread(clock);
    const add = (token: string, bytes: number): Response => {
      const response = new Response();
      unread.add(token, bytes, response as unknown as ServerResponse);
      return response;
    };
    const first = add("a", MOST_UNREAD.ofToken);
    t.ok(unread.isFull("a"));
    t.notOk(unread.isFull("b"));
    first.emit("finish");
    first.emit("close");
    t.notOk(unread.isFull("a"), "counted once");
    const others = ["c", "d", "e", "f"].map((token) =>
      add(token, MOST_UNREAD.ofToken),
    );
    t.ok(unread.isFull("b"), "all of them together");
    clock.advance(TAKEN_WITHIN - 1);
    t.notOk(others.some(({ destroyed }) => destroyed));
    clock.advance(1);
    t.ok(others.every(({ destroyed }) => destroyed));
    t.notOk(unread.isFull("b"));
    t.equal(clock.pending, 0);
    t.end();
  },
);
