/** Which checks the requests for a port have to pass, in their order. */
import type { Checks } from "./check.ts";
import { TokenCheck } from "./tokens/token-check.ts";
import type { TokenVerifier } from "./tokens/token-verifier.ts";

export function makeChecks(
  tokens: Pick<TokenVerifier, "known" | "verify">,
): Checks {
  const ofTokens = [new TokenCheck(tokens)];
  return {
    of: (_snapshot, port) => (port.tokens === undefined ? undefined : ofTokens),
  };
}
