/** Policies for Services at the sidecar: which ports of the workload they guard, and by whatever name these are called. */
import t from "tap";
import type { SpiffeUri } from "../../../src/core/units.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { InboundPort } from "../../../src/policy/snapshot.ts";
import type { AuthorizationPolicySpec } from "../../../src/resources/authorization-policy/spec.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  authorizationPolicy,
  mesh,
  self,
  service,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";

const OWN = self({
  name: "orders-1",
  labels: { app: "orders" },
  ports: { http: 8080, admin: 9090 },
});
const WEB: SpiffeUri = "spiffe://cluster.local/ns/shop/sa/web";

/** Two names of port 8080, one of port 9090, and a Service of other workloads. */
const SERVICES = [
  service("shop/orders"),
  service("shop/baskets", { selector: { app: "orders" } }),
  service("shop/admin", {
    selector: { app: "orders" },
    ports: [{ name: "admin", port: 80, targetPort: 9090 }],
  }),
  service("shop/other"),
];

/** How the workload may be called: by a name over the link, or at a port. */
const WAYS = ["orders", "baskets", "admin", ":8080", ":9090"] as const;
type Way = (typeof WAYS)[number];

const to = (
  ...names: string[]
): Pick<AuthorizationPolicySpec, "targetRefs"> => ({
  targetRefs: names.map((name) => ({ kind: "Service", name })),
});
const BY_WEB = {
  rules: [
    { from: [{ source: { principals: ["cluster.local/ns/shop/sa/web"] } }] },
  ],
};
const BY_ADMIN = {
  rules: [
    { from: [{ source: { principals: ["cluster.local/ns/shop/sa/admin"] } }] },
  ],
};
const DENY = { action: "DENY" as const, ...BY_WEB };

function portBy(way: Way, policies: readonly Resource[]): InboundPort {
  const { inbound } = compileSnapshot(
    [mesh({}), ...SERVICES, ...policies],
    OWN,
    VERSION,
  );
  const port = way.startsWith(":")
    ? inbound.byPort(Number(way.slice(1)))
    : inbound.resolve(`${way}.shop:80`);
  if (port === undefined) throw new Error(`no port by ${way}`);
  return port;
}

function facts(port: InboundPort): Parameters<InboundPort["authorize"]>[0] {
  return {
    peer: WEB,
    port: port.targetPort,
    connection: { remoteAddress: "10.0.0.9", localAddress: "10.0.0.1" },
    request: {
      method: "GET",
      host: "h",
      path: "/",
      header: () => undefined,
      lines: () => undefined,
    },
  };
}

/** What a policy says, and the ways in which web's calls are refused by it. */
const TABLE: readonly (readonly [
  title: string,
  name: string,
  spec: AuthorizationPolicySpec,
  refused: readonly Way[],
])[] = [
  [
    "a DENY for a Service cannot be got round by another name of the port",
    "shop/p",
    { ...to("orders"), ...DENY },
    ["orders", "baskets", ":8080"],
  ],
  [
    "and guards no other port",
    "shop/p",
    { ...to("admin"), ...DENY },
    ["admin", ":9090"],
  ],
  [
    "several Services",
    "shop/p",
    { ...to("other", "orders", "admin"), ...DENY },
    WAYS,
  ],
  ["a Service of other workloads", "shop/p", { ...to("other"), ...DENY }, []],
  ["a Service that is not there", "shop/p", { ...to("gone"), ...DENY }, []],
  ["another namespace's", "far/p", { ...to("orders"), ...DENY }, []],
  [
    "the root namespace's own",
    "wherry-system/p",
    { ...to("orders"), ...DENY },
    [],
  ],
  [
    "an ALLOW closes the port for all whom it does not list",
    "shop/p",
    { ...to("orders"), ...BY_ADMIN },
    ["orders", "baskets", ":8080"],
  ],
  ["and lets in whom it lists", "shop/p", { ...to("orders"), ...BY_WEB }, []],
  [
    "an ALLOW without rules",
    "shop/p",
    to("baskets"),
    ["orders", "baskets", ":8080"],
  ],
  ["an ALLOW for a Service that is not there", "shop/p", to("gone"), []],
];

for (const [title, name, spec, refused] of TABLE)
  void t.test(title, (t) => {
    const policy = authorizationPolicy(name, spec);
    t.strictSame(
      WAYS.filter((way) => {
        const port = portBy(way, [policy]);
        const verdict = port.authorize(facts(port));
        const trace = port.explain(facts(port));
        t.strictSame(trace.verdict, verdict, "explain agrees");
        t.equal(
          trace.passedOver.some((each) => each.policy === name),
          !refused.includes(way) && trace.considered.length === 0,
          `${way}: a policy that is not for the port is passed over`,
        );
        return verdict.kind === "deny";
      }),
      refused,
    );
    t.end();
  });

void t.test(
  "a name is of the policy's own namespace, also where a policy here names it too",
  (t) => {
    const own = authorizationPolicy("shop/own", {
      ...{ ...to("orders"), action: "AUDIT" as const, rules: [{}] },
    });
    for (const name of ["far/p", "wherry-system/p"]) {
      const port = portBy("orders", [
        own,
        authorizationPolicy(name, { ...to("orders"), ...DENY }),
      ]);
      t.equal(port.authorize(facts(port)).kind, "allow", name);
      t.equal(port.shadow?.judge(facts(port), { kind: "allow" }).length, 1);
    }
    t.end();
  },
);

void t.test("why a policy is passed over", (t) => {
  const why = (policy: Resource): string | undefined => {
    const port = portBy("orders", [policy]);
    return port.explain(facts(port)).passedOver[0]?.why;
  };
  t.match(
    why(authorizationPolicy("shop/p", to("admin"))),
    /it is for Service shop\/admin, which does not lead to this port/,
  );
  t.match(
    why(authorizationPolicy("wherry-system/p", to("orders", "admin"))),
    /Service wherry-system\/orders, Service wherry-system\/admin, which do not lead/,
  );
  t.end();
});

void t.test("tokens, providers, and what is only tried, by port", (t) => {
  const tokens: Resource = {
    apiVersion: "security.istio.io/v1",
    kind: "RequestAuthentication",
    metadata: { name: "idp", namespace: "shop" },
    spec: { ...to("orders"), jwtRules: [{ issuer: "https://idp.example" }] },
  };
  const policies = [
    tokens,
    authorizationPolicy("shop/asks", {
      ...to("orders"),
      action: "CUSTOM",
      provider: { name: "opa" },
      rules: [{}],
    }),
    authorizationPolicy(
      "shop/tried",
      { ...to("orders"), ...DENY },
      { annotations: { "istio.io/dry-run": "true" } },
    ),
  ];
  for (const way of WAYS) {
    const port = portBy(way, policies);
    const expected = port.targetPort === 8080;
    t.equal(port.tokens !== undefined, expected, `${way}: tokens`);
    t.equal(
      port.custom?.matches(facts(port)).length ?? 0,
      Number(expected),
      `${way}: a provider`,
    );
    t.equal(
      port.shadow?.judge(facts(port), { kind: "allow" }).length ?? 0,
      Number(expected),
      `${way}: a trial`,
    );
  }
  t.end();
});

void t.test(
  "the Service's selector decides, and its change changes the guard",
  (t) => {
    const policies = [
      authorizationPolicy("shop/p", { ...to("orders"), ...DENY }),
    ];
    const verdictOf = (app: string): string => {
      const { inbound } = compileSnapshot(
        [
          mesh({}),
          service("shop/orders", { selector: { app } }),
          service("shop/baskets", { selector: { app: "orders" } }),
          ...policies,
        ],
        OWN,
        VERSION,
      );
      const port = inbound.resolve("baskets.shop:80");
      return port === undefined ? "no port" : port.authorize(facts(port)).kind;
    };
    t.equal(verdictOf("orders"), "deny");
    t.equal(verdictOf("others"), "allow");
    t.end();
  },
);
