import t from "tap";
import { type Snapshot } from "../../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { TRAFFIC_DEFAULTS } from "../../../src/resources/traffic-policy/settings.ts";
import {
  born,
  self,
  service,
  trafficPolicy,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

function compile(resources: readonly Resource[]): Snapshot {
  return compileSnapshot(resources, self(), VERSION);
}

const orders = [{ kind: "Service" as const, name: "orders" }];

void t.test(
  "a Service's endpoints are the Workloads of its namespace that carry its labels",
  (t) => {
    const snapshot = compile([
      service("shop/orders"),
      workload("shop/orders-1", "orders", {
        locality: "eu/a",
        weight: 3,
        ready: false,
      }),
      workload("shop/orders-2", "orders", {
        ports: { http: 3000 },
        address: "10.0.0.2",
      }),
      workload("shop/catalog-1", "catalog"),
      workload("infra/orders-3", "orders"),
    ]);
    const cluster = snapshot.destination("orders", 80)?.cluster;
    t.match(cluster, {
      key: "orders.shop:80",
      destination: "orders.shop:80",
      service: { name: "orders", namespace: "shop" },
      port: 80,
      appProtocol: "http",
      external: false,
      settings: TRAFFIC_DEFAULTS,
      policy: undefined,
    });
    t.strictSame(cluster?.endpoints, [
      {
        key: "shop/orders-1:8080",
        workload: "shop/orders-1",
        address: "10.0.0.1",
        port: 8080,
        link: 15_008,
        identity: "spiffe://cluster.local/ns/shop/sa/orders",
        weight: 3,
        locality: "eu/a",
        distance: 0,
        ready: false,
      },
      {
        key: "shop/orders-2:3000",
        workload: "shop/orders-2",
        address: "10.0.0.2",
        port: 3000,
        link: 15_008,
        identity: "spiffe://cluster.local/ns/shop/sa/orders",
        weight: 1,
        locality: "",
        distance: 0,
        ready: true,
      },
    ]);
    t.end();
  },
);

void t.test(
  "a Workload without a sidecar has neither link nor identity",
  (t) => {
    const { link: _link, ...spec } = workload("shop/orders-1", "orders").spec;
    const snapshot = compile([
      service("shop/orders"),
      { ...workload("shop/orders-1", "orders"), spec },
    ]);
    t.match(snapshot.destination("orders", 80)?.cluster.endpoints, [
      { link: undefined, identity: undefined },
    ]);
    t.end();
  },
);

void t.test(
  "the port by the Service's port name, else the target port, else none",
  (t) => {
    const snapshot = compile([
      service("shop/orders", {
        ports: [
          { name: "http", port: 80, targetPort: 8080 },
          { name: "rpc", port: 81, targetPort: 9090 },
          { name: "none", port: 82 },
        ],
      }),
      workload("shop/orders-1", "orders", { ports: { http: 3000, x: 9090 } }),
    ]);
    const ports = (port: number): readonly number[] =>
      snapshot
        .destination("orders", port)
        ?.cluster.endpoints.map((endpoint) => endpoint.port) ?? [-1];
    t.strictSame(ports(80), [3000]);
    t.strictSame(ports(81), [9090]);
    t.strictSame(ports(82), []);
    t.end();
  },
);

void t.test(
  "trap 13: of two TrafficPolicies for one Service the oldest wins as a whole",
  (t) => {
    const snapshot = compile([
      service("shop/orders"),
      trafficPolicy(
        "shop/young",
        {
          targetRefs: orders,
          loadBalancer: { simple: "RANDOM" },
          circuitBreaker: { volumeThreshold: 7 },
        },
        born(2),
      ),
      trafficPolicy(
        "shop/old",
        { targetRefs: orders, loadBalancer: { simple: "ROUND_ROBIN" } },
        born(1),
      ),
      trafficPolicy("infra/far", {
        targetRefs: orders,
        loadBalancer: { simple: "LEAST_REQUEST" },
      }),
    ]);
    const cluster = snapshot.destination("orders", 80)?.cluster;
    t.equal(cluster?.policy, "shop/old");
    t.strictSame(cluster?.settings.loadBalancer, { simple: "ROUND_ROBIN" });
    t.equal(
      cluster?.settings.circuitBreaker.volumeThreshold,
      TRAFFIC_DEFAULTS.circuitBreaker.volumeThreshold,
      "nothing of the loser is mixed in",
    );
    t.match(snapshot.warnings, [
      /TrafficPolicy shop\/young .* shop\/old is older/,
    ]);
    t.end();
  },
);

void t.test(
  "trap 14: a port's policy replaces whole blocks of the Service's",
  (t) => {
    const snapshot = compile([
      service("shop/orders", {
        ports: [
          { name: "http", port: 80, targetPort: 8080 },
          { name: "rpc", port: 81, targetPort: 8080 },
        ],
      }),
      trafficPolicy("shop/all", {
        targetRefs: orders,
        loadBalancer: { simple: "RANDOM" },
        circuitBreaker: { volumeThreshold: 7, resetTimeout: "9s" },
      }),
      trafficPolicy("shop/rpc", {
        targetRefs: [{ kind: "Service", name: "orders", sectionName: "rpc" }],
        circuitBreaker: { volumeThreshold: 3 },
      }),
    ]);
    const general = snapshot.destination("orders", 80)?.cluster;
    const rpc = snapshot.destination("orders", 81)?.cluster;
    t.match(general, {
      policy: "shop/all",
      settings: { circuitBreaker: { volumeThreshold: 7, resetTimeout: 9000 } },
    });
    t.match(rpc, {
      policy: "shop/rpc",
      settings: {
        loadBalancer: { simple: "RANDOM" },
        circuitBreaker: {
          volumeThreshold: 3,
          resetTimeout: TRAFFIC_DEFAULTS.circuitBreaker.resetTimeout,
        },
      },
    });
    t.strictSame(snapshot.warnings, []);
    t.end();
  },
);

void t.test("trap 18: the store's time decides, then the name", (t) => {
  const make = (name: string, more = {}): Resource =>
    trafficPolicy(name, { targetRefs: orders }, more);
  const winner = (...policies: Resource[]): string | undefined =>
    compile([service("shop/orders"), ...policies]).destination("orders", 80)
      ?.cluster.policy;
  t.equal(winner(make("shop/a"), make("shop/b", born(9))), "shop/b");
  t.equal(winner(make("shop/b"), make("shop/a")), "shop/a");
  t.equal(winner(make("shop/b", born(1)), make("shop/a", born(1))), "shop/a");
  t.end();
});

void t.test(
  "an external Service's endpoints are its hosts, without identity",
  (t) => {
    const snapshot = compile([
      service("infra/stripe", {
        location: "MESH_EXTERNAL",
        hosts: ["api.stripe.com"],
        ports: [{ port: 443, appProtocol: "tls" }],
      }),
    ]);
    t.match(snapshot.destination("api.stripe.com", 443)?.cluster, {
      external: true,
      endpoints: [
        {
          key: "api.stripe.com:443",
          address: "api.stripe.com",
          port: 443,
          link: undefined,
          identity: undefined,
          ready: true,
        },
      ],
    });
    t.end();
  },
);

void t.test(
  "an external endpoint's key has its IPv6 address in brackets",
  (t) => {
    const snapshot = compile([
      service("infra/bank", {
        location: "MESH_EXTERNAL",
        hosts: ["bank.example"],
        resolution: "STATIC",
        endpoints: [{ address: "2001:db8::1" }],
        ports: [{ port: 443 }],
      }),
    ]);
    t.match(snapshot.destination("bank.example", 443)?.cluster.endpoints, [
      { key: "[2001:db8::1]:443", address: "2001:db8::1" },
    ]);
    t.end();
  },
);

void t.test(
  "how far an endpoint is follows from its locality and the caller's own",
  (t) => {
    const distances = (own: string | undefined): readonly number[] => {
      const localities = ["eu/a/1", "eu/a/2", "eu/b/1", "us/a/1", "eu", ""];
      const snapshot = compileSnapshot(
        [
          service("shop/orders"),
          ...localities.map((locality, index) =>
            workload(
              `shop/orders-${index}`,
              "orders",
              locality === "" ? {} : { locality },
            ),
          ),
          workload("shop/web-1", "web", { locality: "us/a/1" }),
        ],
        own === undefined ? self() : { ...self(), locality: own },
        VERSION,
      );
      const { endpoints } = snapshot.destination("orders", 80)?.cluster ?? {};
      return (endpoints ?? []).map(({ distance }) => distance);
    };
    t.strictSame(distances("eu/a/1"), [0, 1, 2, 3, 2, 3]);
    t.strictSame(distances("eu/a"), [0, 0, 2, 3, 2, 3]);
    t.strictSame(distances("eu"), [0, 0, 0, 3, 0, 3]);
    t.strictSame(distances(""), [0, 0, 0, 0, 0, 0], "nothing is known");
    t.strictSame(distances(undefined), [3, 3, 3, 0, 3, 3], "as registered");
    t.end();
  },
);
