/** The step of an explanation for tokens: which rule accepts the token, what is made of it, and why one is refused. */
import t from "tap";
import { readKeySet } from "../../../src/core/text/key-set.ts";
import { readToken } from "../../../src/identity/jwt/token.ts";
import { verifyToken } from "../../../src/identity/jwt/verify.ts";
import type { JwtRule } from "../../../src/resources/request-authentication/spec.ts";
import { authorizationPolicy } from "../../support/resources/policy-fixtures.ts";
import { callee, ORDERS, step } from "../../support/resources/asked-call.ts";
import {
  forged,
  ISSUER,
  keySetText,
  testKey,
  token,
} from "../../support/tokens/issuer.ts";
import { tokensOf } from "../../support/tokens/token-mesh.ts";

const RULES: readonly JwtRule[] = [
  {
    issuer: ISSUER,
    audiences: ["bank"],
    jwksUri: "https://idp.example.com/keys",
  },
  {
    issuer: ISSUER,
    audiences: ["shop"],
    jwksUri: "https://idp.example.com/keys",
    fromHeaders: [{ name: "X-Token" }],
    fromParams: ["t"],
    outputClaimToHeaders: [{ header: "X-Sub", claim: "sub" }],
  },
];
const RESOURCES = [
  ...ORDERS,
  tokensOf(RULES),
  authorizationPolicy("shop/carol", {
    rules: [
      {
        from: [{ source: { requestPrincipals: [`${ISSUER}/carol`] } }],
        when: [{ key: "request.headers[x-sub]", values: ["carol"] }],
      },
    ],
  }),
];
const SOURCE = "RequestAuthentication/shop/jwt";

/** An explanation does not verify: any signature does. */
function tokenOf(claims: Readonly<Record<string, unknown>>): string {
  return forged(
    { alg: "ES256" },
    { iss: ISSUER, sub: "carol", aud: "shop", exp: 4_000_000_000, ...claims },
    "c2lnbmF0dXJl",
  );
}

interface Row {
  readonly what: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly target?: string;
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly outcome: RegExp;
  /** Of the rule that accepts it. */
  readonly field?: string;
  readonly refused?: string;
  readonly sees?: readonly (readonly [string, string])[];
  readonly goesOn?: string;
}

const ROWS: readonly Row[] = [
  {
    what: "no token; what the caller says of itself is taken out",
    headers: { "x-sub": "carol", x_sub: "carol" },
    outcome: /^the request has no token, and may go on without one$/,
    refused: "NOT_ALLOWED",
  },
  {
    what: "a token in a header",
    headers: { "x-token": tokenOf({}), "x-sub": "mallory" },
    outcome: /^https:\/\/idp\.example\.com\/carol, if .* not verified here$/,
    field: "spec.jwtRules[1]",
    sees: [["x-sub", "carol"]],
    goesOn: "/",
  },
  {
    what: "a token in a parameter, which the application does not get",
    target: `/a?x=1&t=${tokenOf({})}`,
    outcome: /carol, if/,
    field: "spec.jwtRules[1]",
    sees: [["x-sub", "carol"]],
    goesOn: "/a?x=1",
  },
  {
    what: "claims that are given in place of a token",
    claims: { iss: ISSUER, sub: "carol", aud: ["bank", "shop"] },
    outcome: /carol, by the claims that were given$/,
    field: "spec.jwtRules[0]",
    refused: "NOT_ALLOWED",
  },
  {
    what: "given claims of nobody",
    claims: { iss: ISSUER, aud: "shop" },
    outcome: /^a token without a subject, by the claims/,
    field: "spec.jwtRules[1]",
    refused: "NOT_ALLOWED",
  },
  {
    what: "a token where another rule looks",
    headers: { authorization: `Bearer ${tokenOf({})}` },
    outcome: /^the token is for another audience$/,
    refused: "TOKEN_AUDIENCE",
  },
  {
    what: "another issuer's",
    headers: { "x-token": tokenOf({ iss: "https://other.example" }) },
    outcome: /^no rule is for the token's issuer$/,
    refused: "TOKEN_INVALID",
  },
  {
    what: "two tokens",
    headers: { "x-token": tokenOf({}) },
    target: `/?t=${tokenOf({ sub: "dave" })}`,
    outcome: /^the request has more than one token$/,
    refused: "TOKEN_INVALID",
  },
  {
    what: "none that could be one",
    headers: { "x-token": "abc" },
    outcome: /./,
    refused: "TOKEN_INVALID",
  },
];

for (const row of ROWS)
  void t.test(row.what, (t) => {
    const { headers = {}, target = "/", claims, outcome } = row;
    const answer = callee(RESOURCES, {
      sent: {
        ...{ method: "GET", authority: "orders.shop", target },
        fields: Object.entries(headers).map(([name, value]) => ({
          name,
          value,
        })),
      },
      claims,
    });
    const token = step(answer, "token");
    t.match(token.outcome, outcome);
    t.equal(token.source?.resource, SOURCE);
    t.equal(token.source?.field, row.field);
    t.equal(answer.refusal?.code, row.refused);
    if (row.refused?.startsWith("TOKEN") === true) {
      t.equal(answer.decisions.at(-1)?.step, "token", "nothing comes after it");
      t.equal(answer.refusal?.policy, "shop/jwt");
    }
    if (row.sees !== undefined)
      t.strictSame(
        answer.fields.map(({ name, value }) => [name, value]),
        row.sees,
      );
    if (row.goesOn !== undefined) t.equal(answer.target, row.goesOn);
    t.end();
  });

void t.test("a token's time is judged as the sidecar judges it", async (t) => {
  const key = await testKey("ES256", "k1");
  const keys = readKeySet(keySetText(key));
  if (!keys.ok) throw new Error(keys.why);
  const wall = 1_800_000_000_500;
  const now = 1_800_000_000;
  let good = 0;
  for (const exp of [undefined, "x", -61, -60, -59, 0, 61])
    for (const nbf of [undefined, "x", -1, 60, 61]) {
      const at = (value: typeof exp): unknown =>
        typeof value === "number" ? now + value : value;
      const text = await token(key, {
        claims: { sub: "carol", aud: "shop", exp: at(exp), nbf: at(nbf) },
      });
      const read = readToken(text);
      if (!read.ok) throw new Error(read.why);
      const verified = await verifyToken(
        read.token,
        keys.keySet.keys.map(({ jwk }) => jwk),
        { issuer: ISSUER, audiences: ["shop"] },
        wall,
      );
      const { outcome, refusal } = step(
        callee(RESOURCES, {
          sent: {
            ...{ method: "GET", authority: "orders.shop", target: "/" },
            fields: [{ name: "x-token", value: text }],
          },
          wall,
        }),
        "token",
      );
      good += verified.kind === "verified" ? 1 : 0;
      t.strictSame(
        refusal === undefined ? "verified" : outcome,
        verified.kind === "verified" ? "verified" : verified.why,
        `exp ${String(exp)}, nbf ${String(nbf)}`,
      );
    }
  t.equal(good, 12, "of 35");
});

void t.test("no step where there is no rule, or no request", (t) => {
  const steps = (answer: ReturnType<typeof callee>): readonly string[] =>
    answer.decisions.map((each) => each.step);
  t.notOk(steps(callee(ORDERS)).includes("token"));
  t.notOk(steps(callee(RESOURCES, { tunnel: true })).includes("token"));
  t.end();
});
