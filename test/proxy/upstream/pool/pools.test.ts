/** The sweep over all pools: it costs what has connections, and little of a turn. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import t, { type Test } from "tap";
import { watchSource } from "../../../../src/core/watch.ts";
import type { PoolSettings } from "../../../../src/proxy/upstream/pool/options.ts";
import {
  makePools,
  MOST_LET_GO,
  MOST_LOOKED_AT,
  type Pools,
} from "../../../../src/proxy/upstream/pool/pools.ts";
import {
  fakeClock,
  type FakeClock,
} from "../../../support/clocks/fake-clock.ts";

/** Milliseconds. */
const ROUND = 1000;
const IDLE_TIMEOUT = 10 * ROUND;

interface Setup {
  readonly clock: FakeClock;
  readonly pools: Pools;
  /** How often a pool was looked at. */
  readonly looks: () => number;
  readonly find: (address: string) => ReturnType<Pools["find"]>;
  /** Resolves when so many calls at the same time have a connection each. */
  readonly open: (address: string, calls: number) => Promise<void>;
}

async function setUp(t: Test): Promise<Setup> {
  const server: Server = createServer((socket) =>
    socket.on("error", () => undefined),
  );
  server.listen(0, "0.0.0.0");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const clock = fakeClock();
  const pools = makePools({
    clock,
    credentials: watchSource(undefined),
    ownPorts: new Set(),
    linkProtocol: "h2",
  });
  t.teardown(() => {
    pools.destroy();
    server.close();
  });
  let looks = 0;
  const settings: PoolSettings = {
    idleTimeout: IDLE_TIMEOUT,
    // Read once by each look.
    get multiplexedIdleTimeout() {
      looks += 1;
      return IDLE_TIMEOUT;
    },
    maxRequestsPerConnection: 0,
    connectTimeout: 60 * ROUND,
  };
  const find = (address: string): ReturnType<Pools["find"]> =>
    pools.find(
      { kind: "plain", address, port, protocol: "http/1.1" },
      settings,
    );
  return {
    clock,
    pools,
    looks: () => looks,
    find,
    async open(address, calls) {
      const pool = find(address);
      await Promise.all(
        Array.from(
          { length: calls },
          () =>
            new Promise<void>((resolve, reject) => {
              pool.acquire(
                { mayRepeat: true },
                { connected: () => resolve(), failed: reject },
              );
            }),
        ),
      );
    },
  };
}

void t.test("pools that have no connection are not swept", async (t) => {
  const { clock, pools, looks, find, open } = await setUp(t);
  for (let index = 0; index < 2000; index += 1) find(`places-${index}.test`);
  t.equal(clock.pending, 0, "nothing has to be done now and then");
  await open("127.0.0.1", 1);
  clock.advance(5 * ROUND);
  t.equal(looks(), 5, "the one that has a connection, once a round");
  clock.advance(5 * ROUND);
  t.equal(pools.connections, 0, "it was idle for too long");
  clock.advance(ROUND);
  t.equal(clock.pending, 0);
  await open("127.0.0.1", 1);
  t.equal(pools.connections, 1, "and is dialled again");
  const before = looks();
  clock.advance(ROUND);
  t.equal(looks() - before, 1, "and swept again");
});

void t.test("one turn looks at so many pools", async (t) => {
  const { clock, looks, open } = await setUp(t);
  const more = 10;
  for (let index = 0; index < MOST_LOOKED_AT + more; index += 1)
    await open(`127.0.${1 + (index >> 7)}.${1 + (index & 127)}`, 1);
  clock.advance(ROUND);
  t.equal(looks(), MOST_LOOKED_AT);
  clock.advance(1);
  t.equal(looks(), MOST_LOOKED_AT + more);
  clock.advance(ROUND - 1);
  t.equal(looks(), 2 * MOST_LOOKED_AT + more, "the next round begins");
});

void t.test("one turn closes so many connections", async (t) => {
  const { clock, pools, open } = await setUp(t);
  const more = 10;
  await open("127.0.0.1", 2 * MOST_LET_GO + more);
  await open("127.0.0.2", 1);
  t.equal(pools.connections, 2 * MOST_LET_GO + more + 1);
  clock.advance(IDLE_TIMEOUT);
  t.equal(pools.connections, MOST_LET_GO + more + 1);
  clock.advance(1);
  t.equal(pools.connections, more + 1);
  clock.advance(1);
  t.equal(pools.connections, 0);
});

void t.test("a pool that is let go is swept no more", async (t) => {
  const { clock, pools, looks, open } = await setUp(t);
  await open("127.0.0.1", 1);
  pools.drain();
  t.equal(pools.connections, 0);
  clock.advance(2 * ROUND);
  t.equal(looks(), 0);
  t.equal(clock.pending, 0);
});
