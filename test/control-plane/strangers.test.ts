/** How many connections strangers may hold, how long and with how many bytes; on real sockets, under a fake clock (law 15). */
import { once } from "node:events";
import { connect, createServer, Socket, type AddressInfo } from "node:net";
import t from "tap";
import {
  type StrangerLimits,
  Strangers,
} from "../../src/control-plane/strangers.ts";
import { silentLogger } from "../../src/core/log.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";
import {
  until,
  type Scope,
} from "../support/control-plane/push-control-plane.ts";

interface ListenerUnderTest {
  readonly clock: FakeClock;
  readonly strangers: Strangers;
  /** Accepted connections, in the order of their callers. */
  readonly accepted: readonly Socket[];
  /** Calls from a loopback address; resolves once the connection was looked at. */
  call(from?: string): Promise<Socket>;
}

const LIMITS: StrangerLimits = {
  perSource: 2,
  together: 3,
  time: 15_000,
  bytes: 1000,
};

async function listener(t: Scope): Promise<ListenerUnderTest> {
  const clock = fakeClock();
  const strangers = new Strangers({
    where: "a listener",
    limits: LIMITS,
    clock,
    logger: silentLogger,
  });
  const accepted: Socket[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.resume();
    strangers.admit(socket);
    accepted.push(socket);
  });
  server.listen(0, "0.0.0.0");
  await once(server, "listening");
  t.after(() => {
    strangers.close();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    clock,
    strangers,
    accepted,
    async call(from = "127.0.0.1") {
      const before = accepted.length;
      const socket = connect({ port, host: "127.0.0.1", localAddress: from });
      socket.on("error", () => undefined);
      t.after(() => void socket.destroy());
      await until(() => accepted.length > before);
      return socket;
    },
  };
}

/** Which of the accepted connections are open. */
const open = ({ accepted }: ListenerUnderTest): boolean[] =>
  accepted.map(({ destroyed }) => !destroyed);

void t.test(
  "who waits for its turn makes no room: that it waits is no fault of it",
  (t) => {
    const clock = fakeClock();
    const strangers = new Strangers({
      where: "a listener",
      limits: { ...LIMITS, perSource: 1 },
      clock,
      logger: silentLogger,
    });
    t.teardown(() => strangers.close());
    const [first, second, third] = ["1", "2", "3"].map((remotePort) => {
      const raw = new Socket();
      const remoteAddress = "10.0.0.1";
      return Object.defineProperties(raw, {
        remoteAddress: { value: remoteAddress },
        remotePort: { value: remotePort },
      });
    });
    if (!first || !second || !third) throw new Error("no sockets");
    t.ok(strangers.admit(first));
    strangers.waits(first);
    clock.advance(10_000);
    t.notOk(strangers.admit(second));
    strangers.prove(first);
    t.notOk(first.destroyed, "it is counted elsewhere once its turn has come");
    t.ok(strangers.admit(third), "and leaves its place");
    Object.defineProperty(third, "bytesRead", {
      value: LIMITS.bytes,
      configurable: true,
    });
    strangers.waits(third);
    t.notOk(third.destroyed);
    Object.defineProperty(third, "bytesRead", { value: LIMITS.bytes + 1 });
    strangers.waits(third);
    t.ok(third.destroyed, "what says too much does not wait");
    t.equal(strangers.size, 0);
    t.end();
  },
);

void t.test(
  "a few sources whose connections all wait do not keep out the others",
  (t) => {
    const strangers = new Strangers({
      where: "a listener",
      limits: { ...LIMITS, perSource: 4, together: 8 },
      clock: fakeClock(),
      logger: silentLogger,
    });
    t.teardown(() => strangers.close());
    let port = 1;
    const come = (remoteAddress: string): boolean => {
      const raw = Object.defineProperties(new Socket(), {
        remoteAddress: { value: remoteAddress },
        remotePort: { value: (port += 1) },
      });
      const isIn = strangers.admit(raw);
      if (isIn) strangers.waits(raw);
      return isIn;
    };
    for (const source of ["10.0.0.1", "10.0.0.2"])
      for (let count = 0; count < 4; count += 1) t.ok(come(source));
    const sources = Array.from({ length: 9 }, (_, at) => `10.0.1.${at}`);
    t.same(
      sources.map(come),
      sources.map((_, at) => at < 6),
      "until each has its share",
    );
    t.equal(strangers.size, 8);
    t.end();
  },
);

void t.test(
  "nobody ages while the event loop stands still: the oldest is the one that is nearly served",
  async (t) => {
    const entered = await listener(t);
    const { clock, accepted } = entered;
    await entered.call();
    await entered.call();
    // A stall of three seconds: its ticks are one.
    clock.stall(3000);
    await entered.call();
    t.same(
      accepted.map(({ destroyed }) => destroyed),
      [false, false, true],
    );
    clock.advance(1000);
    await entered.call();
    t.same(
      accepted.map(({ destroyed }) => destroyed),
      [true, false, true, false],
    );
  },
);

void t.test("one source has its share, and no more", async (t) => {
  const here = await listener(t);
  await here.call();
  await here.call();
  await here.call();
  t.same(open(here), [true, true, false]);
  await here.call("127.0.0.2");
  t.same(open(here), [true, true, false, true], "another has its own");
  await here.call("127.0.0.3");
  t.same(
    open(here),
    [true, false, false, true, true],
    "where all are full, at the cost of the one that has most",
  );
  for (const source of [1, 2, 4]) await here.call(`127.0.0.${source}`);
  t.same(
    open(here).slice(-3),
    [false, false, false],
    "each has as many as a newcomer would",
  );
  t.equal(here.strangers.size, 3);
});

void t.test(
  "who has proved nothing for a second makes room for a newcomer: the oldest first",
  async (t) => {
    const here = await listener(t);
    await here.call();
    here.clock.advance(500);
    await here.call();
    here.clock.advance(500);
    await here.call();
    t.same(open(here), [false, true, true], "of its source");
    await here.call("127.0.0.2");
    here.clock.advance(1000);
    await here.call("127.0.0.3");
    t.same(open(here), [false, false, true, true, true], "of all");
  },
);

void t.test("a proof ends the limits, and frees the place", async (t) => {
  const here = await listener(t);
  await here.call();
  const [first] = here.accepted;
  if (first === undefined) throw new Error("nobody called");
  here.strangers.prove(first);
  here.strangers.prove(first);
  t.equal(here.strangers.size, 0);
  here.clock.advance(60_000);
  await here.call();
  await here.call();
  t.same(open(here), [true, true, true]);
});

void t.test("nobody stays a stranger for longer than 15 s", async (t) => {
  const here = await listener(t);
  await here.call();
  here.clock.advance(1000);
  await here.call();
  here.clock.advance(13_000);
  t.same(open(here), [true, true]);
  here.clock.advance(1000);
  t.same(open(here), [false, true]);
  here.clock.advance(1000);
  t.same(open(here), [false, false]);
  t.equal(here.strangers.size, 0);
});

void t.test("a stranger that sends too much is cut off", async (t) => {
  const here = await listener(t);
  const modest = await here.call();
  const loud = await here.call();
  modest.write(Buffer.alloc(1000));
  loud.write(Buffer.alloc(1001));
  await until(
    () =>
      here.accepted[0]?.bytesRead === 1000 &&
      here.accepted[1]?.bytesRead === 1001,
  );
  here.clock.advance(1000);
  t.same(open(here), [true, false]);
});

void t.test("a connection that closes frees its place", async (t) => {
  const here = await listener(t);
  const first = await here.call();
  await here.call();
  first.destroy();
  await until(() => here.strangers.size === 1);
  await here.call();
  t.same(open(here), [false, true, true]);
});

void t.test("the end closes them all, and leaves no timer", async (t) => {
  const here = await listener(t);
  await here.call();
  await here.call("127.0.0.2");
  here.strangers.close();
  t.same(open(here), [false, false]);
  t.equal(here.clock.pending, 0);
});
