/** Which connection of a pool a request gets, which are let go, and how the workers of a peer get one each. */
import t from "tap";
import {
  PooledConnections,
  type PooledConnection,
} from "../../../../src/proxy/upstream/pool/pooled-connections.ts";
import type {
  ClientConnection,
  Protocol,
  WorkerPlace,
} from "../../../../src/wire/exchange.ts";
import {
  fakeClock,
  type FakeClock,
} from "../../../support/clocks/fake-clock.ts";

interface Setup {
  readonly connections: PooledConnections;
  readonly clock: FakeClock;
  /** What became of connections, by name. */
  readonly ended: string[];
  readonly add: (name: string, capacity?: number) => PooledConnection;
  /** The name of the one that a request gets. */
  readonly find: (mayRepeat?: boolean) => string | undefined;
}

/** `spread`: of a sidecar that calls another one; absent: of an application. */
function setUp(protocol: Protocol, spread?: WorkerPlace): Setup {
  const clock = fakeClock();
  const ended: string[] = [];
  const names = new Map<ClientConnection, string>();
  const connections = new PooledConnections({
    clock,
    spread,
    settings: () => ({
      idleTimeout: 3000,
      multiplexedIdleTimeout: 10_000,
      maxRequestsPerConnection: 0,
      connectTimeout: 1000,
    }),
  });
  return {
    connections,
    clock,
    ended,
    add(name, capacity = 1) {
      const connection: ClientConnection = {
        protocol,
        active: 0,
        capacity,
        heardAt: clock.now(),
        keepAlive: undefined,
        request: () => {
          throw new Error("nobody asks for it");
        },
        ping: () => Promise.resolve(),
        drain: () => ended.push(`${name} drained`),
        destroy: () => ended.push(`${name} destroyed`),
      };
      names.set(connection, name);
      return connections.add(connection);
    },
    find(mayRepeat = true) {
      const found = connections.find(mayRepeat);
      return found && names.get(found.connection);
    },
  };
}

void t.test("the one that was used last is used next", (t) => {
  const { connections, add, find } = setUp("http/1.1");
  const first = add("first");
  add("second");
  t.equal(find(), "second");
  connections.idle(first);
  t.equal(find(), "first");
  connections.remove(first);
  t.equal(find(), "second");
  t.equal(first.leaving, true);
  t.equal(connections.size, 1);
  t.end();
});

void t.test("full and stale ones are passed over", (t) => {
  const { clock, connections, ended, add, find } = setUp("http/1.1");
  add("stale");
  clock.advance(2000);
  add("young");
  clock.advance(1000);
  add("full", 0);
  t.equal(find(false), undefined, "1 s is too old for what is sent once");
  t.equal(find(), "young");
  t.same(ended, []);
  clock.advance(2000);
  t.equal(find(), undefined);
  t.same(ended, [], "a call does not wait until they are closed");
  t.equal(connections.sweep(9), 2);
  t.same(ended, ["stale destroyed", "young destroyed"]);
  t.equal(connections.size, 1);
  t.end();
});

void t.test("a sweep leaves those that are in use or young", (t) => {
  const { clock, connections, ended, add } = setUp("h2");
  const busy = add("busy");
  Object.assign(busy.connection, { active: 1 });
  add("idle");
  clock.advance(9999);
  add("young");
  t.equal(connections.sweep(9), 0);
  t.same(ended, []);
  clock.advance(1);
  t.equal(connections.sweep(9), 1);
  t.same(ended, ["idle destroyed"]);
  t.equal(connections.active, 1);
  t.end();
});

void t.test("a sweep lets go of no more than it may", (t) => {
  const { clock, connections, ended, add } = setUp("http/1.1");
  for (const name of ["a", "b", "c"]) add(name);
  clock.advance(3000);
  t.equal(connections.sweep(2), 2);
  t.same(ended, ["a destroyed", "b destroyed"]);
  t.equal(connections.sweep(2), 1);
  t.equal(connections.size, 0);
  t.end();
});

void t.test("all that are removed take no more", (t) => {
  const { connections, add, find } = setUp("h2");
  const all = [add("first"), add("second")];
  t.same(connections.removeAll(), all);
  t.ok(all.every(({ leaving }) => leaving));
  t.equal(find(), undefined);
  t.equal(connections.size, 0);
  t.end();
});

void t.test("each worker of the peer is to get a connection", (t) => {
  const own = { worker: 0, workers: 1 };
  const { connections, ended, add, find } = setUp("h2", own);
  const first = add("first");
  t.equal(connections.missing, 0, "it has not said how many there are");
  t.equal(connections.introduced(first, { worker: 1, workers: 2 }), true);
  t.equal(connections.missing, 1);
  const same = add("same");
  t.equal(connections.introduced(same, { worker: 1, workers: 2 }), true);
  t.same(ended, ["same drained"], "that worker has one");
  t.equal(same.leaving, true);
  t.equal(connections.missing, 1);
  const second = add("second");
  t.equal(connections.introduced(second, { worker: 0, workers: 2 }), true);
  t.equal(connections.missing, 0);
  t.ok(["first", "second"].includes(find() ?? ""));
  connections.remove(first);
  t.equal(connections.missing, 1);
  t.equal(
    connections.introduced(first, { worker: 1, workers: 2 }),
    false,
    "what is leaving is of no worker",
  );
  connections.remove(second);
  t.equal(connections.missing, 0, "without a connection, calls ask for one");
  t.end();
});

void t.test("an application has no workers to tell apart", (t) => {
  const { connections, add } = setUp("h2");
  const only = add("only");
  t.equal(connections.introduced(only, { worker: 0, workers: 2 }), false);
  t.equal(connections.missing, 0);
  t.end();
});

void t.test("a worker that cannot be reached is tried again later", (t) => {
  const own = { worker: 0, workers: 1 };
  const { clock, connections, add } = setUp("h2", own);
  const link = add("link");
  connections.introduced(link, { worker: 0, workers: 2 });
  t.equal(connections.missing, 1);
  connections.missed();
  t.equal(connections.missing, 0);
  t.equal(connections.again(), false);
  clock.advance(9999);
  Object.assign(link.connection, { heardAt: clock.now() });
  t.equal(connections.again(), false);
  clock.advance(1);
  t.equal(connections.again(), true, "after 10 s");
  t.equal(connections.missing, 1);
  t.end();
});

void t.test("whatever a peer says of its workers, dials are bounded", (t) => {
  const MOST = 512;
  const says: Record<string, (dials: number) => WorkerPlace> = {
    "another number each time": (dials) => ({
      worker: 0,
      workers: 2 + (dials % 63),
    }),
    "none, now and then": (dials) => ({ worker: 0, workers: 2 - (dials % 2) }),
    "each goes away again": (dials) => ({ worker: dials, workers: 64 }),
  };
  for (const [what, place] of Object.entries(says)) {
    const own = { worker: 0, workers: 1 };
    const { clock, connections, add } = setUp("h2", own);
    const link = add("link");
    let dials = 0;
    const seek = (): void => {
      // A change is heard on the link that there is.
      connections.introduced(link, { worker: 0, workers: 64 });
      while (connections.missing > 0 && dials <= 2 * MOST) {
        connections.seek();
        dials += 1;
        const next = add("next");
        connections.introduced(next, place(dials));
        if (what.startsWith("each")) connections.remove(next);
        else connections.introduced(link, { worker: 0, workers: 64 });
      }
    };
    seek();
    t.equal(dials, MOST, what);
    clock.advance(9_999);
    t.notOk(connections.again());
    seek();
    t.equal(dials, MOST, what);
    clock.advance(1);
    t.ok(connections.again(), "after 10 s");
    seek();
    t.equal(dials, 2 * MOST, what);
  }
  t.end();
});
