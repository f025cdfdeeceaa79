/** TrafficPolicy's rate limits, adaptive concurrency, priorities and hedging: what is admitted, and what results. */
import t from "tap";
import { TRAFFIC_POLICY } from "../../../src/resources/traffic-policy/schema.ts";
import {
  adaptiveConcurrency,
  hedging,
  keySource,
} from "../../../src/resources/traffic-policy/overload.ts";
import {
  runCases,
  type Case,
  type Expected,
} from "../../support/resources/resource-cases.ts";

const block = (fields: object, ...expected: Expected[]): Case => [
  JSON.stringify(fields),
  { targetRefs: [{ kind: "Service", name: "reviews" }], ...fields },
  ...expected,
];

const rate = { requests: 100, interval: "1s" };
const matches = [{ path: { type: "PathPrefix", value: "/export" } }];

void t.test("rate limits", (t) => {
  const limit = (rateLimit: object, ...expected: Expected[]): Case =>
    block({ rateLimit }, ...expected);
  runCases(t, TRAFFIC_POLICY, [
    limit({ ...rate, burst: 50, key: "source.principal" }),
    limit({ ...rate, key: "none" }),
    limit({ ...rate, key: "request.headers[X-Tenant]" }),
    limit({ routes: [{ ...rate, name: "export", matches }] }),
    limit({ ...rate, routes: [{ ...rate, matches }] }),
    limit({}, ["spec.rateLimit", /limits nothing/]),
    limit({ requests: 1 }, ["spec.rateLimit.interval", /is required/]),
    limit({ interval: "1s" }, ["spec.rateLimit.requests", /is required/]),
    limit(
      { key: "none", burst: 1, routes: [{ ...rate, matches }] },
      ["spec.rateLimit.burst", /needs requests and interval/],
      ["spec.rateLimit.key", /needs requests and interval/],
    ),
    limit({ requests: 0, interval: "1s" }, [
      "spec.rateLimit.requests",
      /0 is below 1/,
    ]),
    limit({ requests: 1, interval: "99ms" }, [
      "spec.rateLimit.interval",
      /must be from 100ms to 24h, not 99ms/,
    ]),
    limit({ requests: 1, interval: "25h" }, [
      "spec.rateLimit.interval",
      /must be from 100ms to 24h/,
    ]),
    limit({ ...rate, key: "request.auth.claims[sub]" }),
    limit({ ...rate, key: "request.auth.claims[tenant][id]" }),
    limit({ ...rate, key: "request.auth.principal" }, [
      "spec.rateLimit.key",
      /is not one of none, .*request.auth.claims\[NAME\]/,
    ]),
    limit({ ...rate, key: "source.ip" }, [
      "spec.rateLimit.key",
      /is not one of none, source.principal, request.headers/,
    ]),
    limit({ ...rate, key: "request.headers[a b]" }, [
      "spec.rateLimit.key",
      /is not a header name/,
    ]),
    limit({ ...rate, key: "request.headers[x-wherry-attempt]" }, [
      "spec.rateLimit.key",
      /is taken from the request before/,
    ]),
    limit({ routes: [{ ...rate }] }, [
      "spec.rateLimit.routes[0].matches",
      /is required/,
    ]),
    limit({ routes: [{ ...rate, matches: [{ path: { value: "x" } }] }] }, [
      "spec.rateLimit.routes[0].matches[0].path.value",
      /must start with "\/"/,
    ]),
    limit(
      {
        routes: [
          { ...rate, name: "a", matches },
          { ...rate, name: "a", matches },
        ],
      },
      ["spec.rateLimit.routes[1].name", /is there already/],
    ),
  ]);
  t.end();
});

void t.test("adaptive concurrency, priorities, hedging", (t) => {
  const enforce = { adaptiveConcurrency: { mode: "ENFORCE" } };
  runCases(t, TRAFFIC_POLICY, [
    block({ adaptiveConcurrency: {} }),
    block(enforce),
    block({ adaptiveConcurrency: { mode: "ON" } }, [
      "spec.adaptiveConcurrency.mode",
      /is not one of OFF, SHADOW, ENFORCE/,
    ]),
    block({ adaptiveConcurrency: { minConcurrency: 9, maxConcurrency: 8 } }, [
      "spec.adaptiveConcurrency.maxConcurrency",
      /\(8\) is below minConcurrency \(9\)/,
    ]),
    block({
      ...enforce,
      priority: {
        default: 4,
        cohort: "request.headers[x-user]",
        rules: [
          { level: 0, matches },
          { level: 5, principals: ["cluster.local/ns/shop/sa/jobs"] },
        ],
      },
    }),
    block({ priority: { default: 3 } }, [
      "spec.priority",
      /refuses nothing by itself/,
    ]),
    block({ ...enforce, priority: { default: 6 } }, [
      "spec.priority.default",
      /6 is above 5/,
    ]),
    block({ ...enforce, priority: { rules: [{ level: 1 }] } }, [
      "spec.priority.rules[0]",
      /matches every request/,
    ]),
    ...(
      [
        ["web", /is not a principal such as cluster.local\/ns\/NAMESPACE/],
        ["spiffe://cluster.local/ns/shop/sa/web", /without "spiffe:\/\/"/],
        ["cluster.local/ns/shop/web", /is not a principal/],
        ["*", /expected the whole name of a caller/],
        ["*/sa/web", /expected the whole name of a caller/],
        ["*/ns/shop/sa/web", /expected the whole name of a caller/],
        ["cluster.local/ns/shop/*", /expected the whole name of a caller/],
        ["cluster.local/ns/*/sa/web", /expected the whole name of a caller/],
      ] as const
    ).map(([principal, fault]) =>
      block(
        {
          ...enforce,
          priority: { rules: [{ level: 0, principals: [principal] }] },
        },
        ["spec.priority.rules[0].principals[0]", fault],
      ),
    ),
    block({ ...enforce, priority: { cohort: "none" } }, [
      "spec.priority.cohort",
      /is not one of source.principal/,
    ]),
    block({ hedging: {} }),
    block({
      hedging: {
        percentile: 99,
        minimumDelay: "10ms",
        matches: [{ path: { type: "Exact", value: "/a" } }],
      },
    }),
    block({ hedging: { percentile: 10 } }, [
      "spec.hedging.percentile",
      /10 is below 50/,
    ]),
    block({ hedging: { matches: [{ path: { value: "a" } }] } }, [
      "spec.hedging.matches[0].path.value",
      /must start with "\/"/,
    ]),
    block({ clientThrottling: {} }, [
      "spec.clientThrottling",
      /take the field out: circuitBreaker .*adaptiveConcurrency/,
    ]),
  ]);
  t.end();
});

void t.test("what is left out takes its default", (t) => {
  t.strictSame(adaptiveConcurrency(undefined), {
    mode: "SHADOW",
    minConcurrency: 4,
    maxConcurrency: 1000,
  });
  t.strictSame(adaptiveConcurrency({ mode: "ENFORCE", minConcurrency: 8 }), {
    mode: "ENFORCE",
    minConcurrency: 8,
    maxConcurrency: 1000,
  });
  t.equal(hedging(undefined), undefined);
  t.strictSame(hedging({}), { percentile: 95, minimumDelay: 5 });
  t.strictSame(hedging({ percentile: 99, minimumDelay: "1s" }), {
    percentile: 99,
    minimumDelay: 1000,
  });
  t.strictSame(keySource("request.headers[X-A]"), {
    kind: "header",
    name: "x-a",
  });
  t.equal(keySource("request.headers[]"), undefined);
  t.end();
});

void t.test("the longest request body", (t) => {
  runCases(t, TRAFFIC_POLICY, [
    block({ maxRequestBodyBytes: 1 }),
    block({ maxRequestBodyBytes: 2 ** 40 }),
    block({ maxRequestBodyBytes: 0 }, [
      "spec.maxRequestBodyBytes",
      /0 is below 1/,
    ]),
    block({ maxRequestBodyBytes: 2 ** 40 + 1 }, [
      "spec.maxRequestBodyBytes",
      /is above 1099511627776/,
    ]),
    block({ maxRequestBodyBytes: 1.5 }, [
      "spec.maxRequestBodyBytes",
      /must be a whole number/,
    ]),
    block({ maxRequestBodyBytes: "1Mi" }, [
      "spec.maxRequestBodyBytes",
      /must be a whole number/,
    ]),
  ]);
  t.end();
});
