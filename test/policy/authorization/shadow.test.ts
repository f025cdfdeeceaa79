/** What policies would do that change no verdict: each row is a set of policies, a call, its verdict, and what is found. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { compileAuthorization } from "../../../src/policy/authorization/authorization.ts";
import type { AuthorizationFacts } from "../../../src/policy/authorization/call.ts";
import { compileShadow } from "../../../src/policy/authorization/shadow.ts";
import type {
  AuthorizationPolicyResource,
  AuthorizationRule,
} from "../../../src/resources/authorization-policy/spec.ts";
import {
  authorizationPolicy,
  CONNECTION,
} from "../../support/resources/policy-fixtures.ts";

const WORKLOAD = { namespace: "shop", labels: { app: "orders" } };

type Action = "ALLOW" | "DENY" | "AUDIT";

const method = (...methods: string[]): AuthorizationRule => ({
  to: [{ operation: { methods } }],
});
const path = (...paths: string[]): AuthorizationRule => ({
  to: [{ operation: { paths } }],
});

function policy(
  name: string,
  action: Action,
  rules: readonly AuthorizationRule[] | undefined,
  dryRun = false,
): AuthorizationPolicyResource {
  return authorizationPolicy(
    name.includes("/") ? name : `shop/${name}`,
    { action, ...(rules === undefined ? {} : { rules }) },
    dryRun ? { annotations: { "istio.io/dry-run": "true" } } : {},
  );
}

const tried = (
  name: string,
  action: Action,
  rules?: readonly AuthorizationRule[],
): AuthorizationPolicyResource => policy(name, action, rules, true);

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly tcp?: true;
  readonly defaultAction?: "DENY";
}

/** The verdict, then "POLICY[RULE] EFFECT" of each finding. */
type Row = readonly [
  title: string,
  policies: readonly AuthorizationPolicyResource[],
  asked: Asked,
  ...expected: string[],
];

const GET_ONLY = [method("GET")];
const ALL: readonly AuthorizationRule[] = [{}];

const TABLE: readonly Row[] = [
  // Istio: a dry-run ALLOW by itself refuses nothing, and would refuse what it does not list.
  ["an ALLOW on trial, listed", [tried("a", "ALLOW", GET_ONLY)], {}, "allow"],
  [
    "an ALLOW on trial, not listed",
    [tried("a", "ALLOW", GET_ONLY)],
    { method: "POST" },
    ...["allow", "shop/a refused"],
  ],
  [
    "an ALLOW on trial without rules would close the workload (trap 1)",
    [tried("a", "ALLOW")],
    {},
    ...["allow", "shop/a refused"],
  ],
  // Istio: a dry-run DENY by itself.
  [
    "a DENY on trial that matches",
    [tried("d", "DENY", [method("PUT"), path("/admin*")])],
    { path: "/admin/x" },
    ...["allow", "shop/d[1] refused"],
  ],
  [
    "a DENY on trial, no match",
    [tried("d", "DENY", GET_ONLY)],
    { method: "POST" },
    "allow",
  ],
  ["a DENY on trial without rules", [tried("d", "DENY")], {}, "allow"],
  // Istio: both are evaluated apart.
  [
    "ALLOW and DENY on trial that both refuse",
    [tried("a", "ALLOW", [path("/ok")]), tried("d", "DENY", GET_ONLY)],
    { path: "/x" },
    ...["allow", "shop/d[0] refused", "shop/a refused"],
  ],
  [
    "ALLOW on trial takes what a DENY on trial refuses",
    [tried("a", "ALLOW", ALL), tried("d", "DENY", GET_ONLY)],
    {},
    ...["allow", "shop/d[0] refused"],
  ],
  [
    "two ALLOWs on trial add up (trap 13)",
    [tried("a", "ALLOW", GET_ONLY), tried("b", "ALLOW", [method("POST")])],
    { method: "POST" },
    "allow",
  ],
  [
    "two ALLOWs on trial that both miss",
    [tried("b", "ALLOW", GET_ONLY), tried("a", "ALLOW", [method("POST")])],
    { method: "PUT" },
    ...["allow", "shop/a refused", "shop/b refused"],
  ],
  // Beside policies in force.
  [
    "an ALLOW on trial refuses nobody that another ALLOW lets in",
    [policy("in-force", "ALLOW", ALL), tried("a", "ALLOW", [method("POST")])],
    {},
    "allow",
  ],
  [
    "an ALLOW on trial would let in what the ALLOW in force refuses",
    [
      policy("in-force", "ALLOW", [method("POST")]),
      tried("a", "ALLOW", [method("PUT"), method("GET")]),
    ],
    {},
    ...["deny shop/in-force", "shop/a[1] admitted"],
  ],
  [
    "an ALLOW on trial would let in what the Mesh refuses",
    [tried("a", "ALLOW", GET_ONLY)],
    { defaultAction: "DENY" },
    ...["deny default", "shop/a[0] admitted"],
  ],
  [
    "an ALLOW on trial that misses what is refused already",
    [tried("a", "ALLOW", GET_ONLY)],
    { method: "POST", defaultAction: "DENY" },
    "deny default",
  ],
  [
    "a DENY in force goes before an ALLOW on trial",
    [policy("no", "DENY", ALL), tried("a", "ALLOW", ALL)],
    {},
    "deny shop/no",
  ],
  [
    "a DENY on trial goes before an ALLOW on trial that would let in",
    [tried("a", "ALLOW", ALL), tried("d", "DENY", GET_ONLY)],
    { defaultAction: "DENY" },
    "deny default",
  ],
  [
    "what is refused already is refused by no trial",
    [policy("no", "DENY", ALL), tried("d", "DENY", ALL)],
    {},
    "deny shop/no",
  ],
  // AUDIT.
  [
    "an AUDIT matches what is allowed",
    [policy("log", "AUDIT", [method("PUT"), method("GET")])],
    {},
    ...["allow", "shop/log[1] matched"],
  ],
  [
    "an AUDIT matches what is refused",
    [policy("log", "AUDIT", ALL), policy("no", "DENY", ALL)],
    {},
    ...["deny shop/no", "shop/log[0] matched"],
  ],
  ["an AUDIT without rules", [policy("log", "AUDIT", undefined)], {}, "allow"],
  [
    "an AUDIT is no first ALLOW",
    [policy("log", "AUDIT", [path("/x")])],
    { path: "/y" },
    "allow",
  ],
  [
    "an AUDIT on trial is an AUDIT",
    [tried("log", "AUDIT", ALL)],
    {},
    ...["allow", "shop/log[0] matched"],
  ],
  // TCP (trap 3): what is missing matches in DENY and AUDIT, and does not in ALLOW.
  [
    "a DENY on trial with HTTP fields, over TCP",
    [tried("d", "DENY", GET_ONLY)],
    { tcp: true },
    ...["allow", "shop/d[0] refused"],
  ],
  [
    "an ALLOW on trial with HTTP fields, over TCP",
    [tried("a", "ALLOW", GET_ONLY)],
    { tcp: true },
    ...["allow", "shop/a refused"],
  ],
  [
    "an AUDIT with HTTP fields, over TCP",
    [policy("log", "AUDIT", GET_ONLY)],
    { tcp: true },
    ...["allow", "shop/log[0] matched"],
  ],
  // Whom they are for.
  [
    "another namespace's",
    [tried("far/a", "ALLOW"), policy("far/log", "AUDIT", ALL)],
    {},
    "allow",
  ],
  [
    "the root namespace's are for the whole mesh (trap 17)",
    [tried("wherry-system/d", "DENY", ALL)],
    {},
    ...["allow", "wherry-system/d[0] refused"],
  ],
];

for (const [title, policies, asked, ...expected] of TABLE)
  void t.test(title, (t) => {
    const settings = {
      authorization: { defaultAction: asked.defaultAction ?? "ALLOW" },
      trustedHops: 0,
    } as const;
    const facts: AuthorizationFacts = {
      peer: "spiffe://cluster.local/ns/shop/sa/web",
      port: 8080,
      connection: CONNECTION,
      request:
        asked.tcp === true
          ? undefined
          : {
              method: asked.method ?? "GET",
              host: "orders.shop",
              path: asked.path ?? "/",
              header: () => undefined,
              lines: () => undefined,
            },
    };
    const verdict = atOnce(
      compileAuthorization(policies, WORKLOAD, settings),
    ).authorize(facts);
    const shadow = atOnce(compileShadow(policies, WORKLOAD, settings));
    const found = shadow?.judge(facts, verdict) ?? [];
    t.strictSame(
      [
        verdict.kind === "allow" ? "allow" : `deny ${verdict.policy}`,
        ...found.map(
          ({ policy: name, rule, effect }) =>
            `${name}${rule === undefined ? "" : `[${rule}]`} ${effect}`,
        ),
      ],
      expected,
    );
    t.end();
  });

void t.test("without such a policy there is nothing to ask", (t) => {
  const settings = {
    authorization: { defaultAction: "ALLOW" },
    trustedHops: 0,
  } as const;
  for (const policies of [
    [],
    [policy("in-force", "DENY", ALL)],
    [tried("far/a", "ALLOW", ALL)],
  ])
    t.equal(atOnce(compileShadow(policies, WORKLOAD, settings)), undefined);
  t.end();
});
