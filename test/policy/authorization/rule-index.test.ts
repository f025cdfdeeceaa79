/** The index gives the rule that a walk over all rules gives, and asks few of them. */
import { isDeepStrictEqual } from "node:util";
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { verifiedClaims } from "../../../src/identity/jwt/claims.ts";
import {
  compileAuthorization,
  type ConsideredRule,
  type Verdict,
} from "../../../src/policy/authorization/authorization.ts";
import {
  callOf,
  type AuthorizationFacts,
} from "../../../src/policy/authorization/call.ts";
import { anyOf } from "../../../src/policy/authorization/pattern-index.ts";
import { matchText } from "../../../src/policy/authorization/patterns.ts";
import { compileRule } from "../../../src/policy/authorization/rule.ts";
import { indexRules } from "../../../src/policy/authorization/rule-index.ts";
import type { AuthorizationRule } from "../../../src/resources/authorization-policy/spec.ts";
import {
  authorizationPolicy,
  request,
  headersOf,
} from "../../support/resources/policy-fixtures.ts";
import { dice, seeded } from "../../support/resources/random-policy.ts";

const SEED = 1;

void t.test("many patterns take what one of them takes", (t) => {
  const { pick, upTo } = dice(seeded(SEED));
  const word = (most: number): string =>
    Array.from({ length: upTo(most) }, () => pick(["a", "b"])).join("");
  const pattern = (): string =>
    pick([() => word(4) || "a", () => `${word(3)}*`, () => `*${word(3)}`])();
  for (let round = 0; round < 300; round += 1) {
    const patterns = Array.from({ length: upTo(20) }, () =>
      matchText(pattern()),
    );
    const takes = anyOf(patterns);
    for (let asked = 0; asked < 20; asked += 1) {
      const value = word(5);
      const expected = patterns.some(({ meets }) => meets(value));
      if (takes(value) !== expected) t.equal(takes(value), expected, value);
    }
  }
  t.pass("all of them");
  t.end();
});

const CONTEXT = {
  trustDomains: [],
  denies: true,
  namespace: "shop",
  trustedHops: 0,
};

function facts(
  over: Partial<AuthorizationFacts> & { path?: string } = {},
): AuthorizationFacts {
  return {
    peer: "spiffe://cluster.local/ns/shop/sa/web",
    port: 8080,
    connection: { remoteAddress: "10.1.2.3", localAddress: "10.0.0.1" },
    request: request(over.path ?? "/", { headers: {} }),
    ...over,
  };
}

/** The place of the rule that is found, and how many were asked. */
function ask(
  rules: readonly AuthorizationRule[],
  asked: AuthorizationFacts,
  denies = true,
): { readonly found: number | undefined; readonly asked: number } {
  let count = 0;
  const find = atOnce(
    indexRules(
      rules.map((rule, order) => {
        const test = compileRule(rule, { ...CONTEXT, denies });
        return {
          order,
          test: {
            ...test,
            meets: (call: ReturnType<typeof callOf>) => {
              count += 1;
              return test.meets(call);
            },
          },
        };
      }),
    ),
  );
  return { found: find(callOf(asked))?.order, asked: count };
}

const to = (operation: object): AuthorizationRule => ({ to: [{ operation }] });
const from = (source: object): AuthorizationRule => ({ from: [{ source }] });
const many = (
  make: (index: number) => AuthorizationRule,
): AuthorizationRule[] =>
  Array.from({ length: 1000 }, (_, index) => make(index));

/** Rules, a call, the rule that it meets first, and how many may be asked at most. */
const SETS: readonly (readonly [
  string,
  readonly AuthorizationRule[],
  AuthorizationFacts,
  number | undefined,
  number,
])[] = [
  [
    "principals",
    many((n) =>
      from({ principals: [`cluster.local/ns/shop/sa/web${n || ""}`] }),
    ),
    facts(),
    0,
    1,
  ],
  [
    "ends of principals",
    many((n) => from({ principals: [`*/sa/${n === 700 ? "web" : n}`] })),
    facts(),
    700,
    1,
  ],
  [
    "paths",
    many((n) => to({ paths: [`/p/${n}`] })),
    facts({ path: "/p/77" }),
    77,
    1,
  ],
  [
    "beginnings of paths",
    many((n) => to({ paths: [`/p/${n}/*`] })),
    facts({ path: "/p/77/x" }),
    77,
    1,
  ],
  [
    "templates",
    many((n) => to({ paths: [`/p/${n}/{*}/x`] })),
    facts({ path: "/p/77/a/x" }),
    77,
    1,
  ],
  [
    "ends of templates",
    many((n) => to({ paths: [`/{**}/p-${n}`] })),
    facts({ path: "/a/p-77" }),
    77,
    1,
  ],
  [
    "hosts",
    many((n) => to({ hosts: [n === 5 ? "Orders.shop" : `h${n}.shop`] })),
    facts(),
    5,
    1,
  ],
  [
    "namespaces",
    many((n) => from({ namespaces: [n === 999 ? "shop" : `n${n}`] })),
    facts(),
    999,
    1,
  ],
  [
    "accounts",
    many((n) => from({ serviceAccounts: [n === 999 ? "web" : `a${n}`] })),
    facts(),
    999,
    1,
  ],
  [
    "ranges",
    many((n) => from({ ipBlocks: [`10.1.${n % 250}.0/24`] })),
    facts(),
    2,
    1,
  ],
  [
    "headers",
    many((n) => ({ when: [{ key: "request.headers[x]", values: [`${n}`] }] })),
    facts({ request: request("/", { headers: { x: "7" } }) }),
    7,
    1,
  ],
  [
    "alternatives, each with a path",
    many((n) => ({
      to: [
        { operation: { paths: [`/a/${n}`] } },
        { operation: { paths: [`/b/${n}`], methods: ["GET"] } },
      ],
    })),
    facts({ path: "/b/12" }),
    12,
    1,
  ],
  [
    "the property that fewer share",
    many((n) => ({
      ...from({ principals: ["cluster.local/ns/shop/sa/web"] }),
      ...to({ methods: ["GET"], paths: ["/p/*"], hosts: [`h${n}.example`] }),
    })),
    facts({ path: "/p/1" }),
    undefined,
    0,
  ],
  [
    "the first of those that match",
    many((n) =>
      n % 2 === 0 ? to({ paths: ["/p*"] }) : from({ namespaces: ["shop"] }),
    ),
    facts({ path: "/p" }),
    0,
    2,
  ],
  [
    "rules that have nothing to be found by are asked in turn",
    many((n) =>
      n === 4 ? to({ notPaths: ["/x"] }) : to({ paths: [`/p/${n}`] }),
    ),
    facts({ path: "/p/9" }),
    4,
    2,
  ],
  [
    "alternatives, one of them without a path",
    many((n) => ({
      to: [
        { operation: { paths: [`/a/${n}`] } },
        { operation: { notMethods: ["GET"] } },
      ],
    })),
    facts({ path: "/a/999" }),
    999,
    1000,
  ],
  [
    "trap 3: what only HTTP has, over TCP",
    many((n) => to({ paths: [`/p/${n}`] })),
    facts({ request: undefined }),
    0,
    1,
  ],
  [
    "trap 3: what only HTTP has beside a port, over TCP",
    many((n) => to({ paths: [`/p/${n}`], ports: [n === 3 ? "8080" : "1"] })),
    facts({ request: undefined }),
    3,
    1000,
  ],
  [
    "a caller without a name",
    many((n) => from({ principals: [`cluster.local/ns/shop/sa/${n}`] })),
    facts({ peer: undefined }),
    undefined,
    0,
  ],
];

for (const [what, rules, asked, found, most] of SETS)
  void t.test(`1,000 rules: ${what}`, (t) => {
    const answer = ask(rules, asked);
    t.equal(answer.found, found);
    t.ok(answer.asked <= most, `${answer.asked} asked, at most ${most}`);
    t.end();
  });

void t.test("in an ALLOW a call over TCP meets no rule by HTTP", (t) => {
  const rules = many((n) => to({ paths: [`/p/${n}`] }));
  t.strictSame(ask(rules, facts({ request: undefined }), false), {
    found: undefined,
    asked: 0,
  });
  t.end();
});

void t.test("a long list of values asks each rule once", (t) => {
  const rules = Array.from({ length: 10 }, (): AuthorizationRule => ({
    when: [
      { key: "request.auth.claims[scope]", values: ["a*"] },
      { key: "request.auth.claims[scope]", notValues: ["a1"] },
    ],
  }));
  const scope = Array.from({ length: 2000 }, (_, n) => `a${n}`);
  const claims = verifiedClaims({ scope });
  t.strictSame(ask(rules, facts({ claims })), { found: undefined, asked: 10 });
  t.end();
});

/** What the walk that `explain` tells of comes to. */
function verdictOf(considered: readonly ConsideredRule[]): Verdict {
  const last = considered.at(-1);
  if (last !== undefined && last.why === undefined)
    return last.action === "ALLOW"
      ? { kind: "allow" }
      : {
          kind: "deny",
          code: "DENIED",
          policy: last.policy,
          rule: last.rule ?? -1,
        };
  const allow = considered.find(({ action }) => action === "ALLOW");
  return allow === undefined
    ? { kind: "allow" }
    : { kind: "deny", code: "NOT_ALLOWED", policy: allow.policy };
}

void t.test("the verdict is the one of the walk over all rules", (t) => {
  const draw = seeded(SEED);
  const { pick, chance, some, upTo } = dice(draw);
  const word = (): string => pick(["a", "b", "ab", "ba"]);
  const starred = (text: string): string =>
    pick([text, text, `${text}*`, `*${text}`, "*"]);
  const list = (make: () => string): string[] => [
    make(),
    ...some(upTo(2) === 0 ? 12 : 1, make),
  ];
  const field = (name: string, make: () => string): object =>
    chance(0.4)
      ? {
          [chance(0.8)
            ? name
            : `not${name[0]?.toUpperCase() ?? ""}${name.slice(1)}`]: list(make),
        }
      : {};
  const source = (): object => ({
    ...field("principals", () => starred(`td/ns/${word()}/sa/${word()}`)),
    ...field("namespaces", () => starred(word())),
    ...field("ipBlocks", () =>
      pick(["10.0.0.1", "10.0.0.0/31", "0.0.0.0/0", "::/0"]),
    ),
  });
  const operation = (): object => ({
    ...field("paths", () =>
      chance(0.2)
        ? pick(["/{*}/a", "/{**}/b", "/a/{**}", "/{*}"])
        : starred(`/${word()}/${word()}`).replace(/^\*\//, "*/"),
    ),
    ...field("methods", () => pick(["GET", "POST", "P*", "*T"])),
    ...field("ports", () => pick(["80", "81"])),
    ...field("hosts", () => starred(word())),
  });
  const rule = (): AuthorizationRule => ({
    ...(chance(0.7)
      ? {
          from: Array.from({ length: 1 + upTo(2) }, () => ({
            source: source(),
          })),
        }
      : {}),
    ...(chance(0.7)
      ? {
          to: Array.from({ length: 1 + upTo(2) }, () => ({
            operation: operation(),
          })),
        }
      : {}),
    ...(chance(0.3)
      ? {
          when: [
            {
              key: "request.headers[x]",
              [pick(["values", "notValues"])]: list(() => starred(word())),
            },
          ],
        }
      : {}),
  });
  const call = (): AuthorizationFacts => ({
    peer: chance(0.8) ? `spiffe://td/ns/${word()}/sa/${word()}` : undefined,
    port: pick([80, 81]),
    connection: {
      remoteAddress: pick(["10.0.0.1", "10.0.0.2", "fd00::1", ""]),
      localAddress: "10.0.0.9",
    },
    request: chance(0.8)
      ? {
          method: pick(["GET", "POST", "PUT"]),
          host: word(),
          path: pick([`/${word()}/${word()}`, `/${word()}`, "/a/a/b"]),
          ...headersOf({
            x: pick([
              () => undefined,
              word,
              () => `${word()},${word()}`,
              () => [word(), word()],
            ])(),
          }),
        }
      : undefined,
  });
  let denied = 0;
  for (let round = 0; round < 150; round += 1) {
    const policies = Array.from({ length: 1 + upTo(8) }, (_, index) =>
      authorizationPolicy(`shop/p${index}`, {
        action: pick(["ALLOW", "DENY"]),
        rules: Array.from({ length: 1 + upTo(30) }, rule),
      }),
    );
    const authorizer = atOnce(
      compileAuthorization(
        policies,
        { namespace: "shop", labels: {} },
        { authorization: { defaultAction: "ALLOW" }, trustedHops: 0 },
      ),
    );
    for (let asked = 0; asked < 100; asked += 1) {
      const made = call();
      const header = made.request?.header("x");
      const fixed = made.request && { ...made.request, header: () => header };
      const { verdict, considered } = authorizer.explain({
        ...made,
        request: fixed,
      });
      const expected = verdictOf(considered);
      if (expected.kind === "deny" && expected.code === "DENIED") denied += 1;
      if (!isDeepStrictEqual(verdict, expected))
        t.strictSame(
          verdict,
          expected,
          JSON.stringify({ policies, made, header }),
        );
    }
  }
  t.ok(denied > 1000, `${denied} denied by a rule`);
  t.end();
});
