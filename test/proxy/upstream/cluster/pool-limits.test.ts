/** The limits of connectionPool by protocol, and the order of those who wait. */
import t from "tap";
import { MeshError } from "../../../../src/mesh/errors.ts";
import type { Cluster } from "../../../../src/policy/snapshot.ts";
import { makeSharedState } from "../../../../src/core/shared/shared-state.ts";
import {
  LocalPoolLimits,
  type PoolLimits,
} from "../../../../src/proxy/upstream/cluster/pool-limits.ts";
import { poolLimitsOf } from "../../../../src/proxy/upstream/cluster/shared-pool-limits.ts";
import { TRAFFIC_DEFAULTS } from "../../../../src/resources/traffic-policy/settings.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import { until } from "../../../support/meshes/pair.ts";

interface Limits {
  readonly connections: number;
  readonly requests: number;
  readonly pending: number;
}

function clusterOf(
  appProtocol: Cluster["appProtocol"],
  limits: Limits,
): Cluster {
  return {
    key: "orders.shop:80",
    destination: "orders.shop:80",
    service: { name: "orders", namespace: "shop" },
    port: 80,
    appProtocol,
    external: false,
    endpoints: [],
    settings: {
      ...TRAFFIC_DEFAULTS,
      connectionPool: {
        tcp: {
          ...TRAFFIC_DEFAULTS.connectionPool.tcp,
          maxConnections: limits.connections,
        },
        http: {
          ...TRAFFIC_DEFAULTS.connectionPool.http,
          http2MaxRequests: limits.requests,
          http1MaxPendingRequests: limits.pending,
        },
      },
    },
  };
}

function limitsOf(
  appProtocol: Cluster["appProtocol"],
  limits: Limits,
): PoolLimits {
  const made = new LocalPoolLimits();
  made.configure(clusterOf(appProtocol, limits));
  return made;
}

/** "in", "waits" or the error's code, for each of `count` requests to one endpoint. */
function enter(made: PoolLimits, count: number, endpoint = "a"): string[] {
  return Array.from({ length: count }, () => {
    let state = "waits";
    const result = made.enter(endpoint, { admitted: () => (state = "in") });
    return result instanceof MeshError ? result.code : state;
  });
}

void t.test("which limit counts for which protocol", (t) => {
  const limits = { connections: 1, requests: 3, pending: 1 };
  for (const [protocol, expected] of [
    ["http", ["in", "waits", "OVERFLOW", "OVERFLOW"]],
    ["http2", ["in", "in", "in", "OVERFLOW"]],
    ["grpc", ["in", "in", "in", "OVERFLOW"]],
    ["tcp", ["in", "OVERFLOW", "OVERFLOW", "OVERFLOW"]],
    ["tls", ["in", "OVERFLOW", "OVERFLOW", "OVERFLOW"]],
  ] as const)
    t.same(enter(limitsOf(protocol, limits), 4), expected, protocol);
  t.end();
});

void t.test(
  "maxConnections is for one endpoint, http2MaxRequests for all",
  (t) => {
    const made = limitsOf("http", { connections: 1, requests: 2, pending: 9 });
    t.same(enter(made, 1, "a"), ["in"]);
    t.same(enter(made, 1, "b"), ["in"]);
    t.same(enter(made, 1, "c"), ["OVERFLOW"]);
    t.end();
  },
);

void t.test("who waits is let in in order, unless he gave up", (t) => {
  const made = limitsOf("http", { connections: 1, requests: 9, pending: 9 });
  const order: string[] = [];
  const waiter = (name: string): { admitted(): void } => ({
    admitted: () => order.push(name),
  });
  made.enter("a", waiter("first"));
  made.enter("a", waiter("second"));
  const third = made.enter("a", waiter("third"));
  made.enter("a", waiter("fourth"));
  t.equal(made.pending, 3);
  if (typeof third === "function") third();
  t.equal(made.pending, 2);
  for (let index = 0; index < 3; index += 1) made.leave("a");
  t.same(order, ["first", "second", "fourth"]);
  t.match(made, { active: 0, pending: 0 });
  t.end();
});

/** Those of one worker that is alone, and of one of two. */
const KINDS: Readonly<Record<string, () => PoolLimits>> = {
  alone: () => new LocalPoolLimits(),
  "one of two": () =>
    poolLimitsOf(makeSharedState(2), fakeClock(), "orders.shop:80"),
};

for (const [kind, make] of Object.entries(KINDS)) {
  const WIDE = { connections: 9, requests: 9, pending: 9 };

  void t.test(`a bound that was lowered counts for who waits, ${kind}`, (t) => {
    const made = make();
    made.configure(clusterOf("http", { ...WIDE, connections: 3 }));
    t.same(enter(made, 5), ["in", "in", "in", "waits", "waits"]);
    made.configure(clusterOf("http", { ...WIDE, connections: 1 }));
    for (const [active, pending] of [
      [2, 2],
      [1, 2],
      [1, 1],
      [1, 0],
      [0, 0],
    ] as const) {
      made.leave("a");
      t.match(made, { active, pending });
    }
    t.end();
  });

  void t.test(
    `a bound that was raised lets in who waits before newcomers, ${kind}`,
    (t) => {
      const made = make();
      made.configure(clusterOf("http", { ...WIDE, connections: 1 }));
      const order: string[] = [];
      const come = (name: string): void =>
        void made.enter("a", { admitted: () => order.push(name) });
      for (const name of ["first", "second", "third", "fourth"]) come(name);
      made.configure(clusterOf("http", { ...WIDE, connections: 3 }));
      t.same(order, ["first", "second", "third"]);
      come("newcomer");
      t.match(made, { active: 3, pending: 2 });
      for (let index = 0; index < 5; index += 1) made.leave("a");
      t.same(order.slice(3), ["fourth", "newcomer"]);
      t.match(made, { active: 0, pending: 0 });
      t.end();
    },
  );

  void t.test(
    `who waits for the room of the whole service gets that of any endpoint, ${kind}`,
    async (t) => {
      const made = make();
      made.configure(clusterOf("http", { ...WIDE, connections: 1 }));
      t.same(enter(made, 2, "a"), ["in", "waits"]);
      t.same(enter(made, 1, "b"), ["in"]);
      made.configure(
        clusterOf("http", { ...WIDE, connections: 1, requests: 1 }),
      );
      made.leave("a");
      t.match(made, { active: 1, pending: 1 });
      made.leave("b");
      await until(() => made.pending === 0);
      t.equal(made.active, 1);
      made.leave("a");
      t.equal(made.active, 0);
    },
  );
}
