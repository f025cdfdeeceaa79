/** The caller's side of an explanation: what was not matched and why, in the order in which it was asked. */
import t from "tap";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { FaultInjectionSpec } from "../../../src/resources/fault-injection/spec.ts";
import type { HTTPRouteRule } from "../../../src/resources/http-route/spec.ts";
import {
  born,
  grpcRoute,
  httpRoute,
  mesh,
  service,
  trafficPolicy,
  workload,
} from "../../support/resources/policy-fixtures.ts";
import {
  BYTES,
  caller,
  ORDERS,
  passed,
  step,
} from "../../support/resources/asked-call.ts";

const parentRefs = [{ kind: "Service" as const, name: "orders" }];
const backendRefs = [{ name: "orders", port: 80 }];

function ruled(...rules: HTTPRouteRule[]): Resource[] {
  return [...ORDERS, httpRoute("shop/orders", { parentRefs, rules })];
}

void t.test("each kind of condition says what it found and wanted", (t) => {
  const resources = ruled(
    { matches: [{ path: { type: "Exact", value: "/b" } }], backendRefs },
    { matches: [{ path: { value: "/c" } }], backendRefs },
    {
      matches: [{ path: { type: "RegularExpression", value: "/[0-9]+" } }],
      backendRefs,
    },
    { matches: [{ method: "POST" }], backendRefs },
    { matches: [{ headers: [{ name: "X-User", value: "qa" }] }], backendRefs },
    {
      matches: [
        {
          headers: [{ name: "x-env", type: "RegularExpression", value: "p.*" }],
        },
      ],
      backendRefs,
    },
    { matches: [{ queryParams: [{ name: "q", value: "1" }] }], backendRefs },
    { backendRefs },
  );
  const answer = caller(resources, {
    path: "/a?q=2",
    headers: { "x-env": "test" },
  });
  const decision = step(answer, "route");
  t.strictSame(passed(decision), [
    'orders.rules[3].matches[0]: method is "GET", not POST',
    'orders.rules[4].matches[0]: header x-user is missing, not "qa"',
    'orders.rules[5].matches[0]: header x-env is "test", not an instance of p.*',
    'orders.rules[6].matches[0]: query parameter q is "2", not "1"',
    'orders.rules[2].matches[0]: path is "/a", not an instance of /[0-9]+',
    'orders.rules[0].matches[0]: path is "/a", not "/b"',
    'orders.rules[1].matches[0]: path is "/a", not under "/c"',
  ]);
  t.strictSame(decision.source, {
    resource: "HTTPRoute/shop/orders",
    field: "spec.rules[7]",
  });
  t.match(answer.outcome, { route: "shop/orders", rule: 7, allowed: true });
  t.end();
});

void t.test("a match that comes later says what goes first", (t) => {
  const exact = { path: { type: "Exact" as const, value: "/a/b" } };
  const header = (name: string): { name: string; value: string } => ({
    name,
    value: "1",
  });
  for (const [first, later, why] of [
    [exact, { path: { value: "/a" } }, "a path of type Exact"],
    [{ path: { value: "/a/b" } }, { path: { value: "/a" } }, "a longer prefix"],
    [{ method: "GET" as const }, {}, "a match with a method"],
    [{ headers: [header("x-a")] }, {}, "a match of more headers"],
    [{ queryParams: [header("q")] }, {}, "a match of more query parameters"],
    [{}, {}, "an earlier rule"],
  ] as const) {
    const decision = step(
      caller(
        ruled(
          { matches: [first], backendRefs },
          { matches: [later], backendRefs },
        ),
        { path: "/a/b?q=1", headers: { "x-a": "1" } },
      ),
      "route",
    );
    t.strictSame(passed(decision), [
      `orders.rules[1].matches[0]: matches too, but ${why} goes first`,
    ]);
  }
  const decision = step(
    caller([
      ...ORDERS,
      httpRoute("shop/old", { parentRefs, rules: [{ backendRefs }] }, born(1)),
      httpRoute("shop/new", { parentRefs, rules: [{ backendRefs }] }, born(2)),
    ]),
    "route",
  );
  t.strictSame(passed(decision), [
    "new.rules[0]: matches too, but an older route goes first",
  ]);
  t.end();
});

void t.test("routes that name the Service and do not act say why", (t) => {
  const rules = [{ backendRefs }];
  const far = (name: string): Resource =>
    httpRoute(name, {
      parentRefs: [{ kind: "Service", name: "orders", namespace: "shop" }],
      rules: [{ backendRefs: [{ ...backendRefs[0], namespace: "shop" }] }],
    } as Parameters<typeof httpRoute>[1]);
  const others = [
    service("shop/orders", {
      ports: [
        { name: "http", port: 80, targetPort: 8080 },
        { name: "more", port: 81, targetPort: 8081 },
      ],
    }),
    workload("shop/orders-1", "orders"),
    httpRoute("shop/acts", { parentRefs, rules }),
    httpRoute("shop/port", {
      parentRefs: [{ kind: "Service", name: "orders", port: 81 }],
      rules,
    }),
    far("elsewhere/route"),
  ];
  t.strictSame(passed(step(caller(others), "route")), [
    "route: it is of namespace elsewhere: only routes of the caller's namespace and of the Service's act",
    "port: it names another port",
  ]);
  const grpc = grpcRoute("shop/grpc", {
    parentRefs,
    rules: [{ backendRefs }],
  });
  t.match(
    passed(step(caller([...others, grpc], { method: "POST" }), "route")),
    [/route/, "acts: a GRPCRoute has the port, and a port takes one kind"],
  );
  t.end();
});

void t.test("a consumer's routes act in place of the producer's", (t) => {
  const resources = [
    service("far/orders"),
    workload("far/orders-1", "orders"),
    httpRoute("far/producer", { parentRefs, rules: [{ backendRefs }] }),
    httpRoute("shop/consumer", {
      parentRefs: [{ kind: "Service", name: "orders", namespace: "far" }],
      rules: [
        { backendRefs: [{ name: "orders", namespace: "far", port: 80 }] },
      ],
    }),
  ];
  const decision = step(caller(resources, { host: "orders.far" }), "route");
  t.match(decision.outcome, /shop\/consumer/);
  t.strictSame(passed(decision), [
    "producer: routes of the caller's namespace shop act in its place",
  ]);
  t.end();
});

void t.test(
  "shares are said, the largest is taken unless one is drawn",
  (t) => {
    const resources = [
      ...ruled({
        backendRefs: [
          { name: "orders", port: 80, weight: 1 },
          { name: "orders-b", port: 80, weight: 3 },
          { name: "orders", port: 80, weight: 0 },
        ],
      }),
      service("shop/orders-b", { selector: { app: "orders" } }),
    ];
    const { outcome, draws } = caller(resources);
    t.equal(outcome.backend, "orders-b.shop:80");
    t.strictSame(outcome.shares, {
      "orders.shop:80": 0.25,
      "orders-b.shop:80": 0.75,
    });
    t.strictSame(
      draws.map(
        (draw) => caller(resources, { draw: draw ?? 0 }).outcome.backend,
      ),
      ["orders-b.shop:80", "orders.shop:80"],
    );
    t.end();
  },
);

void t.test("defaults are said as such, and what is stated by whom", (t) => {
  const plain = caller(ORDERS);
  t.equal(
    step(plain, "time-outs").outcome,
    "request off, each try off (the default)",
  );
  t.equal(step(plain, "time-outs").source, undefined);
  t.match(step(plain, "balancing").outcome, /PEAK_EWMA.*\(the default\)/);
  const stated = caller([
    mesh({ defaults: { retry: { attempts: 2 } } }),
    ...ruled({ backendRefs, timeouts: { request: "2s" } }),
    trafficPolicy("shop/orders", {
      targetRefs: [{ kind: "Service", name: "orders" }],
      loadBalancer: { simple: "RANDOM" },
    }),
  ]);
  t.equal(step(stated, "time-outs").outcome, "request 2s, each try off");
  t.strictSame(step(stated, "time-outs").source, {
    resource: "HTTPRoute/shop/orders",
    field: "spec.rules[0].timeouts",
  });
  t.equal(step(stated, "retries").outcome, "2 at most");
  t.strictSame(step(stated, "retries").source, {
    resource: "Mesh/default",
    field: "spec.defaults.retry",
  });
  t.equal(step(stated, "balancing").outcome, "RANDOM among 1 endpoint");
  t.equal(
    step(stated, "balancing").source?.resource,
    "TrafficPolicy/shop/orders",
  );
  t.end();
});

void t.test(
  "each setting is said to be whose it is, block by block (trap 14)",
  (t) => {
    const targetRefs = [{ kind: "Service", name: "orders" }] as const;
    const ofPort = [{ ...targetRefs[0], sectionName: "http" }] as const;
    const answer = caller([
      mesh({
        defaults: {
          timeouts: { streamIdle: "1m" },
          retry: { on: ["connect-failure"] },
        },
      } as never),
      ...ORDERS,
      trafficPolicy("shop/whole", {
        targetRefs,
        // What equals a default is stated all the same.
        circuitBreaker: { errorThresholdPercent: 50 },
        outlierDetection: { interval: "1s" },
        connectionPool: { tcp: { connectTimeout: "3s" } },
        retryConstraint: { budget: { percent: 10 } },
      }),
      trafficPolicy("shop/port", {
        targetRefs: ofPort,
        loadBalancer: { simple: "RANDOM" },
      }),
    ]);
    const whole = "TrafficPolicy/shop/whole";
    t.match(step(answer, "balancing"), {
      outcome: /^RANDOM among 1 endpoint$/,
      source: { resource: "TrafficPolicy/shop/port" },
    });
    t.match(step(answer, "protection"), {
      outcome: /in 10s$/,
      source: {
        resource: whole,
        field: "spec.circuitBreaker",
      },
      details: [
        /^an endpoint is ejected .* \(the default\)$/,
        /^at most 1024 requests at once \(the default\)$/,
      ],
    });
    t.match(step(answer, "time-outs").details, [
      /^connecting 3s \(TrafficPolicy\/shop\/whole spec\.connectionPool\.tcp\.connectTimeout\)$/,
      /^a stream without data 1m \(Mesh\/default spec\.defaults\.timeouts\.streamIdle\)$/,
    ]);
    t.match(step(answer, "retries"), {
      outcome: /at most \(the default\)$/,
      details: [
        /^on connect-failure \(Mesh\/default spec\.defaults\.retry\.on\)$/,
        /./,
        /^within 10 % .* besides \(TrafficPolicy\/shop\/whole spec\.retryConstraint\)/,
      ],
    });
    t.end();
  },
);

void t.test("TLS with the outside is said, and whose it is", (t) => {
  const external: Resource = {
    ...service("shop/api"),
    spec: {
      location: "MESH_EXTERNAL",
      hosts: ["api.example.com"],
      ports: [{ port: 80, targetPort: 443, appProtocol: "http" }],
    },
  };
  const policy = trafficPolicy("shop/out", {
    targetRefs: [{ kind: "Service", name: "api" }],
    tls: { mode: "SIMPLE" },
  });
  const asked = { host: "api.example.com" };
  const answer = caller([mesh(), external, policy], asked);
  t.match(step(answer, "TLS"), {
    outcome: "SIMPLE: the server proves api.example.com",
    source: { resource: "TrafficPolicy/shop/out", field: "spec.tls" },
    details: ["trusted: the roots of this machine"],
  });
  t.match(step(answer, "balancing").details, [
    "api.example.com:443 over TLS: it has no sidecar",
  ]);
  const plain = caller([mesh(), external], asked);
  t.notOk(plain.decisions.some((each) => each.step === "TLS"));
  t.match(step(plain, "balancing").details, [
    /in plaintext: it has no sidecar/,
  ]);
  t.end();
});

void t.test("faults: certain, by chance, over, and for others", (t) => {
  const fault = (
    name: string,
    spec: Partial<FaultInjectionSpec>,
    day: number,
  ): Resource => ({
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "FaultInjection",
    metadata: { name, namespace: "shop", ...born(day) },
    spec: {
      targetRefs: [{ kind: "Service", name: "orders" }],
      expiresAt: "2026-03-01T13:00:00Z",
      ...spec,
    },
  });
  const abort = { httpStatus: 418, percentage: 100 };
  const resources = [
    ...ORDERS,
    fault("over", { abort, expiresAt: "2026-03-01T11:00:00Z" }, 1),
    fault("posts", { abort, matches: [{ method: "POST" }] }, 2),
    fault("some", { delay: { fixedDelay: "1s", percentage: 50 } }, 3),
  ];
  const perhaps = step(caller(resources), "fault");
  t.strictSame(passed(perhaps), [
    "over: it has expired",
    'posts: matches[0]: method is "GET", not POST',
  ]);
  t.strictSame(perhaps.details, ["50 % of the requests: each waits 1000 ms"]);
  const ended = caller(resources, { method: "POST" }).outcome;
  t.match(ended, {
    allowed: false,
    reason: "FAULT_INJECTED",
    by: "shop/posts",
    status: 418,
  });
  const slow = caller([
    ...ORDERS,
    fault("slow", { delay: { fixedDelay: "1s", percentage: 100 } }, 1),
  ]).outcome;
  t.match(slow, { allowed: true, retries: 0, timeouts: { request: 0 } });
  t.end();
});

void t.test("what has no route: tunnels, the outside, nobody there", (t) => {
  t.match(step(caller(BYTES, { tunnel: true }), "route").outcome, /tunnel/);
  t.match(caller(ORDERS, { tunnel: true }).outcome, {
    allowed: false,
    reason: "TUNNEL_REFUSED",
  });
  const outside = caller(ORDERS, { host: "example.com" });
  t.equal(outside.outcome.answeredBy, "outside");
  t.match(step(outside, "destination").details, [/ALLOW_ANY \(the default\)/]);
  t.match(caller([service("shop/orders")]).outcome, {
    allowed: false,
    reason: "NO_ENDPOINT",
  });
  t.match(caller(ORDERS, { path: "/a#b" }).outcome, { reason: "BAD_REQUEST" });
  t.match(
    caller(ruled({ backendRefs: [{ name: "nobody", port: 80 }] })).outcome,
    { reason: "BACKEND_INVALID", by: "shop/orders" },
  );
  t.match(
    caller(ruled({ matches: [{ path: { value: "/a" } }], backendRefs }))
      .outcome,
    { reason: "NO_ROUTE", shares: {} },
  );
  t.end();
});
