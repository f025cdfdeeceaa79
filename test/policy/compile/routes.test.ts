import t from "tap";
import {
  type RouteDecision,
  type Snapshot,
} from "../../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type {
  HTTPRouteRule,
  ParentRef,
} from "../../../src/resources/http-route/spec.ts";
import {
  born,
  httpRoute,
  mesh,
  request,
  self,
  service,
  trafficPolicy,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";

const V1: HTTPRouteRule = { backendRefs: [{ name: "v1", port: 80 }] };
const V2: HTTPRouteRule = { backendRefs: [{ name: "v2", port: 80 }] };
const SERVICES = [
  service("shop/orders", {
    ports: [
      { name: "http", port: 80 },
      { name: "admin", port: 81 },
    ],
  }),
  service("shop/v1"),
  service("shop/v2"),
];

function route(
  name: string,
  rules: readonly HTTPRouteRule[],
  parent: Partial<ParentRef> = {},
  more = {},
): Resource {
  return httpRoute(
    name,
    { parentRefs: [{ kind: "Service", name: "orders", ...parent }], rules },
    more,
  );
}

function compile(resources: readonly Resource[], namespace = "shop"): Snapshot {
  return compileSnapshot(
    [...SERVICES, ...resources],
    self({ namespace }),
    VERSION,
  );
}

function decide(
  snapshot: Snapshot,
  path = "/",
  random = 0,
  port = 80,
): RouteDecision | undefined {
  return snapshot
    .destination("orders.shop", port)
    ?.route(request(path), random);
}

/** The key of the cluster, the code of the refusal, or what else the route does. */
function where(decision: RouteDecision | undefined): string | undefined {
  if (decision?.kind === "forward") return decision.cluster.key;
  return decision?.kind === "refuse" ? decision.code : decision?.kind;
}

void t.test(
  "trap 10: without any route a request goes to the Service itself",
  (t) => {
    t.match(decide(compile([])), {
      kind: "forward",
      rule: { route: "", rule: 0, match: 0 },
      cluster: { key: "orders.shop:80" },
      requestFilters: undefined,
      timeouts: { request: 0, backendRequest: 0 },
      retry: { attempts: 1 },
    });
    t.end();
  },
);

void t.test("trap 10: where there are routes and no rule matches: 404", (t) => {
  const snapshot = compile([
    route("shop/r", [{ ...V1, matches: [{ path: { value: "/a" } }] }]),
  ]);
  t.equal(where(decide(snapshot, "/a")), "v1.shop:80");
  t.strictSame(decide(snapshot, "/b"), { kind: "refuse", code: "NO_ROUTE" });
  t.end();
});

void t.test(
  "trap 10: a backend that is not there takes its share as 500",
  (t) => {
    const snapshot = compile([
      route("shop/r", [
        {
          backendRefs: [
            { name: "v1", port: 80, weight: 70 },
            { name: "nobody", port: 80, weight: 20 },
            { name: "v2", port: 99, weight: 10 },
          ],
        },
      ]),
    ]);
    t.equal(where(decide(snapshot, "/", 0.69)), "v1.shop:80");
    t.strictSame(decide(snapshot, "/", 0.71), {
      kind: "refuse",
      code: "BACKEND_INVALID",
      rule: { route: "shop/r", rule: 0, match: 0 },
      cors: undefined,
    });
    t.equal(where(decide(snapshot, "/", 0.95)), "BACKEND_INVALID");
    t.match(snapshot.warnings, [/nobody\.shop:80/, /v2\.shop:99/]);
    t.end();
  },
);

/** Rules that lead nowhere. */
const NOWHERE: readonly [string, HTTPRouteRule][] = [
  ["weight 0 of all", { backendRefs: [{ name: "v1", port: 80, weight: 0 }] }],
  ["no backendRefs", {}],
];

void t.test("trap 10: a rule that leads nowhere answers 500", (t) => {
  for (const [why, rule] of NOWHERE)
    t.equal(
      where(decide(compile([route("shop/r", [rule])]))),
      "BACKEND_INVALID",
      why,
    );
  t.end();
});

void t.test("trap 10: no endpoint is not the route's concern", (t) => {
  const decision = decide(compile([route("shop/r", [V1])]));
  t.match(decision, { kind: "forward", cluster: { endpoints: [] } });
  t.end();
});

void t.test("trap 9: a producer's route acts for every caller", (t) => {
  const producer = route("shop/producer", [V1]);
  t.equal(where(decide(compile([producer]))), "v1.shop:80");
  t.equal(where(decide(compile([producer], "infra"))), "v1.shop:80");
  t.end();
});

void t.test(
  "trap 9: a consumer's route acts for callers of its namespace only, and instead of the producer's",
  (t) => {
    const resources = [
      route("shop/producer", [
        V1,
        { ...V1, matches: [{ path: { type: "Exact", value: "/exact" } }] },
      ]),
      route(
        "infra/consumer",
        [
          {
            matches: [{ path: { value: "/a" } }],
            backendRefs: [{ name: "v2", namespace: "shop", port: 80 }],
          },
        ],
        { namespace: "shop" },
      ),
    ];
    const consumer = compile(resources, "infra");
    t.equal(where(decide(consumer, "/a")), "v2.shop:80");
    t.equal(where(decide(consumer, "/exact")), "NO_ROUTE", "no merging");
    t.equal(where(decide(compile(resources), "/a")), "v1.shop:80");
    t.equal(where(decide(compile(resources, "third"), "/a")), "v1.shop:80");
    t.end();
  },
);

void t.test("trap 9: routes of one group merge", (t) => {
  const snapshot = compile([
    route("shop/a", [V1], {}, born(1)),
    route(
      "shop/b",
      [{ ...V2, matches: [{ path: { value: "/b" } }] }],
      {},
      born(2),
    ),
    route("shop/c", [V2], {}, born(3)),
  ]);
  t.equal(where(decide(snapshot, "/")), "v1.shop:80", "the older");
  t.equal(where(decide(snapshot, "/b")), "v2.shop:80");
  t.end();
});

/** Parent, and whether it binds port 80 and port 81. */
const PARENTS: readonly [Partial<ParentRef>, boolean, boolean][] = [
  [{}, true, true],
  [{ port: 80 }, true, false],
  [{ port: 81 }, false, true],
  [{ port: 82 }, false, false],
  [{ sectionName: "admin" }, false, true],
  [{ port: 80, sectionName: "admin" }, false, false],
  [{ group: "" }, true, true],
  [{ group: "mesh.wherry.dev" }, true, true],
  [{ namespace: "infra" }, false, false],
];

void t.test(
  "trap 9: a parent with a port binds that port, without one all",
  (t) => {
    for (const [parent, ...binds] of PARENTS) {
      const snapshot = compile([route("shop/r", [V1], parent)]);
      for (const [index, port] of [80, 81].entries())
        t.equal(
          where(decide(snapshot, "/", 0, port)) === "v1.shop:80",
          binds[index],
          `${JSON.stringify(parent)} port ${port}`,
        );
    }
    t.end();
  },
);

void t.test(
  "trap 9: a consumer's route for one port leaves the others to the producer",
  (t) => {
    const snapshot = compile(
      [
        route("shop/producer", [V1]),
        route(
          "infra/consumer",
          [{ backendRefs: [{ name: "v2", namespace: "shop", port: 80 }] }],
          { namespace: "shop", port: 80 },
        ),
      ],
      "infra",
    );
    t.equal(where(decide(snapshot, "/", 0, 80)), "v2.shop:80");
    t.equal(where(decide(snapshot, "/", 0, 81)), "v1.shop:80");
    t.end();
  },
);

void t.test("trap 9: a backend's own routes are not run", (t) => {
  const snapshot = compile([
    route("shop/r", [V1]),
    httpRoute("shop/v1-route", {
      parentRefs: [{ kind: "Service", name: "v1" }],
      rules: [V2],
    }),
  ]);
  t.equal(where(decide(snapshot)), "v1.shop:80");
  t.equal(
    where(snapshot.destination("v1", 80)?.route(request("/"), 0)),
    "v2.shop:80",
  );
  t.end();
});

void t.test(
  "trap 9: the TrafficPolicy that applies is that of the chosen backend",
  (t) => {
    const of = (name: string): Resource =>
      trafficPolicy(`shop/${name}`, {
        targetRefs: [{ kind: "Service", name }],
      });
    const policies = [of("orders"), of("v2")];
    for (const [rule, policy] of [
      [V1, undefined],
      [V2, "shop/v2"],
    ] as const)
      t.match(decide(compile([route("shop/r", [rule]), ...policies])), {
        kind: "forward",
        cluster: { policy },
      });
    t.end();
  },
);

void t.test(
  "trap 9: a backend that is not exported to the caller may not be used",
  (t) => {
    const resources = [
      service("shop/private", { exportTo: ["."] }),
      route("shop/r", [{ backendRefs: [{ name: "private", port: 80 }] }]),
    ];
    t.equal(where(decide(compile(resources))), "private.shop:80");
    t.equal(where(decide(compile(resources, "infra"))), "BACKEND_INVALID");
    t.end();
  },
);

void t.test("a route that two parents bind to one port acts once", (t) => {
  const parent = { kind: "Service" as const, name: "orders" };
  const snapshot = compile([
    httpRoute("shop/r", {
      parentRefs: [parent, { ...parent, port: 80 }],
      rules: [V1],
    }),
  ]);
  t.equal(where(decide(snapshot)), "v1.shop:80");
  t.end();
});

void t.test(
  "a rule's filters, time-outs and retry come with the decision",
  (t) => {
    const snapshot = compileSnapshot(
      [
        ...SERVICES,
        mesh({
          defaults: { timeouts: { request: "9s" }, retry: { attempts: 2 } },
        }),
        route("shop/r", [
          {
            ...V1,
            matches: [{ path: { value: "/a" } }, { path: { value: "/b" } }],
            filters: [
              {
                type: "RequestHeaderModifier",
                requestHeaderModifier: {
                  set: [{ name: "X-Canary", value: "1" }],
                },
              },
              {
                type: "ResponseHeaderModifier",
                responseHeaderModifier: { remove: ["server"] },
              },
            ],
            timeouts: { request: "2s", backendRequest: "800ms" },
            retry: { codes: [503], attempts: 3, backoff: "50ms" },
          },
          V2,
        ]),
      ],
      self(),
      VERSION,
    );
    t.match(decide(snapshot, "/b"), {
      rule: { route: "shop/r", rule: 0, match: 1 },
      requestFilters: { set: [{ name: "x-canary", value: "1" }] },
      responseFilters: { remove: new Set(["server"]) },
      timeouts: { request: 2000, backendRequest: 800 },
      retry: {
        attempts: 3,
        codes: new Set([503]),
        backoff: { minimum: 50, base: 25, max: 250 },
      },
    });
    t.match(decide(snapshot, "/c"), {
      timeouts: { request: 9000, backendRequest: 0 },
      retry: { attempts: 2, codes: new Set() },
    });
    t.end();
  },
);

void t.test("a route on an opaque port does nothing, and says so", (t) => {
  const snapshot = compile([
    service("shop/db", { ports: [{ port: 5432, appProtocol: "tcp" }] }),
    httpRoute("shop/r", {
      parentRefs: [{ kind: "Service", name: "db" }],
      rules: [V1],
    }),
  ]);
  t.equal(
    where(snapshot.destination("db", 5432)?.route(request("/"), 0)),
    "db.shop:5432",
  );
  t.match(snapshot.warnings, [
    /HTTPRoute shop\/r does nothing on db\.shop:5432/,
  ]);
  t.end();
});
