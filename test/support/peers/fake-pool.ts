/** For tests: a pool whose connections are the test's own. */
import type { MeshError } from "../../../src/mesh/errors.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
  Protocol,
} from "../../../src/wire/exchange.ts";
import type { PoolSettings } from "../../../src/proxy/upstream/pool/options.ts";
import { LinkWatch } from "../../../src/proxy/upstream/pool/link-watch.ts";
import { Pool } from "../../../src/proxy/upstream/pool/pool.ts";
import { type ConnectionWaiter } from "../../../src/proxy/exchange/route-plan.ts";
import { fakeClock, type FakeClock } from "../clocks/fake-clock.ts";

export interface FakeConnection extends ClientConnection {
  active: number;
  capacity: number;
  heardAt: number;
  keepAlive: number | undefined;
  readonly observer: ClientConnectionObserver;
  readonly ended: string[];
  acknowledgedAgo: () => number | undefined;
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
  const asked: PromiseWithResolvers<undefined>[] = [];
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
    acknowledgedAgo: () => undefined,
    onPing: ignore,
    onDestroy: ignore,
    ping() {
      this.onPing();
      const ping = Promise.withResolvers<undefined>();
      ping.promise.catch(ignore);
      asked.push(ping);
      return ping.promise;
    },
    pong: () => asked.splice(0).forEach(({ resolve }) => resolve(undefined)),
    drain: () => ended.push("drain"),
    destroy() {
      ended.push("destroy");
      for (const { reject } of asked.splice(0)) reject(new Error("ended"));
      this.onDestroy();
    },
  };
}

export interface PoolUnderTest {
  readonly pool: Pool;
  readonly clock: FakeClock;
  readonly made: FakeConnection[];
  /** What each waiter got: the index of its connection, "reused" or not; or the code of the error. */
  readonly got: string[];
  readonly acquire: (
    mayRepeat?: boolean,
    isLast?: boolean,
  ) => (() => void) | undefined;
  /** Lets dials settle. */
  readonly settle: () => Promise<void>;
  /** The request on that connection is over. */
  readonly finish: (index: number) => void;
}

export function startPool(
  options: {
    protocol?: Protocol;
    streams?: number;
    /** The peer is a sidecar. */
    link?: boolean;
    settings?: Partial<PoolSettings>;
    fail?: () => MeshError | undefined;
  } = {},
): PoolUnderTest {
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
    acquire(mayRepeat = true, isLast = false) {
      const waiter: ConnectionWaiter = {
        isLast: () => isLast,
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
