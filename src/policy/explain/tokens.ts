/** What a RequestAuthentication makes of a request: by the token that it has, or by claims that are taken for those of one. */
import { claimsOf, isForAny, whyNotNow } from "../../identity/jwt/expected.ts";
import { verifiedClaims, type ClaimSet } from "../../identity/jwt/claims.ts";
import { readToken } from "../../identity/jwt/token.ts";
import type { WallMs } from "../../core/units.ts";
import { applyEdits } from "../routing/header-edits.ts";
import { findTokens, type FoundToken } from "../tokens/find-tokens.ts";
import {
  outputsOf,
  tokenEdits,
  type VerifiedToken,
} from "../tokens/token-edits.ts";
import type { TokenRule, TokenRules } from "../tokens/token-rules.ts";
import {
  decision,
  sourceOf,
  type Decision,
  type Refusal,
  type SentRequest,
} from "./decision.ts";

export interface ExplainedToken {
  readonly decision: Decision;
  /** Undefined where the request has no token, or is refused for it. */
  readonly token: VerifiedToken | undefined;
  /** With what the token made of it. */
  readonly sent: SentRequest;
}

/** `claims`: of a token that the request is taken to have, and that is genuine; undefined: what it has is looked at. */
export function explainTokens(
  rules: TokenRules,
  sent: SentRequest,
  claims: ClaimSet | undefined,
  wall: WallMs,
): ExplainedToken {
  const request = { path: sent.target, fields: sent.fields };
  const found =
    claims === undefined
      ? findTokens(rules, request)
      : [assumed(rules, claims)];
  const [first] = found;
  if (first === undefined)
    return {
      decision: made(
        rules,
        undefined,
        "the request has no token, and may go on without one",
      ),
      token: undefined,
      sent: edited(rules, sent, undefined, undefined),
    };
  const judged =
    found.length > 1
      ? refused(
          "TOKEN_INVALID",
          "the request has more than one token",
          first.rules[0]?.policy,
        )
      : judge(first, claims ?? claimsOf(first.text), wall);
  if ("refusal" in judged)
    return {
      decision: made(rules, undefined, judged.why, judged.refusal),
      token: undefined,
      sent,
    };
  const { rule, claims: verified } = judged;
  const principal = verified.principal ?? "a token without a subject";
  return {
    decision: made(
      rules,
      rule,
      claims === undefined
        ? `${principal}, if the token's signature is right, which is not verified here`
        : `${principal}, by the claims that were given`,
    ),
    token: judged,
    sent: edited(rules, sent, first, judged),
  };
}

/** As a token of these claims would be found. */
function assumed({ rules }: TokenRules, claims: ClaimSet): FoundToken {
  const payload = Buffer.from(JSON.stringify(claims)).toString("base64url");
  return {
    text: `e30.${payload}.AAAA`,
    rules,
    headers: [],
    params: [],
    cookies: [],
  };
}

type Judged =
  | VerifiedToken
  | { readonly refusal: Refusal; readonly why: string };

function refused(code: Refusal["code"], why: string, policy?: string): Judged {
  const refusal = policy === undefined ? { code } : { code, policy };
  return { refusal, why };
}

function judge(
  { text, rules }: FoundToken,
  claims: ClaimSet | undefined,
  wall: WallMs,
): Judged {
  const policy = rules[0]?.policy;
  if (claims === undefined) {
    const read = readToken(text);
    return refused("TOKEN_INVALID", read.ok ? "" : read.why, policy);
  }
  const issued = rules.filter(({ issuer }) => issuer === claims["iss"]);
  const [near] = issued;
  if (near === undefined)
    return refused(
      "TOKEN_INVALID",
      "no rule is for the token's issuer",
      policy,
    );
  const untimely = whyNotNow(claims, wall);
  if (untimely !== undefined)
    return refused("TOKEN_INVALID", untimely, near.policy);
  const rule = issued.find(({ audiences }) =>
    isForAny(claims["aud"], audiences),
  );
  if (rule !== undefined) {
    const verified = verifiedClaims(claims, rule.spaceDelimited);
    return { rule, claims: verified, outputs: outputsOf(rule, text, verified) };
  }
  return refused(
    "TOKEN_AUDIENCE",
    "the token is for another audience",
    near.policy,
  );
}

function edited(
  rules: TokenRules,
  sent: SentRequest,
  found: FoundToken | undefined,
  token: VerifiedToken | undefined,
): SentRequest {
  const { target, fields } = sent;
  const edits = tokenEdits(rules, { path: target, fields }, found, token);
  return edits === undefined
    ? sent
    : {
        ...sent,
        target: edits.path ?? target,
        fields: applyEdits(fields, edits, (name, value) => ({ name, value })),
      };
}

function made(
  { policies }: TokenRules,
  rule: TokenRule | undefined,
  outcome: string,
  refusal?: Refusal,
): Decision {
  const name = rule?.policy ?? refusal?.policy ?? policies[0] ?? "";
  return decision("callee", "token", outcome, {
    source: sourceOf(
      "RequestAuthentication",
      name,
      rule === undefined ? undefined : `spec.jwtRules[${rule.index}]`,
    ),
    ...(refusal === undefined ? {} : { refusal }),
  });
}
