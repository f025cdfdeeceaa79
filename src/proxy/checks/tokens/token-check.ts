/** The check of a request's tokens: one that satisfies no rule refuses it, and a verified one names its user (RequestAuthentication). */
import { dashed } from "../../../mesh/field-class.ts";
import { messageOf } from "../../../core/errors.ts";
import { MeshError } from "../../../mesh/errors.ts";
import type { InboundPort } from "../../../policy/snapshot.ts";
import {
  findTokens,
  type FoundToken,
  type TokenRequest,
} from "../../../policy/tokens/find-tokens.ts";
import {
  tokenEdits,
  type VerifiedToken,
} from "../../../policy/tokens/token-edits.ts";
import type { TokenRules } from "../../../policy/tokens/token-rules.ts";
import type { Check, Question } from "../check.ts";
import type { CheckedRequest } from "../checked-request.ts";
import type { TokenRefusal, TokenVerifier } from "./token-verifier.ts";

/** Which tells the principal of two is nobody's to choose. */
const TOO_MANY = "the request has more than one token";

/** Milliseconds beside the time of the fetches, for the cryptography. */
const GRACE = 2000;

export class TokenCheck implements Check {
  readonly #verifier: Pick<TokenVerifier, "known" | "verify">;

  constructor(verifier: Pick<TokenVerifier, "known" | "verify">) {
    this.#verifier = verifier;
  }

  begin(request: CheckedRequest): Question | MeshError | undefined {
    const { tokens: rules } = request.port;
    // A tunnel has no token.
    if (rules === undefined || request.read === undefined) return undefined;
    const found = findTokens(rules, request.held.head);
    const [first, second] = found;
    // None is verified: a stranger could have any number of them.
    if (second !== undefined)
      return tokenError({
        code: "TOKEN_INVALID",
        why: TOO_MANY,
        policy: first?.rules[0]?.policy ?? "",
      });
    const known = first && this.#verifier.known(first);
    if (first !== undefined && known === undefined)
      return this.#question(request, rules, first);
    pass(request, rules, first, known);
    return undefined;
  }

  #question(
    request: CheckedRequest,
    rules: TokenRules,
    found: FoundToken,
  ): Question {
    return {
      timeout: longestOf(rules) + GRACE,
      ask: (done) => {
        let isOver = false;
        const settle = (verdict: () => MeshError | undefined): void => {
          if (!isOver) done(verdict);
        };
        this.#verifier.verify(found).then(
          (result) =>
            settle(() => {
              if (!result.ok) return tokenError(result.refusal);
              pass(request, rules, found, result.token);
              return undefined;
            }),
          // What verifies cannot be loaded, say.
          (thrown: unknown) =>
            settle(() =>
              tokenError({
                code: "TOKEN_KEYS_UNAVAILABLE",
                why: messageOf(thrown),
                policy: rules.policies[0] ?? "",
              }),
            ),
        );
        return () => {
          isOver = true;
        };
      },
      late: () =>
        tokenError({
          code: "TOKEN_KEYS_UNAVAILABLE",
          why: "the token could not be verified in time",
          policy: rules.policies[0] ?? "",
        }),
    };
  }
}

/** Milliseconds: a fetch of the OpenID document and one of the keys. */
function longestOf({ rules }: TokenRules): number {
  return Math.max(
    ...rules.map(({ keys }) => (keys.kind === "inline" ? 0 : 2 * keys.timeout)),
  );
}

/** Notes the token, and takes out of the request what only we may say, and the token. */
function pass(
  request: CheckedRequest,
  rules: TokenRules,
  found: FoundToken | undefined,
  token: VerifiedToken | undefined,
): void {
  request.token = token;
  request.wrote(token?.outputs ?? []);
  const edits = tokenEdits(rules, request.held.head, found, token);
  if (edits !== undefined) request.edit(edits, edits.path);
  // Some applications take trailers for headers.
  request.held.reserve((name) => {
    const spelling = dashed(name);
    return rules.outputs.has(spelling) || rules.headers.has(spelling);
  });
}

/** As RFC 6750 3 has it. */
function tokenError({ code, why, policy }: TokenRefusal): MeshError {
  const challenge = `Bearer error="invalid_token", error_description="${why}"`;
  return new MeshError(code, why, {
    policy,
    ...(code === "TOKEN_AUDIENCE"
      ? {}
      : { answer: { fields: [["www-authenticate", challenge]] } }),
  });
}

/**
 * Why a request in flight is refused by rules that are new to it: its token was verified by a rule that is gone, or never was. It is
 * not verified again, because nobody waits for it; its caller comes back.
 */
export function tokenRefusedAnew(
  { tokens }: InboundPort,
  request: TokenRequest,
  token: VerifiedToken | undefined,
): MeshError | undefined {
  if (tokens === undefined) return undefined;
  const stands =
    token === undefined
      ? findTokens(tokens, request).length === 0
      : tokens.rules.some(({ id }) => id === token.rule.id);
  return stands
    ? undefined
    : tokenError({
        code: "TOKEN_INVALID",
        why: "the rules for tokens have changed",
        policy: tokens.policies[0] ?? "",
      });
}
