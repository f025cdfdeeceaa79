/** What a token that was verified before costs a request: to find it, to know it again, and to take it out. */
import { generateKeyPair, exportJWK, SignJWT } from "jose";
import pino from "pino";
import { systemClock } from "../../src/core/clock.ts";
import { findTokens } from "../../src/policy/tokens/find-tokens.ts";
import { tokenEdits } from "../../src/policy/tokens/token-edits.ts";
import {
  compileTokenRules,
  type TokenRules,
} from "../../src/policy/tokens/token-rules.ts";
import { TokenVerifier } from "../../src/proxy/checks/tokens/token-verifier.ts";
import type { JwtRule } from "../../src/resources/request-authentication/spec.ts";
import { makeField, type Field } from "../../src/wire/fields.ts";
import type { CostRow } from "./measure.ts";

const ISSUER = "https://idp.example.com";
const NANOSECONDS = 1000;

/** What browsers send, the token last. */
const FIELDS = [
  ...["user-agent", "accept", "accept-language", "accept-encoding", "referer"],
  ...["cache-control", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site"],
  ...["x-request-id", "traceparent", "origin", "pragma"],
].map((name) => makeField(name, `value of ${name}`));

interface Request {
  readonly path: string;
  readonly fields: readonly Field[];
}

/** A function that passes the requests of so many callers in turn, each with a token of its own. */
async function warm(
  callers: number,
  outputs: Partial<JwtRule>,
): Promise<(turn: number) => unknown> {
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  const key = { ...(await exportJWK(publicKey)), kid: "k1" };
  const rules = rulesOf({
    issuer: ISSUER,
    jwks: JSON.stringify({ keys: [key] }),
    ...outputs,
  });
  const verifier = new TokenVerifier({
    clock: systemClock,
    logger: pino({ level: "silent" }),
  });
  verifier.apply({
    mesh: { privateFetch: { hosts: [], ranges: [] } },
    inbound: { ports: [{ tokens: rules }] },
  });
  const requests: Request[] = [];
  for (let caller = 0; caller < callers; caller += 1) {
    const token = await new SignJWT({ scope: "a b", jti: `${caller}` })
      .setProtectedHeader({ alg: "ES256", kid: "k1" })
      .setIssuer(ISSUER)
      .setSubject(`user-${caller}`)
      .setAudience("shop")
      .setExpirationTime("1h")
      .sign(privateKey);
    const fields = [...FIELDS, makeField("authorization", `Bearer ${token}`)];
    requests.push({ path: "/orders/1?page=2", fields });
  }
  for (const request of requests)
    for (const found of findTokens(rules, request))
      await verifier.verify(found);
  return (turn) => {
    const request = requests[turn % callers];
    const [found] = request ? findTokens(rules, request) : [];
    const token = found && verifier.known(found);
    if (request === undefined || token === undefined)
      throw new Error("the token is not known");
    return tokenEdits(rules, request, found, token);
  };
}

function rulesOf(rule: JwtRule): TokenRules {
  const rules = compileTokenRules(
    [
      {
        apiVersion: "security.istio.io/v1",
        kind: "RequestAuthentication",
        metadata: { name: "tokens", namespace: "shop" },
        spec: { jwtRules: [rule] },
      },
    ],
    { namespace: "shop", labels: {} },
  );
  if (rules === undefined) throw new Error("there are no rules");
  return rules;
}

const BOTH = [
  { header: "x-user", claim: "sub" },
  { header: "x-scope", claim: "scope" },
];

export const TOKENS: readonly CostRow[] = [
  {
    name: "tokens: one caller's, known",
    atMost: NANOSECONDS,
    open: () => warm(1, {}),
  },
  {
    name: "tokens: 1,000 callers', known",
    atMost: NANOSECONDS,
    open: () => warm(1000, {}),
  },
  {
    name: "tokens: known, two claims become headers",
    open: () => warm(1000, { outputClaimToHeaders: BOTH }),
  },
];
