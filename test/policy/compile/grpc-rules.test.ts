/** GRPCRoutes compiled: which call meets which rule, by GRPCRouteRule's order of precedence, and what takes the port (trap 9). */
import fc from "fast-check";
import t from "tap";
import {
  type RouteDecision,
  type Snapshot,
} from "../../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type {
  GRPCMethodMatch,
  GRPCRouteMatch,
  GRPCRouteRule,
} from "../../../src/resources/grpc-route/spec.ts";
import {
  born,
  grpcRoute,
  httpRoute,
  request,
  self,
  service,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";

const SERVICES = [
  service("shop/cart", {
    ports: [
      { name: "grpc", port: 90, appProtocol: "grpc" },
      { name: "web", port: 80 },
    ],
  }),
  service("shop/v1", { ports: [{ port: 90, appProtocol: "grpc" }] }),
  service("shop/v2", { ports: [{ port: 90, appProtocol: "grpc" }] }),
];
const V1: GRPCRouteRule = { backendRefs: [{ name: "v1", port: 90 }] };
const parentRefs = [{ kind: "Service" as const, name: "cart" }];

function compile(resources: readonly Resource[], namespace = "shop"): Snapshot {
  return compileSnapshot(
    [...SERVICES, ...resources],
    self({ namespace }),
    VERSION,
  );
}

function decide(
  snapshot: Snapshot,
  path: string,
  over: Parameters<typeof request>[1] = {},
  port = 90,
): RouteDecision | undefined {
  return snapshot
    .destination("cart.shop", port)
    ?.route(request(path, { method: "POST", ...over }), 0);
}

function where(decision: RouteDecision | undefined): string | undefined {
  if (decision?.kind === "forward") return decision.cluster.key;
  return decision?.kind === "refuse" ? decision.code : decision?.kind;
}

const exact = (service?: string, method?: string): GRPCMethodMatch => ({
  ...(service === undefined ? {} : { service }),
  ...(method === undefined ? {} : { method }),
});

/** What a rule matches, and calls that it does and does not take. */
const MATCHES: readonly (readonly [
  GRPCRouteMatch | undefined,
  readonly string[],
  readonly string[],
])[] = [
  [undefined, ["/a.B/C", "/x/y"], []],
  [{}, ["/a.B/C"], []],
  [
    { method: exact("a.B", "C") },
    ["/a.B/C"],
    ["/a.B/c", "/a.B/D", "/b.B/C", "/a.B/C/D"],
  ],
  [{ method: exact("a.B") }, ["/a.B/C", "/a.B/D"], ["/a.BB/C", "/a.b/C"]],
  [
    { method: exact(undefined, "C") },
    ["/a.B/C", "/x/C"],
    ["/a.B/CC", "/a.B/x/C"],
  ],
  [
    { method: { type: "RegularExpression", service: "a\\..*" } },
    ["/a.B/C", "/a.X/y"],
    ["/b.B/C", "/a/C"],
  ],
  [
    { method: { type: "RegularExpression", service: "a|b", method: "C|D" } },
    ["/a/C", "/b/D"],
    ["/a/E", "/c/C", "/a"],
  ],
  [
    { method: exact("a.B"), headers: [{ name: "x-user", value: "qa" }] },
    [],
    ["/a.B/C"],
  ],
];

void t.test("a match of a method takes the calls of it", (t) => {
  for (const [match, takes, leaves] of MATCHES) {
    const snapshot = compile([
      grpcRoute("shop/r", {
        parentRefs,
        rules: [
          { ...V1, ...(match === undefined ? {} : { matches: [match] }) },
        ],
      }),
    ]);
    for (const path of takes)
      t.equal(
        where(decide(snapshot, path)),
        "v1.shop:90",
        `${JSON.stringify(match)} ${path}`,
      );
    for (const path of leaves)
      t.equal(
        where(decide(snapshot, path)),
        "NO_ROUTE",
        `${JSON.stringify(match)} ${path}`,
      );
  }
  t.end();
});

void t.test("a call is a POST", (t) => {
  const snapshot = compile([grpcRoute("shop/r", { parentRefs, rules: [V1] })]);
  t.equal(where(decide(snapshot, "/a.B/C", { method: "GET" })), "NO_ROUTE");
  t.end();
});

// ── precedence ─────────────────────────────────────────────────────────────────────────────────────────────────────

const METHODS: readonly (GRPCMethodMatch | undefined)[] = [
  undefined,
  exact("a"),
  exact("a.b"),
  exact("a", "C"),
  exact("a.b", "C"),
  exact(undefined, "C"),
  exact(undefined, "CC"),
  { type: "RegularExpression", service: "a.*" },
  { type: "RegularExpression", service: "a|a\\.b" },
  { type: "RegularExpression", service: "a.*", method: "C.*" },
  { type: "RegularExpression", method: "C|CC" },
];

interface Candidate {
  readonly match: GRPCRouteMatch;
  readonly age: number;
  readonly name: string;
  readonly rule: number;
  readonly index: number;
}

/** "Characters in a matching service, then method, then header matches"; what is named in full goes before expressions, as in HTTPRoute. */
function order({
  match,
  age,
  name,
  rule,
  index,
}: Candidate): (number | string)[] {
  const { type = "Exact", service = "", method = "" } = match.method ?? {};
  const full = service !== "" && type === "Exact";
  return [
    full ? 0 : 1,
    -service.length,
    -method.length,
    -(match.headers?.length ?? 0),
    age,
    name,
    rule,
    index,
  ];
}

function takes(
  { method, headers }: GRPCRouteMatch,
  path: string,
  header: string,
): boolean {
  const [, service = "", name = ""] = path.split("/");
  const meets = (wanted: string | undefined, actual: string): boolean =>
    wanted === undefined ||
    (method?.type === "RegularExpression"
      ? new RegExp(`^(?:${wanted})$`).test(actual)
      : wanted === actual);
  return (
    meets(method?.service, service) &&
    meets(method?.method, name) &&
    (headers ?? []).every(({ value }) => value === header)
  );
}

const match: fc.Arbitrary<GRPCRouteMatch> = fc
  .record({
    method: fc.constantFrom(...METHODS),
    headers: fc.constantFrom(undefined, undefined, "0", "1"),
  })
  .map(({ method, headers }) => ({
    ...(method === undefined ? {} : { method }),
    ...(headers === undefined
      ? {}
      : { headers: [{ name: "x", value: headers }] }),
  }));
const routes = fc.array(
  fc.record({
    age: fc.integer({ min: 1, max: 2 }),
    rules: fc.array(fc.array(match, { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 3,
    }),
  }),
  { minLength: 1, maxLength: 3 },
);

void t.test(
  "1,000 random sets of GRPCRoutes go where a brute-force reading of Gateway API sends them",
  (t) => {
    fc.assert(
      fc.property(routes, (set) => {
        const candidates = set.flatMap(({ age, rules }, route) =>
          rules.flatMap((matches, rule) =>
            matches.map((each, index): Candidate => ({
              match: each,
              age,
              name: `shop/${"zyx"[route] ?? ""}`,
              rule,
              index,
            })),
          ),
        );
        const snapshot = compile(
          set.map(({ age, rules }, route) =>
            grpcRoute(
              `shop/${"zyx"[route] ?? ""}`,
              {
                parentRefs,
                rules: rules.map((matches) => ({ ...V1, matches })),
              },
              born(age),
            ),
          ),
        );
        for (const path of [
          "/a/C",
          "/a.b/C",
          "/a/CC",
          "/a.b/D",
          "/z/C",
          "/z/z",
        ])
          for (const header of ["0", "1"]) {
            const [best] = candidates
              .filter((each) => takes(each.match, path, header))
              .sort((left, right) => {
                const theirs = order(right);
                for (const [at, mine] of order(left).entries()) {
                  const other = theirs[at] ?? 0;
                  if (mine !== other) return mine < other ? -1 : 1;
                }
                return 0;
              });
            const found = decide(snapshot, path, { headers: { x: header } });
            const rule = found?.kind === "forward" ? found.rule : undefined;
            const expected =
              best === undefined
                ? undefined
                : { route: best.name, rule: best.rule, match: best.index };
            if (JSON.stringify(rule) !== JSON.stringify(expected))
              throw new Error(
                `${path} ${header}: ${JSON.stringify(rule)}, not ${JSON.stringify(expected)}`,
              );
          }
      }),
      { numRuns: 1000, seed: 20_261_125 },
    );
    t.end();
  },
);

// ── one kind a port ────────────────────────────────────────────────────────────────────────────────────────────────

void t.test(
  "trap 9: the GRPCRoute has the port, however old the HTTPRoute is; other ports keep theirs",
  (t) => {
    const snapshot = compile([
      httpRoute(
        "shop/http",
        { parentRefs, rules: [{ backendRefs: [{ name: "v2", port: 90 }] }] },
        born(1),
      ),
      grpcRoute(
        "shop/grpc",
        {
          parentRefs: [
            { ...parentRefs[0], kind: "Service", name: "cart", port: 90 },
          ],
          rules: [V1],
        },
        born(2),
      ),
    ]);
    t.equal(where(decide(snapshot, "/a/B")), "v1.shop:90");
    t.equal(where(decide(snapshot, "/a", { method: "GET" }, 80)), "v2.shop:90");
    t.match(snapshot.warnings, [
      /HTTPRoute shop\/http is not in force on cart\.shop:90: GRPCRoute shop\/grpc has the port/,
    ]);
    t.end();
  },
);

void t.test(
  "trap 9: a consumer's HTTPRoute acts instead of the producer's GRPCRoute",
  (t) => {
    const resources = [
      grpcRoute("shop/grpc", { parentRefs, rules: [V1] }),
      httpRoute("infra/http", {
        parentRefs: [{ kind: "Service", namespace: "shop", name: "cart" }],
        rules: [{ backendRefs: [{ name: "v2", namespace: "shop", port: 90 }] }],
      }),
    ];
    t.equal(where(decide(compile(resources, "infra"), "/a/B")), "v2.shop:90");
    t.equal(where(decide(compile(resources), "/a/B")), "v1.shop:90");
    t.end();
  },
);

void t.test("trap 10: an invalid backend, and no backend", (t) => {
  for (const rule of [{}, { backendRefs: [{ name: "gone", port: 90 }] }])
    t.equal(
      where(
        decide(
          compile([grpcRoute("shop/r", { parentRefs, rules: [rule] })]),
          "/a/B",
        ),
      ),
      "BACKEND_INVALID",
    );
  t.end();
});
