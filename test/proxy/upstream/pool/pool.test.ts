/** Which connection a request gets, and when another is dialled. */
import t from "tap";
import { MeshError } from "../../../../src/mesh/errors.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
  Protocol,
} from "../../../../src/wire/exchange.ts";
import type { PoolSettings } from "../../../../src/proxy/upstream/pool/options.ts";
import { LinkWatch } from "../../../../src/proxy/upstream/pool/link-watch.ts";
import { Pool } from "../../../../src/proxy/upstream/pool/pool.ts";
import { type ConnectionWaiter } from "../../../../src/proxy/exchange/route-plan.ts";
import {
  fakeClock,
  type FakeClock,
} from "../../../support/clocks/fake-clock.ts";

interface FakeConnection extends ClientConnection {
  active: number;
  capacity: number;
  heardAt: number;
  keepAlive: number | undefined;
  readonly observer: ClientConnectionObserver;
  readonly ended: string[];
  onPing: () => void;
  onDestroy: () => void;
  pong(): void;
}

function fakeConnection(
  protocol: Protocol,
  clock: FakeClock,
  observer: ClientConnectionObserver,
  most: number,
): FakeConnection {
  const ended: string[] = [];
  let pong: (() => void) | undefined;
  return {
    protocol,
    active: 0,
    capacity: most,
    heardAt: clock.now(),
    keepAlive: undefined,
    observer,
    ended,
    request() {
      this.active += 1;
      this.capacity -= 1;
      const ignore = (): void => undefined;
      return {
        write: () => true,
        end: ignore,
        abort: ignore,
        pause: ignore,
        resume: ignore,
      };
    },
    onPing: ignore,
    onDestroy: ignore,
    ping() {
      this.onPing();
      return new Promise((resolve) => (pong = resolve));
    },
    pong: () => pong?.(),
    drain: () => ended.push("drain"),
    destroy() {
      ended.push("destroy");
      this.onDestroy();
    },
  };
}

interface Setup {
  readonly pool: Pool;
  readonly clock: FakeClock;
  readonly made: FakeConnection[];
  /** What each waiter got: the index of its connection, "reused" or not; or the code of the error. */
  readonly got: string[];
  readonly acquire: (mayRepeat?: boolean) => (() => void) | undefined;
  /** Lets dials settle. */
  readonly settle: () => Promise<void>;
  /** The request on that connection is over. */
  readonly finish: (index: number) => void;
}

function setUp(
  options: {
    protocol?: Protocol;
    streams?: number;
    /** The peer is a sidecar. */
    link?: boolean;
    settings?: Partial<PoolSettings>;
    fail?: () => MeshError | undefined;
  } = {},
): Setup {
  const clock = fakeClock();
  const made: FakeConnection[] = [];
  const got: string[] = [];
  const protocol = options.protocol ?? "http/1.1";
  const most = protocol === "h2" ? (options.streams ?? 100) : 1;
  const pool = new Pool({
    clock,
    multiplexed: protocol === "h2",
    watch:
      options.link === true
        ? new LinkWatch(clock, undefined, (run) => run())
        : undefined,
    settings: () => ({
      idleTimeout: 3000,
      multiplexedIdleTimeout: 3_600_000,
      maxRequestsPerConnection: 0,
      connectTimeout: 1000,
      ...options.settings,
    }),
    dial(observer) {
      const failure = options.fail?.();
      if (failure !== undefined) return Promise.reject(failure);
      const connection = fakeConnection(protocol, clock, observer, most);
      made.push(connection);
      return Promise.resolve(connection);
    },
  });
  return {
    pool,
    clock,
    made,
    got,
    acquire(mayRepeat = true) {
      const waiter: ConnectionWaiter = {
        connected(connection, reused) {
          const index = made.findIndex((each) => each === connection);
          got.push(`${index}${reused ? " reused" : ""}`);
          connection.request(HEAD, true, RECEIVER);
        },
        failed: ({ code, unprocessed }) =>
          got.push(
            unprocessed && code === "UPSTREAM_RESET"
              ? `${code} unprocessed`
              : code,
          ),
      };
      return pool.acquire({ mayRepeat }, waiter);
    },
    settle: () => new Promise((resolve) => setImmediate(resolve)),
    finish(index) {
      const connection = made[index];
      if (connection === undefined) throw new Error(`no connection ${index}`);
      connection.active -= 1;
      connection.capacity += 1;
      connection.observer.available();
    },
  };
}

const HEAD = {
  method: "GET",
  scheme: "http",
  authority: "a",
  path: "/",
  protocol: undefined,
  fields: [],
  contentLength: undefined,
  acceptsTrailers: false,
  absoluteForm: false,
};
const ignore = (): void => undefined;
const RECEIVER = {
  informational: ignore,
  head: ignore,
  data: ignore,
  end: ignore,
  abort: ignore,
  drained: ignore,
};

void t.test(
  "HTTP/1.1: each waiter dials, and the last used is used next",
  async (t) => {
    const { acquire, settle, finish, got, clock } = setUp();
    acquire();
    acquire();
    await settle();
    t.same(got, ["0", "1"]);
    finish(0);
    clock.advance(100);
    finish(1);
    acquire();
    t.same(got.slice(2), ["1 reused"], "last in, first out");
    acquire();
    t.same(got.slice(3), ["0 reused"]);
  },
);

void t.test(
  "a connection that comes free serves who waits, before the dial is done",
  async (t) => {
    const { acquire, settle, finish, got, pool } = setUp();
    acquire();
    await settle();
    acquire();
    finish(0);
    t.same(got, ["0", "0 reused"]);
    await settle();
    t.equal(pool.connections, 2, "the dialled one is there for the next");
  },
);

void t.test(
  "HTTP/1.1: idle for longer than 3 s, or than the peer allows, is not used",
  async (t) => {
    for (const { keepAlive, wait } of [
      { keepAlive: undefined, wait: 3000 },
      { keepAlive: 1000, wait: 1000 },
    ]) {
      const { pool, acquire, settle, finish, got, clock, made } = setUp();
      acquire();
      await settle();
      const [first] = made;
      if (first !== undefined) first.keepAlive = keepAlive;
      finish(0);
      clock.advance(wait);
      acquire();
      await settle();
      t.same(got, ["0", "1"]);
      pool.sweep(9);
      t.same(first?.ended, ["destroy"]);
    }
  },
);

void t.test(
  "what may not be repeated gets a connection idle for less than 1 s, or a new one",
  async (t) => {
    const { acquire, settle, finish, got, clock } = setUp();
    acquire();
    await settle();
    finish(0);
    clock.advance(999);
    acquire(false);
    t.same(got, ["0", "0 reused"]);
    finish(0);
    clock.advance(1000);
    acquire(false);
    await settle();
    t.same(got.slice(2), ["1"], "a new one");
    acquire(true);
    t.same(got.slice(3), ["0 reused"], "which others may still use");
  },
);

void t.test(
  "HTTP/2: one connection for all, a second when it is full",
  async (t) => {
    const { acquire, settle, got, made } = setUp({
      protocol: "h2",
      streams: 2,
    });
    for (let index = 0; index < 5; index += 1) acquire();
    t.equal(made.length, 1, "one dial for all who wait");
    await settle();
    await settle();
    await settle();
    t.same(got, ["0", "0 reused", "1", "1 reused", "2"]);
  },
);

void t.test(
  "HTTP/2 that was silent for 1 s answers a PING before what may not be repeated",
  async (t) => {
    const { acquire, settle, got, clock, made } = setUp({ protocol: "h2" });
    acquire();
    await settle();
    clock.advance(1000);
    acquire(true);
    t.same(got, ["0", "0 reused"], "what may be repeated does not wait");
    acquire(false);
    t.equal(got.length, 2, "waits");
    made[0]?.pong();
    await settle();
    t.same(got.slice(2), ["0 reused"]);
  },
);

void t.test(
  "HTTP/2 that does not answer the PING is let go, and another dialled",
  async (t) => {
    const { acquire, settle, got, clock, made } = setUp({ protocol: "h2" });
    acquire();
    await settle();
    clock.advance(1000);
    acquire(false);
    clock.advance(1000);
    t.same(made[0]?.ended, [], "what has arrived is heard first");
    await settle();
    t.same(made[0]?.ended, ["destroy"]);
    await settle();
    t.same(got, ["0", "1"]);
  },
);

void t.test(
  "a link found dead: the cluster hears of it, then the others are asked, then what is in flight is told",
  async (t) => {
    const { acquire, settle, clock, made, pool } = setUp({
      protocol: "h2",
      link: true,
      streams: 1,
    });
    acquire();
    await settle();
    acquire();
    await settle();
    const [first, second] = made;
    if (first === undefined || second === undefined) throw new Error("two");
    const order: string[] = [];
    const stop = pool.onDead((evidence) => order.push(evidence));
    first.onPing = () => order.push("first is asked");
    second.onPing = () => order.push("second is asked");
    first.onDestroy = () => order.push("first ends");
    clock.advance(900);
    second.heardAt = clock.now();
    clock.advance(600);
    second.heardAt = clock.now();
    clock.advance(500);
    t.same(order, [
      "first is asked",
      "silent for 2 s with 1 request in flight, no acknowledgement of a PING within 1 s",
      "second is asked",
      "first ends",
    ]);
    t.equal(pool.connections, 1);
    stop();
    clock.advance(1000);
    t.same(second.ended, ["destroy"]);
    t.equal(order.length, 4, "nobody listens any more");
  },
);

void t.test(
  "what may not be repeated waits for a PING on a link that has been silent for 0.1 s with requests out, and goes elsewhere where none is acknowledged",
  async (t) => {
    const { acquire, settle, got, clock, made, pool } = setUp({
      protocol: "h2",
      link: true,
    });
    acquire();
    await settle();
    clock.advance(99);
    acquire(false);
    t.same(got, ["0", "0 reused"]);
    clock.advance(1);
    acquire(true);
    t.same(got.slice(2), ["0 reused"], "what may be repeated does not wait");
    acquire(false);
    t.equal(got.length, 3, "waits");
    made[0]?.pong();
    await settle();
    t.same(got.slice(3), ["0 reused"]);

    acquire(false);
    clock.advance(1000);
    await settle();
    t.same(got.slice(4), ["UPSTREAM_RESET unprocessed"]);
    t.same(made[0]?.ended, [], "whether it is dead is the watch's to say");
    t.equal(pool.waiting, 0);
    t.equal(made.length, 1, "and nothing is dialled for it");

    const giveUp = acquire(false);
    giveUp?.();
    clock.advance(1000);
    await settle();
    t.equal(got.length, 5);
  },
);

void t.test(
  "the 0.1 s begin with the first request after an idle time",
  async (t) => {
    const { acquire, settle, finish, got, clock } = setUp({
      protocol: "h2",
      link: true,
    });
    acquire();
    await settle();
    finish(0);
    clock.advance(900);
    acquire(false);
    acquire(false);
    t.same(got, ["0", "0 reused", "0 reused"]);
  },
);

void t.test(
  "an idle link that does not answer a PING says nothing of its endpoint: another is dialled",
  async (t) => {
    const { acquire, settle, finish, got, clock, made, pool } = setUp({
      protocol: "h2",
      link: true,
    });
    const evidence: string[] = [];
    pool.onDead((seen) => evidence.push(seen));
    acquire();
    await settle();
    finish(0);
    clock.advance(1000);
    acquire(false);
    clock.advance(1000);
    await settle();
    await settle();
    t.same(made[0]?.ended, ["destroy"]);
    t.same(got, ["0", "1"]);
    t.same(evidence, []);
  },
);

void t.test("a link that drains is watched to its end", async (t) => {
  const { acquire, settle, clock, made } = setUp({
    protocol: "h2",
    link: true,
  });
  acquire();
  await settle();
  made[0]?.observer.draining();
  clock.advance(2000);
  t.same(made[0]?.ended, ["destroy"]);
  acquire();
  await settle();
  made[1]?.observer.closed(undefined);
  clock.advance(60_000);
  t.same(made[1]?.ended, [], "one that is gone is not");
  t.equal(clock.pending, 0);
});

void t.test("a failed dial fails those who waited for it", async (t) => {
  const error = new MeshError("CONNECT_FAILED", "", {
    source: "upstream",
    unprocessed: true,
  });
  for (const protocol of ["http/1.1", "h2"] as const) {
    const { acquire, settle, got } = setUp({ protocol, fail: () => error });
    acquire();
    acquire();
    await settle();
    t.same(got, ["CONNECT_FAILED", "CONNECT_FAILED"], protocol);
  }
});

void t.test("who gives up is not served", async (t) => {
  const { acquire, settle, got, pool } = setUp();
  acquire()?.();
  await settle();
  t.same(got, []);
  t.equal(pool.waiting, 0);
});

void t.test("a draining connection takes nothing new", async (t) => {
  const { acquire, settle, got, made } = setUp({ protocol: "h2" });
  acquire();
  await settle();
  made[0]?.observer.draining();
  acquire();
  await settle();
  t.same(got, ["0", "1"]);
});

void t.test(
  "maxRequestsPerConnection ends a connection after so many",
  async (t) => {
    const { acquire, settle, got, made } = setUp({
      protocol: "h2",
      settings: { maxRequestsPerConnection: 2 },
    });
    acquire();
    acquire();
    acquire();
    await settle();
    await settle();
    t.same(got, ["0", "0 reused", "1"]);
    t.same(made[0]?.ended, ["drain"]);
  },
);

void t.test(
  "sweeping closes what is idle for too long, and nothing else",
  async (t) => {
    const { acquire, settle, finish, clock, made, pool } = setUp();
    acquire();
    acquire();
    await settle();
    finish(0);
    clock.advance(3000);
    t.equal(pool.sweep(9), 1);
    t.same(
      made.map(({ ended }) => ended),
      [["destroy"], []],
    );
  },
);

void t.test(
  "a pool that has a successor hands over those who wait, who may still give up",
  async (t) => {
    const failures: MeshError[] = [];
    const old = setUp({ fail: () => failures[0] });
    const next = setUp();
    old.acquire();
    await old.settle();
    // One gets the connection that is being made, one's cannot be made, one gives up.
    old.acquire();
    failures.push(new MeshError("TLS_FAILED", "", { source: "upstream" }));
    const giveUp = old.acquire();
    old.acquire();
    old.pool.drain(next.pool);
    t.same(old.made[0]?.ended, ["drain"]);
    t.equal(next.pool.waiting, 0, "their connections are being made yet");
    giveUp?.();
    await old.settle();
    await next.settle();
    t.same(
      old.got,
      ["0", "1", "-1"],
      "its own connection; one of the other pool; no failure",
    );
    t.same(old.made[1]?.ended, ["drain"], "it carries what it was made for");
    t.equal(next.pool.waiting + old.pool.waiting, 0);
  },
);

void t.test(
  "a pool that is let go fails those who wait and drains the rest",
  async (t) => {
    const { acquire, settle, got, made, pool } = setUp();
    acquire();
    await settle();
    acquire();
    pool.drain();
    t.same(got, ["0", "STREAM_REFUSED"]);
    t.same(made[0]?.ended, ["drain"]);
    acquire();
    t.same(got.slice(2), ["STREAM_REFUSED"]);
    await settle();
    t.same(made[1]?.ended, ["destroy"], "a dial that was under way is undone");
  },
);
