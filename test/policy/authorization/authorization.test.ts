import t from "tap";
import { MESH_DEFAULTS } from "../../../src/resources/mesh/schema.ts";
import { atOnce } from "../../../src/core/slices.ts";
import {
  compileAuthorization,
  type Verdict,
} from "../../../src/policy/authorization/authorization.ts";
import type { AuthorizationFacts } from "../../../src/policy/authorization/call.ts";
import type {
  AuthorizationPolicyResource,
  AuthorizationRule,
} from "../../../src/resources/authorization-policy/spec.ts";
import {
  authorizationPolicy,
  CONNECTION,
  headersOf,
} from "../../support/resources/policy-fixtures.ts";

const WORKLOAD = { namespace: "shop", labels: { app: "orders", tier: "back" } };
const WEB = "spiffe://cluster.local/ns/shop/sa/web";

interface Asked {
  peer?: string | undefined;
  port?: number;
  method?: string;
  host?: string;
  path?: string;
  tcp?: boolean;
  headers?: Readonly<Record<string, string>>;
  /** The caller's address. */
  source?: string;
}

function facts(asked: Asked = {}): AuthorizationFacts {
  return {
    peer: "peer" in asked ? asked.peer : WEB,
    port: asked.port ?? 8080,
    connection: {
      ...CONNECTION,
      ...(asked.source === undefined ? {} : { remoteAddress: asked.source }),
    },
    request:
      asked.tcp === true
        ? undefined
        : {
            method: asked.method ?? "GET",
            host: asked.host ?? "orders.shop",
            path: asked.path ?? "/",
            ...headersOf(asked.headers ?? {}),
          },
  };
}

function judge(
  policies: readonly AuthorizationPolicyResource[],
  asked: Asked = {},
  defaultAction: "ALLOW" | "DENY" = "ALLOW",
  trustedHops = 0,
): Verdict {
  return atOnce(
    compileAuthorization(policies, WORKLOAD, {
      authorization: { defaultAction },
      trustedHops,
    }),
  ).authorize(facts(asked));
}

const allow = (
  rules?: readonly AuthorizationRule[],
  name = "shop/allow",
): AuthorizationPolicyResource =>
  authorizationPolicy(name, rules === undefined ? {} : { rules });
const deny = (
  rules?: readonly AuthorizationRule[],
  name = "shop/deny",
): AuthorizationPolicyResource =>
  authorizationPolicy(name, {
    action: "DENY",
    ...(rules === undefined ? {} : { rules }),
  });

const ALLOWED: Verdict = { kind: "allow" };
const from = (source: object): AuthorizationRule => ({ from: [{ source }] });
const to = (operation: object): AuthorizationRule => ({ to: [{ operation }] });

void t.test("without a policy the mesh's default action decides", (t) => {
  t.strictSame(judge([]), ALLOWED);
  t.strictSame(judge([], {}, "DENY"), {
    kind: "deny",
    code: "NOT_ALLOWED",
    policy: "default",
  });
  t.end();
});

void t.test("trap 1: what an empty policy means", (t) => {
  const refused = { kind: "deny", code: "NOT_ALLOWED", policy: "shop/allow" };
  t.strictSame(
    judge([allow()]),
    refused,
    "{} is ALLOW without rules: deny all",
  );
  t.strictSame(judge([allow([{}])]), ALLOWED, "rules: [{}] allows all");
  t.strictSame(judge([deny()]), ALLOWED, "DENY without rules does nothing");
  t.strictSame(
    judge([deny([{}])]),
    { kind: "deny", code: "DENIED", policy: "shop/deny", rule: 0 },
    "DENY with rules: [{}] denies all",
  );
  t.end();
});

void t.test(
  "trap 2: the first ALLOW turns the default into deny, whatever the mesh says",
  (t) => {
    const policies = [allow([to({ methods: ["POST"] })])];
    t.strictSame(judge(policies, { method: "POST" }), ALLOWED);
    t.strictSame(judge(policies), {
      kind: "deny",
      code: "NOT_ALLOWED",
      policy: "shop/allow",
    });
    t.strictSame(judge(policies, { method: "POST" }, "DENY"), ALLOWED);
    t.end();
  },
);

void t.test(
  "DENY goes before ALLOW, and the verdict names policy and rule",
  (t) => {
    const policies = [
      allow([{}], "shop/a-allow"),
      deny(
        [to({ methods: ["PUT"] }), to({ paths: ["/admin*"] })],
        "shop/z-deny",
      ),
    ];
    t.strictSame(judge(policies, { path: "/admin/x" }), {
      kind: "deny",
      code: "DENIED",
      policy: "shop/z-deny",
      rule: 1,
    });
    t.strictSame(judge(policies, { path: "/x" }), ALLOWED);
    t.end();
  },
);

void t.test("trap 13: policies add up", (t) => {
  const policies = [
    allow([to({ methods: ["GET"] })], "shop/one"),
    allow([to({ methods: ["POST"] })], "shop/two"),
  ];
  t.strictSame(judge(policies, { method: "GET" }), ALLOWED);
  t.strictSame(judge(policies, { method: "POST" }), ALLOWED);
  t.match(judge(policies, { method: "PUT" }), { policy: "shop/one" });
  t.end();
});

/** In each row: the operation, the action, whether a TCP stream to port 8080 is let through. */
const TCP: readonly [object, "ALLOW" | "DENY", boolean][] = [
  [{ methods: ["GET"] }, "DENY", false],
  [{ notMethods: ["GET"] }, "DENY", false],
  [{ paths: ["/x"] }, "DENY", false],
  [{ hosts: ["x"] }, "DENY", false],
  [{ paths: ["/x"], ports: ["8080"] }, "DENY", false],
  [{ paths: ["/x"], ports: ["9090"] }, "DENY", true],
  [{ ports: ["8080"] }, "DENY", false],
  [{ methods: ["GET"] }, "ALLOW", false],
  [{ notMethods: ["GET"] }, "ALLOW", false],
  [{ paths: ["*"] }, "ALLOW", false],
  [{ notHosts: ["x"] }, "ALLOW", false],
  [{ paths: ["/x"], ports: ["8080"] }, "ALLOW", false],
  [{ ports: ["8080"] }, "ALLOW", true],
];

void t.test(
  "trap 3: on TCP what only HTTP has matches in DENY and never in ALLOW",
  (t) => {
    for (const [operation, action, through] of TCP) {
      const policy = authorizationPolicy("shop/tcp", {
        action,
        rules: [{ to: [{ operation }] }],
      });
      t.equal(
        judge([policy], { tcp: true }).kind === "allow",
        through,
        `${action} ${JSON.stringify(operation)}`,
      );
    }
    t.end();
  },
);

void t.test(
  "trap 3: a call without operation is judged by its source on TCP too",
  (t) => {
    const policies = [allow([from({ principals: [WEB.slice(9)] })])];
    t.strictSame(judge(policies, { tcp: true }), ALLOWED);
    t.equal(judge(policies, { tcp: true, peer: undefined }).kind, "deny");
    t.end();
  },
);

void t.test(
  "trap 4: a plaintext caller has no principal and no namespace, so no ALLOW by these takes it",
  (t) => {
    for (const source of [
      { principals: ["*"] },
      { principals: ["cluster.local/ns/shop/sa/web"] },
      { namespaces: ["shop"] },
      { namespaces: ["*"] },
    ]) {
      const policies = [allow([from(source)])];
      t.equal(judge(policies, { peer: undefined }).kind, "deny");
      t.equal(judge(policies).kind, "allow");
    }
    t.end();
  },
);

void t.test("trap 4: no header names a plaintext caller", (t) => {
  const headers = Object.fromEntries(
    [
      "x-forwarded-client-cert",
      "x-client-identity",
      "x-spiffe-id",
      "forwarded",
      "from",
    ].map((name) => [name, "spiffe://cluster.local/ns/shop/sa/web"]),
  );
  for (const source of [{ principals: ["*"] }, { namespaces: ["shop"] }]) {
    const policies = [allow([from(source)])];
    t.equal(judge(policies, { peer: undefined, headers }).kind, "deny");
  }
  t.end();
});

void t.test(
  "trap 4: a name that is no mesh identity gives neither principal nor namespace",
  (t) => {
    for (const peer of [
      "spiffe://cluster.local/ns/shop/sa/web/more",
      "spiffe://cluster.local/sa/web/ns/shop",
      "https://cluster.local/ns/shop/sa/web",
      "cluster.local/ns/shop/sa/web",
      "",
    ])
      for (const source of [{ principals: ["*"] }, { namespaces: ["shop"] }])
        t.equal(judge([allow([from(source)])], { peer }).kind, "deny", peer);
    t.end();
  },
);

/** Rule, call, whether the rule takes the call. */
const RULES: readonly [AuthorizationRule, Asked, boolean][] = [
  // Sources.
  [from({ principals: ["cluster.local/ns/shop/sa/web"] }), {}, true],
  [from({ principals: ["cluster.local/ns/shop/sa/we"] }), {}, false],
  [from({ principals: ["cluster.local/ns/shop/*"] }), {}, true],
  [from({ principals: ["*/sa/web"] }), {}, true],
  [from({ principals: ["other.domain/ns/shop/sa/web"] }), {}, false],
  [from({ namespaces: ["shop"] }), {}, true],
  [from({ namespaces: ["sho"] }), {}, false],
  [from({ namespaces: ["sh*"] }), {}, true],
  [from({ namespaces: ["shop"], notPrincipals: ["*/sa/web"] }), {}, false],
  [from({ notNamespaces: ["infra"] }), {}, true],
  [from({ notNamespaces: ["shop"] }), {}, false],
  [
    {
      from: [
        { source: { namespaces: ["x"] } },
        { source: { namespaces: ["shop"] } },
      ],
    },
    {},
    true,
  ],
  // Trap 5: a missing value matches a `not`.
  [from({ notPrincipals: ["*/sa/web"] }), { peer: undefined }, true],
  [from({ notNamespaces: ["shop"] }), { peer: undefined }, true],
  // Methods.
  [to({ methods: ["GET", "HEAD"] }), { method: "HEAD" }, true],
  [to({ methods: ["GET"] }), { method: "get" }, false],
  [to({ methods: ["*"] }), { method: "PURGE" }, true],
  [to({ notMethods: ["GET"] }), {}, false],
  [to({ notMethods: ["POST"] }), {}, true],
  // Trap 3: to policy gRPC is POST with the path of the method.
  [
    to({ methods: ["POST"], paths: ["/shop.Cart/Add"] }),
    { method: "POST", path: "/shop.Cart/Add" },
    true,
  ],
  // Hosts: no case, no port.
  [to({ hosts: ["Orders.SHOP"] }), {}, true],
  [to({ hosts: ["orders.shop:8080"] }), {}, true],
  [to({ hosts: ["orders.shop."] }), {}, true],
  [to({ hosts: ["*.SHOP."] }), {}, true],
  [to({ hosts: ["[0:0::1]"] }), { host: "[::1]" }, true],
  [to({ hosts: ["*.shop"] }), {}, true],
  [to({ hosts: ["orders.*"] }), {}, true],
  [to({ hosts: ["orders"] }), {}, false],
  [to({ notHosts: ["orders.shop"] }), {}, false],
  [to({ hosts: ["*"] }), { host: "" }, false],
  [to({ notHosts: ["*"] }), { host: "" }, true],
  // Ports of the workload.
  [to({ ports: ["8080"] }), {}, true],
  [to({ ports: ["80"] }), {}, false],
  [to({ notPorts: ["9090"] }), {}, true],
  [to({ notPorts: ["8080"] }), {}, false],
  // Paths: with case.
  [to({ paths: ["/a"] }), { path: "/a" }, true],
  [to({ paths: ["/a"] }), { path: "/A" }, false],
  [to({ paths: ["/a"] }), { path: "/a/" }, false],
  [to({ paths: ["/a*"] }), { path: "/abc/d" }, true],
  [to({ paths: ["*.html"] }), { path: "/x/y.html" }, true],
  [to({ paths: ["*.html"] }), { path: "/x/y.htm" }, false],
  [to({ paths: ["*"] }), { path: "/" }, true],
  [to({ paths: ["*"] }), { path: "" }, false],
  [to({ notPaths: ["/a*"] }), { path: "/b" }, true],
  [to({ notPaths: ["/a*"] }), { path: "/a" }, false],
  // Requests have the one form of host and of escapes (`path.ts`): patterns are brought to it.
  [to({ paths: ["/caf%C3%a9"] }), { path: "/caf%C3%A9" }, true],
  [to({ paths: ["/caf%c3%a9"] }), { path: "/caf%C3%A9" }, true],
  [to({ paths: ["/{*}/caf%c3%a9"] }), { path: "/a/caf%C3%A9" }, true],
  [to({ paths: ["/caf%c3%a9*"] }), { path: "/caf%C3%A9/x" }, true],
  // Templates.
  [to({ paths: ["/a/{*}/c"] }), { path: "/a/b/c" }, true],
  [to({ paths: ["/a/{*}/c"] }), { path: "/a/b/b/c" }, false],
  [to({ paths: ["/a/{*}/c"] }), { path: "/a//c" }, false],
  [to({ paths: ["/a/{*}"] }), { path: "/a/b" }, true],
  [to({ paths: ["/a/{*}"] }), { path: "/a/" }, false],
  [to({ paths: ["/a/{**}"] }), { path: "/a/b/c" }, true],
  [to({ paths: ["/a/{**}"] }), { path: "/a/" }, true],
  [to({ paths: ["/a/{**}"] }), { path: "/a" }, false],
  [to({ paths: ["/a/{**}"] }), { path: "/ab/c" }, false],
  [to({ paths: ["/a/{*}/{**}/z"] }), { path: "/a/b/c/d/z" }, true],
  [to({ paths: ["/a/{*}/{**}/z"] }), { path: "/a/b/z" }, false],
  [to({ paths: ["/{**}/z"] }), { path: "/a/b/z" }, true],
  [to({ paths: ["/{**}/z"] }), { path: "/a/b/y" }, false],
  // Lists together: all; operations: any; from and to: both.
  [to({ methods: ["GET"], paths: ["/a"] }), { path: "/b" }, false],
  [
    {
      to: [{ operation: { paths: ["/a"] } }, { operation: { paths: ["/b"] } }],
    },
    { path: "/b" },
    true,
  ],
  [
    { ...from({ namespaces: ["shop"] }), ...to({ paths: ["/a"] }) },
    { path: "/a" },
    true,
  ],
  [
    { ...from({ namespaces: ["infra"] }), ...to({ paths: ["/a"] }) },
    { path: "/a" },
    false,
  ],
];

void t.test(
  "trap 5: how values are compared, in ALLOW and in DENY alike",
  (t) => {
    for (const [rule, asked, takes] of RULES) {
      const name = `${JSON.stringify(rule)} ${JSON.stringify(asked)}`;
      t.equal(judge([allow([rule])], asked).kind === "allow", takes, name);
      t.equal(judge([deny([rule])], asked).kind === "deny", takes, name);
    }
    t.end();
  },
);

/** Namespace and selector of a policy, and whether it acts on shop/orders. */
const SCOPES: readonly [
  namespace: string,
  labels: Record<string, string> | undefined,
  applies: boolean,
][] = [
  ["shop", undefined, true],
  ["shop", { app: "orders" }, true],
  ["shop", { app: "orders", tier: "back" }, true],
  ["shop", { app: "orders", tier: "front" }, false],
  ["shop", { app: "web" }, false],
  ["infra", undefined, false],
  ["infra", { app: "orders" }, false],
  ["wherry-system", undefined, true],
  ["wherry-system", { app: "orders" }, true],
  ["wherry-system", { app: "web" }, false],
];

void t.test(
  "traps 16 and 17: a policy acts on the workloads of its namespace that carry its labels; from the root namespace on the mesh",
  (t) => {
    for (const [namespace, matchLabels, applies] of SCOPES) {
      const policy = authorizationPolicy(`${namespace}/p`, {
        action: "DENY",
        rules: [{}],
        ...(matchLabels === undefined ? {} : { selector: { matchLabels } }),
      });
      const authorizer = atOnce(
        compileAuthorization([policy], WORKLOAD, MESH_DEFAULTS),
      );
      const name = `${namespace} ${JSON.stringify(matchLabels)}`;
      t.equal(authorizer.authorize(facts()).kind === "deny", applies, name);
      t.strictSame(
        authorizer.policies,
        applies ? [`${namespace}/p`] : [],
        name,
      );
    }
    t.end();
  },
);

void t.test(
  "why policies do not apply is found out when somebody asks, once",
  (t) => {
    let named = 0;
    const policies = Array.from({ length: 100 }, (_, index) => {
      const policy = authorizationPolicy(`far/p${index}`, { rules: [{}] });
      return {
        ...policy,
        metadata: {
          ...policy.metadata,
          get name() {
            named += 1;
            return policy.metadata.name;
          },
        },
      };
    });
    const authorizer = atOnce(
      compileAuthorization(policies, WORKLOAD, MESH_DEFAULTS),
    );
    t.equal(authorizer.authorize(facts()).kind, "allow");
    t.equal(named, 0, "no text is made of those of another namespace");
    for (let count = 0; count < 3; count += 1)
      t.equal(authorizer.explain(facts()).passedOver.length, 100);
    t.equal(named, 100);
    t.end();
  },
);
