/** The limits of connectionPool by protocol, and the order of those who wait. */
import t from "tap";
import { MeshError } from "../../../../src/mesh/errors.ts";
import type { Cluster } from "../../../../src/policy/snapshot.ts";
import {
  LocalPoolLimits,
  type PoolLimits,
} from "../../../../src/proxy/upstream/cluster/pool-limits.ts";
import { TRAFFIC_DEFAULTS } from "../../../../src/resources/traffic-policy/settings.ts";

function limitsOf(
  appProtocol: Cluster["appProtocol"],
  limits: { connections: number; requests: number; pending: number },
): PoolLimits {
  const made = new LocalPoolLimits();
  made.configure({
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
  });
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
