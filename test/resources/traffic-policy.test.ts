/** TrafficPolicy: what is admitted, and the settings that result (model: the values shown are the defaults). */
import t from "tap";
import { meshSettings } from "../../src/resources/mesh/schema.ts";
import { TRAFFIC_POLICY } from "../../src/resources/traffic-policy/schema.ts";
import {
  TRAFFIC_DEFAULTS,
  trafficSettings,
  type TrafficPolicySpec,
} from "../../src/resources/traffic-policy/settings.ts";
import {
  runCases,
  type Case,
  type Expected,
} from "../support/resources/resource-cases.ts";

const targetRefs = [{ kind: "Service", name: "reviews" }] as const;
const block = (fields: object, ...expected: Expected[]): Case => [
  JSON.stringify(fields),
  { targetRefs, ...fields },
  ...expected,
];

void t.test("targets", (t) => {
  const target = (ref: object, ...expected: Expected[]): Case => [
    JSON.stringify(ref),
    { targetRefs: [ref] },
    ...expected,
  ];
  runCases(t, TRAFFIC_POLICY, [
    target({ group: "mesh.wherry.dev", kind: "Service", name: "a" }),
    target({ kind: "Service", name: "a", sectionName: "http" }),
    target({ kind: "Mesh", name: "a" }, [
      "spec.targetRefs[0].kind",
      /not one of Service/,
    ]),
    target({ kind: "Service", name: "a", namespace: "b" }, [
      "spec.targetRefs[0].namespace",
      /Services of its own namespace/,
    ]),
    ["none", { targetRefs: [] }, ["spec.targetRefs", /is empty/]],
    ["absent", {}, ["spec.targetRefs", /is required/]],
    [
      "the same twice",
      { targetRefs: [...targetRefs, ...targetRefs] },
      ["spec.targetRefs[1]", /is there already/],
    ],
  ]);
  t.end();
});

void t.test("blocks", (t) => {
  runCases(t, TRAFFIC_POLICY, [
    ...[
      "PEAK_EWMA",
      "LOAD_AWARE",
      "LEAST_REQUEST",
      "ROUND_ROBIN",
      "RANDOM",
    ].map((simple) => block({ loadBalancer: { simple } })),
    block({ loadBalancer: { simple: "LEAST_CONN" } }, [
      "spec.loadBalancer.simple",
      /not one of PEAK_EWMA/,
    ]),
    block({
      connectionPool: {
        tcp: { maxConnections: 1, connectTimeout: "1ms", idleTimeout: "0s" },
        http: {
          idleTimeout: "0s",
          maxRequestsPerConnection: 0,
          http2MaxRequests: 1,
          http1MaxPendingRequests: 1,
        },
      },
    }),
    block({ connectionPool: { tcp: { connectTimeout: "0s" } } }, [
      "spec.connectionPool.tcp.connectTimeout",
      /must be at least 1ms, not 0s/,
    ]),
    block({ connectionPool: { tcp: { maxConnections: 0 } } }, [
      "spec.connectionPool.tcp.maxConnections",
      /0 is below 1/,
    ]),
    block({ connectionPool: { http: { maxRetries: 3 } } }, [
      "spec.connectionPool.http.maxRetries",
      /unknown field "maxRetries"/,
    ]),
    block({ circuitBreaker: {} }),
    block({ circuitBreaker: { errorThresholdPercent: 0 } }, [
      "spec.circuitBreaker.errorThresholdPercent",
      /0 is below 1/,
    ]),
    block({ circuitBreaker: { volumeThreshold: 0 } }, [
      "spec.circuitBreaker.volumeThreshold",
      /0 is below 1/,
    ]),
    block({ circuitBreaker: { window: "999ms" } }, [
      "spec.circuitBreaker.window",
      /at least 1s, not 999ms/,
    ]),
    block({ circuitBreaker: { resetTimeout: "0s" } }, [
      "spec.circuitBreaker.resetTimeout",
      /at least 1ms/,
    ]),
    block({
      outlierDetection: {
        consecutive5xxErrors: 0,
        successRate: { thresholdPercent: 0 },
      },
    }),
    block({ outlierDetection: { maxEjectionPercent: 101 } }, [
      "spec.outlierDetection.maxEjectionPercent",
      /101 is above 100/,
    ]),
    block({ outlierDetection: { baseEjectionTime: "2m" } }, [
      "spec.outlierDetection.maxEjectionTime",
      /\(1m\) is shorter than baseEjectionTime \(2m\)/,
    ]),
    block({ outlierDetection: { interval: "0s" } }, [
      "spec.outlierDetection.interval",
      /at least 100ms/,
    ]),
    block({
      retryConstraint: {
        budget: { percent: 0, interval: "10s" },
        minRetryRate: { count: 0, interval: "1s" },
      },
    }),
    block({ retryConstraint: { budget: { percent: 200 } } }, [
      "spec.retryConstraint.budget.percent",
      /200 is above 100/,
    ]),
    block({ retryConstraint: { budget: { interval: "10ms" } } }, [
      "spec.retryConstraint.budget.interval",
      /at least 1s/,
    ]),
    block({ retryConstraint: { minRetryRate: { interval: "0s" } } }, [
      "spec.retryConstraint.minRetryRate.interval",
      /at least 100ms/,
    ]),
  ]);
  t.end();
});

void t.test("without a policy the defaults of the model are in force", (t) => {
  t.strictSame(trafficSettings(undefined), TRAFFIC_DEFAULTS);
  t.strictSame(trafficSettings({ targetRefs }), TRAFFIC_DEFAULTS);
  t.strictSame(TRAFFIC_DEFAULTS, {
    loadBalancer: { simple: "PEAK_EWMA" },
    connectionPool: {
      tcp: {
        maxConnections: 1024,
        connectTimeout: 1000,
        idleTimeout: 3_600_000,
      },
      http: {
        idleTimeout: 3000,
        maxRequestsPerConnection: 0,
        http2MaxRequests: 1024,
        http1MaxPendingRequests: 1024,
      },
    },
    outlierDetection: {
      consecutive5xxErrors: 5,
      consecutiveLocalOriginFailures: 5,
      successRate: { thresholdPercent: 80, minimumRequests: 20 },
      interval: 10_000,
      baseEjectionTime: 1000,
      maxEjectionTime: 60_000,
      maxEjectionPercent: 50,
      minHealthPercent: 50,
    },
    circuitBreaker: {
      errorThresholdPercent: 50,
      volumeThreshold: 100,
      window: 10_000,
      resetTimeout: 5000,
    },
    retryConstraint: {
      budget: { percent: 20, interval: 10_000 },
      minRetryRate: { count: 10, interval: 1000 },
    },
  });
  t.end();
});

void t.test("what a block leaves out keeps its default", (t) => {
  const settings = trafficSettings({
    targetRefs,
    loadBalancer: { simple: "RANDOM" },
    connectionPool: { http: { idleTimeout: "1m30s" } },
    circuitBreaker: { resetTimeout: "250ms" },
    outlierDetection: { successRate: { minimumRequests: 5 } },
    retryConstraint: { minRetryRate: { count: 1 } },
  });
  t.strictSame(settings.loadBalancer, { simple: "RANDOM" });
  t.equal(settings.connectionPool.http.idleTimeout, 90_000);
  t.equal(settings.connectionPool.http.http2MaxRequests, 1024);
  t.equal(settings.circuitBreaker.resetTimeout, 250);
  t.equal(settings.circuitBreaker.window, 10_000);
  t.strictSame(settings.outlierDetection.successRate, {
    thresholdPercent: 80,
    minimumRequests: 5,
  });
  t.strictSame(settings.retryConstraint, {
    budget: { percent: 20, interval: 10_000 },
    minRetryRate: { count: 1, interval: 1000 },
  });
  t.end();
});

void t.test(
  "trap 14: a port's policy replaces whole blocks, not fields",
  (t) => {
    const settings = trafficSettings(
      {
        targetRefs,
        circuitBreaker: { volumeThreshold: 7, window: "20s" },
        connectionPool: { tcp: { maxConnections: 9 } },
      },
      { targetRefs, circuitBreaker: { window: "30s" } },
    );
    t.equal(settings.circuitBreaker.window, 30_000);
    t.equal(settings.circuitBreaker.volumeThreshold, 100, "the default again");
    t.equal(settings.connectionPool.tcp.maxConnections, 9, "another block");
    t.end();
  },
);

/** Of each block: what the Service's policy says, and what its port's says. */
const BLOCKS: readonly (readonly [
  Partial<TrafficPolicySpec>,
  Partial<TrafficPolicySpec>,
])[] = [
  [
    { loadBalancer: { simple: "RANDOM", warmup: { duration: "9s" } } },
    { loadBalancer: { simple: "ROUND_ROBIN" } },
  ],
  [
    { connectionPool: { tcp: { maxConnections: 9 } } },
    { connectionPool: { http: { idleTimeout: "1s" } } },
  ],
  [
    { circuitBreaker: { volumeThreshold: 7 } },
    { circuitBreaker: { window: "30s" } },
  ],
  [
    { outlierDetection: { successRate: { minimumRequests: 7 } } },
    { outlierDetection: { interval: "3s" } },
  ],
  [
    { retryConstraint: { budget: { percent: 7, interval: "7s" } } },
    { retryConstraint: { minRetryRate: { count: 3, interval: "3s" } } },
  ],
  [
    { healthCheck: { path: "/a", unhealthyThreshold: 7 } },
    { healthCheck: { path: "/b" } },
  ],
  [{ hedging: { percentile: 70, minimumDelay: "7ms" } }, { hedging: {} }],
  [
    { priority: { default: 3 } },
    { priority: { cohort: "request.headers[x-user]" } },
  ],
];

void t.test("trap 14: so does each block of a port's policy", (t) => {
  for (const [service, port] of BLOCKS) {
    const alone = trafficSettings({ targetRefs, ...port });
    const [block = ""] = Object.keys(port);
    t.notSame(trafficSettings({ targetRefs, ...service }), alone, block);
    t.strictSame(
      trafficSettings({ targetRefs, ...service }, { targetRefs, ...port }),
      alone,
      block,
    );
  }
  t.end();
});

void t.test("the Mesh's connect time-out stands below the policy's", (t) => {
  const mesh = meshSettings({
    authorization: { defaultAction: "DENY" },
    defaults: { timeouts: { connect: "3s" } },
  });
  const connect = (timeout?: string): number =>
    trafficSettings(
      {
        targetRefs,
        connectionPool: {
          tcp: timeout === undefined ? {} : { connectTimeout: timeout },
        },
      },
      undefined,
      mesh,
    ).connectionPool.tcp.connectTimeout;
  t.equal(connect(), 3000);
  t.equal(connect("2s"), 2000);
  t.end();
});
