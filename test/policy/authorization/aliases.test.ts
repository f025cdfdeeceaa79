/** Trust domain aliases, after Istio's mesh options and its reference of AuthorizationPolicy. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { compileAuthorization } from "../../../src/policy/authorization/authorization.ts";
import {
  domainsMeant,
  principalsMeant,
} from "../../../src/policy/authorization/aliases.ts";
import { spelledOut } from "../../../src/policy/authorization/spelled-out.ts";
import type { AuthorizationRule } from "../../../src/resources/authorization-policy/spec.ts";
import {
  authorizationPolicy,
  CONNECTION,
} from "../../support/resources/policy-fixtures.ts";

const DOMAINS = ["td1", "td2", "old-td"];

/** What a policy says, and whom it means. */
const PRINCIPALS: readonly (readonly [string, readonly string[]])[] = [
  [
    "td1/ns/foo/sa/bar",
    ["td1/ns/foo/sa/bar", "td2/ns/foo/sa/bar", "old-td/ns/foo/sa/bar"],
  ],
  [
    "td2/ns/foo/sa/bar",
    ["td1/ns/foo/sa/bar", "td2/ns/foo/sa/bar", "old-td/ns/foo/sa/bar"],
  ],
  [
    "cluster.local/ns/foo/sa/bar",
    ["td1/ns/foo/sa/bar", "td2/ns/foo/sa/bar", "old-td/ns/foo/sa/bar"],
  ],
  ["td1/ns/foo/*", ["td1/ns/foo/*", "td2/ns/foo/*", "old-td/ns/foo/*"]],
  ["td1/*", ["td1/*", "td2/*", "old-td/*"]],
  [
    "*-td/ns/foo/sa/bar",
    ["td1/ns/foo/sa/bar", "td2/ns/foo/sa/bar", "*-td/ns/foo/sa/bar"],
  ],
  ["other/ns/foo/sa/bar", ["other/ns/foo/sa/bar"]],
  ["*-other/ns/foo/sa/bar", ["*-other/ns/foo/sa/bar"]],
  ["td/ns/foo/sa/bar", ["td/ns/foo/sa/bar"]],
  ["*", ["*"]],
  ["*/ns/foo/sa/bar", ["*/ns/foo/sa/bar"]],
  ["*/sa/bar", ["*/sa/bar"]],
  ["*bar", ["*bar"]],
  ["td1*", ["td1*"]],
];

for (const [principal, meant] of PRINCIPALS)
  void t.test(`${principal} in a mesh of ${DOMAINS.join(", ")}`, (t) => {
    t.strictSame(principalsMeant([principal], DOMAINS), meant);
    t.strictSame(principalsMeant([principal], []), [principal]);
    t.end();
  });

void t.test("nobody is meant twice", (t) => {
  t.strictSame(
    principalsMeant(["td1/ns/a/sa/b", "td2/ns/a/sa/b"], ["td1", "td2"]),
    ["td1/ns/a/sa/b", "td2/ns/a/sa/b"],
  );
  t.strictSame(domainsMeant(["td2", "x", "td1"], DOMAINS), [...DOMAINS, "x"]);
  t.strictSame(domainsMeant(["td*", "*"], DOMAINS), ["td*", "*"]);
  t.end();
});

const from = (source: object): AuthorizationRule => ({ from: [{ source }] });
const when = (values: object): AuthorizationRule => ({
  when: [{ key: "source.principal", ...values }],
});

/** A rule, its caller, and whether it takes the caller with the aliases and without. */
const RULES: readonly (readonly [
  AuthorizationRule,
  string,
  boolean,
  boolean,
])[] = [
  [from({ principals: ["td1/ns/a/sa/b"] }), "td1/ns/a/sa/b", true, true],
  [from({ principals: ["td1/ns/a/sa/b"] }), "td2/ns/a/sa/b", true, false],
  [from({ principals: ["td2/ns/a/sa/b"] }), "td1/ns/a/sa/b", true, false],
  [from({ principals: ["td1/ns/a/sa/b"] }), "td2/ns/a/sa/c", false, false],
  [from({ principals: ["td1/ns/a/sa/b"] }), "td3/ns/a/sa/b", false, false],
  [from({ principals: ["td1/ns/a/*"] }), "old-td/ns/a/sa/b", true, false],
  [
    from({ principals: ["cluster.local/ns/a/sa/b"] }),
    "td1/ns/a/sa/b",
    true,
    true,
  ],
  [
    from({ principals: ["cluster.local/ns/a/sa/b"] }),
    "td2/ns/a/sa/b",
    true,
    false,
  ],
  [
    from({ principals: ["cluster.local/ns/a/sa/b"] }),
    "cluster.local/ns/a/sa/b",
    false,
    false,
  ],
  [from({ notPrincipals: ["td1/ns/a/sa/b"] }), "td2/ns/a/sa/b", false, true],
  [from({ notPrincipals: ["td1/ns/a/sa/b"] }), "td3/ns/a/sa/b", true, true],
  [from({ trustDomains: ["td1"] }), "td2/ns/a/sa/b", true, false],
  [from({ trustDomains: ["td3"] }), "td2/ns/a/sa/b", false, false],
  [from({ notTrustDomains: ["td2"] }), "td1/ns/a/sa/b", false, true],
  [from({ namespaces: ["a"] }), "td2/ns/a/sa/b", true, true],
  [when({ values: ["td1/ns/a/sa/b"] }), "td2/ns/a/sa/b", true, false],
  [when({ notValues: ["td1/ns/a/sa/b"] }), "td2/ns/a/sa/b", false, true],
];

for (const [rule, caller, aliased, plain] of RULES)
  void t.test(`${JSON.stringify(rule)} and ${caller}`, (t) => {
    for (const [trustDomainAliases, takes] of [
      [DOMAINS.slice(1), aliased],
      [[], plain],
    ] as const)
      for (const action of ["ALLOW", "DENY"] as const) {
        const { kind } = atOnce(
          compileAuthorization(
            [authorizationPolicy("shop/p", { action, rules: [rule] })],
            { namespace: "shop", labels: {} },
            {
              authorization: { defaultAction: "ALLOW" },
              trustedHops: 0,
              trustDomain: "td1",
              trustDomainAliases,
            },
          ),
        ).authorize({
          peer: `spiffe://${caller}`,
          port: 80,
          connection: CONNECTION,
          request: undefined,
        });
        t.equal(kind === "allow", takes === (action === "ALLOW"), action);
      }
    t.end();
  });

const OLD = "old-td/ns/a/sa/b";
const ALL = DOMAINS.map((domain) => `${domain}/ns/a/sa/b`);

/** A rule, and how it is said to who compares names as they are written; undefined: as it is. */
const SPELLED: readonly (readonly [
  AuthorizationRule,
  AuthorizationRule | undefined,
])[] = [
  [
    { from: [{ source: { principals: [OLD] } }] },
    { from: [{ source: { principals: ALL } }] },
  ],
  [
    { from: [{ source: { notPrincipals: [OLD, "x/ns/a/sa/b"] } }] },
    { from: [{ source: { notPrincipals: [...ALL, "x/ns/a/sa/b"] } }] },
  ],
  [
    { from: [{ source: { trustDomains: ["td1"], notTrustDomains: ["td2"] } }] },
    { from: [{ source: { trustDomains: DOMAINS, notTrustDomains: DOMAINS } }] },
  ],
  [
    { when: [{ key: "source.principal", values: [OLD], notValues: ["x"] }] },
    { when: [{ key: "source.principal", values: ALL, notValues: ["x"] }] },
  ],
  [{ when: [{ key: "source.namespace", values: ["td1"] }] }, undefined],
  [
    {
      from: [{ source: { namespaces: ["td1"], principals: ["*"] } }],
      to: [{ operation: { hosts: ["td1"] } }],
    },
    undefined,
  ],
  [{}, undefined],
];

void t.test(
  "names of trust domains are spelled out, and nothing else is",
  (t) => {
    for (const [rule, said] of SPELLED) {
      const spec = { action: "DENY" as const, rules: [{}, rule] };
      const spelled = spelledOut(spec, DOMAINS);
      if (said === undefined) t.equal(spelled, spec, "the very same");
      else t.strictSame(spelled, { action: "DENY", rules: [{}, said] });
      t.equal(spelledOut(spelled, DOMAINS), spelled, "nothing is left to say");
    }
    const bare = { action: "ALLOW" as const };
    t.equal(spelledOut(bare, DOMAINS), bare);
    t.end();
  },
);
