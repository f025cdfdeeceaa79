/** What policies make of verified tokens and of none (trap 6), through a real listener: request principals and conditions as Istio's references have them. */
import t from "tap";
import type { AuthorizationRule } from "../../../../src/resources/authorization-policy/spec.ts";
import { resource, withPair, type Pair } from "../../../support/meshes/pair.ts";
import {
  ISSUER,
  keySetText,
  testKey,
  token,
} from "../../../support/tokens/issuer.ts";
import {
  outcomeOf,
  policyOf,
  tokensOf,
} from "../../../support/tokens/token-mesh.ts";

const key = await testKey("ES256", "k1");
const rules = [
  {
    issuer: ISSUER,
    jwks: keySetText(key),
    outputClaimToHeaders: [{ header: "x-sub", claim: "sub" }],
    spaceDelimitedClaims: ["teams"],
  },
];

const alice = await token(key, {
  claims: {
    aud: ["shop", "bank"],
    azp: "web-client",
    scope: "orders.read orders.write",
    permission: "a b",
    words: "one two",
    teams: "red blue",
    groups: ["dev", "admins"],
    mixed: ["x", 7, true],
    level: 7,
    admin: true,
    none: null,
    empty: "",
    nobody: [],
    realm_access: { roles: ["buyer"], "a.b": "c" },
    "https://example.com/role": "owner",
  },
});
const bare = await token(key, { claims: { aud: "shop" } });
const nameless = await token(key, { claims: { sub: undefined } });

type Name = "alice" | "bare" | "nameless" | "nobody";
const TOKENS: Readonly<Record<Name, string | undefined>> = {
  alice,
  bare,
  nameless,
  nobody: undefined,
};

const principals = (...values: string[]): AuthorizationRule => ({
  from: [{ source: { requestPrincipals: values } }],
});
const not = (...values: string[]): AuthorizationRule => ({
  from: [{ source: { notRequestPrincipals: values } }],
});
const when = (key: string, ...values: string[]): AuthorizationRule => ({
  when: [{ key: `request.auth.${key}`, values }],
});
const unless = (key: string, ...notValues: string[]): AuthorizationRule => ({
  when: [{ key: `request.auth.${key}`, notValues }],
});

/** Of each rule: the tokens that it matches; of the others it does not. */
const ROWS: readonly (readonly [AuthorizationRule, readonly Name[]])[] = [
  [principals("*"), ["alice", "bare"]],
  [principals(`${ISSUER}/alice`), ["alice", "bare"]],
  [principals(`${ISSUER}/*`), ["alice", "bare"]],
  [principals("*/alice"), ["alice", "bare"]],
  [principals(`${ISSUER}/bob`), []],
  [principals(`${ISSUER}/Alice`), []],
  [
    principals("https://evil.example/alice", `${ISSUER}/alice`),
    ["alice", "bare"],
  ],
  [when("claims[teams]", "blue"), ["alice"]],
  [when("claims[teams]", "red blue"), []],
  [not("*"), ["nameless", "nobody"]],
  [not(`${ISSUER}/alice`), ["nameless", "nobody"]],
  [not(`${ISSUER}/bob`), ["alice", "bare", "nameless", "nobody"]],
  [
    { from: [{ source: { requestPrincipals: ["*"], namespaces: ["shop"] } }] },
    ["alice", "bare"],
  ],
  [
    { from: [{ source: { requestPrincipals: ["*"], namespaces: ["bank"] } }] },
    [],
  ],
  [
    {
      from: [
        { source: { requestPrincipals: ["*/bob"] } },
        { source: { requestPrincipals: ["*/alice"] } },
      ],
    },
    ["alice", "bare"],
  ],
  [when("principal", `${ISSUER}/alice`), ["alice", "bare"]],
  [when("principal", "*"), ["alice", "bare"]],
  [when("principal", "*/bob"), []],
  [unless("principal", "*/alice"), ["nameless", "nobody"]],
  [when("audiences", "shop"), ["alice", "bare"]],
  [when("audiences", "bank"), ["alice"]],
  [when("audiences", "ba*"), ["alice"]],
  [when("audiences", "other"), []],
  [when("audiences", "*"), ["alice", "bare"]],
  [unless("audiences", "bank"), ["bare", "nameless", "nobody"]],
  [when("presenter", "web-client"), ["alice"]],
  [when("presenter", "*-client"), ["alice"]],
  [when("presenter", "web"), []],
  [unless("presenter", "web-client"), ["bare", "nameless", "nobody"]],
  [when("claims[sub]", "alice"), ["alice", "bare"]],
  [when("claims[sub]", "al*"), ["alice", "bare"]],
  [when("claims[iss]", ISSUER), ["alice", "bare", "nameless"]],
  [when("claims[groups]", "admins"), ["alice"]],
  [when("claims[groups]", "nobody", "dev"), ["alice"]],
  [when("claims[groups]", "adm*"), ["alice"]],
  [when("claims[groups]", "*"), ["alice"]],
  [when("claims[groups]", "dev,admins"), []],
  [unless("claims[groups]", "admins"), ["bare", "nameless", "nobody"]],
  [unless("claims[groups]", "others"), ["alice", "bare", "nameless", "nobody"]],
  [when("claims[scope]", "orders.read"), ["alice"]],
  [when("claims[scope]", "orders.delete"), []],
  [when("claims[scope]", "orders.read orders.write"), []],
  [when("claims[permission]", "b"), ["alice"]],
  [when("claims[words]", "one two"), ["alice"]],
  [when("claims[words]", "one"), []],
  [when("claims[realm_access][roles]", "buyer"), ["alice"]],
  [when("claims[realm_access][roles]", "seller"), []],
  [when("claims[realm_access][a.b]", "c"), ["alice"]],
  [when("claims[realm_access]", "*"), []],
  [when("claims[realm_access.roles]", "buyer"), []],
  [when("claims[https://example.com/role]", "owner"), ["alice"]],
  [when("claims[mixed]", "x"), ["alice"]],
  // Texts and lists of texts alone are compared, as in Istio.
  [when("claims[mixed]", "7"), []],
  [when("claims[level]", "7"), []],
  [when("claims[admin]", "true"), []],
  [when("claims[none]", "*"), []],
  [when("claims[empty]", "*"), []],
  [when("claims[nobody]", "*"), []],
  [when("claims[__proto__]", "*"), []],
  [when("claims[constructor]", "*"), []],
  [when("claims[groups][length]", "*"), []],
  [when("claims[groups][0]", "dev"), []],
  [
    {
      when: [
        {
          key: "request.auth.claims[sub]",
          values: ["al*"],
          notValues: ["alice"],
        },
      ],
    },
    [],
  ],
  [
    {
      when: [
        { key: "request.auth.claims[sub]", values: ["alice"] },
        { key: "request.auth.claims[scope]", values: ["orders.write"] },
      ],
    },
    ["alice"],
  ],
  // What a verified token sets is what policies see.
  [
    { when: [{ key: "request.headers[x-sub]", values: ["alice"] }] },
    ["alice", "bare"],
  ],
  [{ when: [{ key: "request.headers[x-sub]", values: ["root"] }] }, []],
  [
    {
      from: [{ source: { requestPrincipals: ["*"] } }],
      to: [{ operation: { paths: ["/other"] } }],
    },
    [],
  ],
];

async function seenBy(
  pair: Pair,
): Promise<readonly (readonly [Name, string])[]> {
  const seen: (readonly [Name, string])[] = [];
  for (const [name, text] of Object.entries(TOKENS) as [
    Name,
    string | undefined,
  ][])
    seen.push([
      name,
      (
        await outcomeOf(pair, {
          what: "",
          becomes: "",
          path: "/a",
          headers: {
            "x-sub": "root",
            ...(text === undefined ? {} : { authorization: `Bearer ${text}` }),
          },
        })
      ).becomes,
    ]);
  return seen;
}

for (const action of ["ALLOW", "DENY"] as const)
  void t.test(`rules of ${action}`, async (t) => {
    await withPair({ resources: [tokensOf(rules)] }, async (pair) => {
      for (const [rule, matched] of ROWS) {
        pair.apply([tokensOf(rules), policyOf({ action, rules: [rule] })]);
        for (const [name, becomes] of await seenBy(pair))
          t.equal(
            becomes,
            matched.includes(name) === (action === "ALLOW")
              ? "200"
              : action === "ALLOW"
                ? "403 NOT_ALLOWED"
                : "403 DENIED",
            `${name}: ${JSON.stringify(rule)}`,
          );
      }
    });
  });

void t.test(
  "without a RequestAuthentication nobody has a principal",
  async (t) => {
    await withPair(
      { resources: [policyOf({ rules: [principals("*")] })] },
      async (pair) => {
        for (const [name, becomes] of await seenBy(pair))
          t.equal(becomes, "403 NOT_ALLOWED", name);
      },
    );
  },
);

void t.test("a rate limit counts by a claim", async (t) => {
  const limit = resource("TrafficPolicy", "limit", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    rateLimit: { requests: 2, interval: "1h", key: "request.auth.claims[sub]" },
  });
  const bob = await token(key, { claims: { sub: "bob" } });
  await withPair({ resources: [tokensOf(rules), limit] }, async (pair) => {
    const asked = async (text: string | undefined): Promise<string> =>
      (
        await outcomeOf(pair, {
          what: "",
          becomes: "",
          ...(text === undefined
            ? {}
            : { headers: { authorization: `Bearer ${text}` } }),
        })
      ).becomes;
    for (const text of [alice, bob, undefined])
      t.strictSame(
        [await asked(text), await asked(text), await asked(text)],
        ["200", "200", "429 RATE_LIMITED"],
      );
    t.equal(await asked(bare), "429 RATE_LIMITED", "another token of alice");
  });
});
