// TrafficPolicy.loadBalancer and .healthCheck (model: kinds; shapes of Istio's DestinationRule).
import t from "tap";
import { makeRing } from "../../../src/policy/balance/ring.ts";
import { TRAFFIC_POLICY } from "../../../src/resources/traffic-policy/schema.ts";
import {
  trafficSettings,
  type TrafficPolicySpec,
} from "../../../src/resources/traffic-policy/settings.ts";
import {
  runCases,
  type Case,
  type Expected,
} from "../../support/resources/resource-cases.ts";

const targetRefs = [{ kind: "Service" as const, name: "orders" }];

function balancing(loadBalancer: unknown, ...problems: Expected[]): Case {
  return [
    JSON.stringify(loadBalancer),
    { targetRefs, loadBalancer },
    ...problems,
  ];
}

function health(healthCheck: unknown, ...problems: Expected[]): Case {
  return [
    JSON.stringify(healthCheck),
    { targetRefs, healthCheck },
    ...problems,
  ];
}

void t.test("loadBalancer", (t) => {
  const hash = "spec.loadBalancer.consistentHash";
  runCases(t, TRAFFIC_POLICY, [
    balancing({ consistentHash: { httpHeaderName: "X-User" } }),
    balancing({ consistentHash: { httpCookie: { name: "session" } } }),
    balancing({
      consistentHash: {
        httpCookie: { name: "session", path: "/app", ttl: "0s" },
        hashBalanceFactor: 125,
      },
    }),
    balancing({ consistentHash: { useSourceIp: true } }),
    balancing({ warmup: { duration: "30s" } }),
    balancing({
      simple: "LOAD_AWARE",
      warmup: { duration: "30s", minimumPercent: 5 },
      localityLbSetting: { enabled: true },
    }),
    balancing({}, ["spec.loadBalancer", /./]),
    balancing({ consistentHash: {} }, [hash, /exactly one of/]),
    balancing({ consistentHash: { httpHeaderName: "x", useSourceIp: true } }, [
      hash,
      /exactly one of/,
    ]),
    balancing({ consistentHash: { useSourceIp: false } }, [
      `${hash}.useSourceIp`,
      /./,
    ]),
    balancing({ consistentHash: { httpHeaderName: "x y" } }, [
      `${hash}.httpHeaderName`,
      /./,
    ]),
    balancing({ consistentHash: { httpCookie: { name: "a;b" } } }, [
      `${hash}.httpCookie.name`,
      /./,
    ]),
    balancing(
      { consistentHash: { httpCookie: { name: "a", path: "/x; Domain=b" } } },
      [`${hash}.httpCookie.path`, /./],
    ),
    balancing(
      { consistentHash: { useSourceIp: true, hashBalanceFactor: 50 } },
      [`${hash}.hashBalanceFactor`, /at least 100/],
    ),
    balancing({ simple: "RANDOM", consistentHash: { useSourceIp: true } }, [
      "spec.loadBalancer.simple",
      /cannot stand beside consistentHash/,
    ]),
    balancing(
      {
        consistentHash: { useSourceIp: true },
        warmup: { duration: "30s" },
        localityLbSetting: { enabled: true },
      },
      ["spec.loadBalancer.warmup", /cannot stand/],
      ["spec.loadBalancer.localityLbSetting", /cannot stand/],
    ),
    balancing({ warmup: { duration: "10ms" } }, [
      "spec.loadBalancer.warmup.duration",
      /at least 1s/,
    ]),
    balancing({ warmup: { duration: "30s", aggression: 2 } }, [
      "spec.loadBalancer.warmup.aggression",
      /grows evenly/,
    ]),
    balancing({ localityLbSetting: { enabled: true, failover: [] } }, [
      "spec.loadBalancer.localityLbSetting.failover",
      /goes first/,
    ]),
  ]);
  t.end();
});

void t.test("what is said of the ring is true of it", (t) => {
  const { length } = makeRing([{ key: "a", weight: 1 }]).places;
  const said = new RegExp(`has ${length} places for each endpoint of weight 1`);
  runCases(
    t,
    TRAFFIC_POLICY,
    ["ringHash", "minimumRingSize"].map((field) =>
      balancing({ consistentHash: { useSourceIp: true, [field]: 1 } }, [
        `spec.loadBalancer.consistentHash.${field}`,
        said,
      ]),
    ),
  );
  t.end();
});

void t.test("healthCheck", (t) => {
  runCases(t, TRAFFIC_POLICY, [
    health({ path: "/healthz" }),
    health({ grpc: {} }),
    health({ grpc: { service: "shop.Cart" }, interval: "5s" }),
    health({ tcp: true, timeout: "500ms", unhealthyThreshold: 1 }),
    health({}, ["spec.healthCheck", /exactly one of path/]),
    health({ path: "/", tcp: true }, ["spec.healthCheck", /exactly one/]),
    health({ path: "healthz" }, ["spec.healthCheck.path", /./]),
    health({ path: "/#a" }, ["spec.healthCheck.path", /./]),
    health({ tcp: true, interval: "10ms" }, [
      "spec.healthCheck.interval",
      /at least 100ms, not 10ms/,
    ]),
    health({ tcp: true, timeout: "0s" }, [
      "spec.healthCheck.timeout",
      /above 0/,
    ]),
    health({ tcp: true, healthyThreshold: 0 }, [
      "spec.healthCheck.healthyThreshold",
      /./,
    ]),
  ]);
  t.end();
});

void t.test("settings have their durations in milliseconds", (t) => {
  const of = (spec: Partial<TrafficPolicySpec>): unknown => {
    const { loadBalancer, healthCheck } = trafficSettings({
      targetRefs,
      ...spec,
    });
    return { loadBalancer, healthCheck };
  };
  t.strictSame(of({}), {
    loadBalancer: { simple: "PEAK_EWMA" },
    healthCheck: undefined,
  });
  t.strictSame(
    of({
      loadBalancer: {
        consistentHash: { httpCookie: { name: "s", ttl: "1m" } },
      },
      healthCheck: { grpc: {}, interval: "2s" },
    }),
    {
      loadBalancer: {
        simple: "PEAK_EWMA",
        consistentHash: { httpCookie: { name: "s", ttl: 60_000 } },
      },
      healthCheck: {
        grpc: { service: "" },
        interval: 2000,
        timeout: 1000,
        unhealthyThreshold: 3,
        healthyThreshold: 2,
      },
    },
  );
  t.match(of({ loadBalancer: { warmup: { duration: "30s" } } }), {
    loadBalancer: { warmup: { duration: 30_000, minimumPercent: 10 } },
  });
  t.end();
});

void t.test(
  "trap 14: a port's block replaces the Service's as a whole",
  (t) => {
    const settings = trafficSettings(
      {
        targetRefs,
        loadBalancer: { simple: "RANDOM", warmup: { duration: "30s" } },
      },
      { targetRefs, loadBalancer: { simple: "LOAD_AWARE" } },
    );
    t.strictSame(settings.loadBalancer, { simple: "LOAD_AWARE" });
    t.end();
  },
);
