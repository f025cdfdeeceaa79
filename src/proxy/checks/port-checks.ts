/** Which checks the requests for a port have to pass, in their order: tokens, then the providers of action CUSTOM (Istio's order). */
import type { Checks } from "./check.ts";
import {
  makeCustomChecks,
  type CustomChecksOptions,
} from "./providers/custom-checks.ts";
import { TokenCheck } from "./tokens/token-check.ts";
import type { TokenVerifier } from "./tokens/token-verifier.ts";

/** Close it. */
export interface OwnChecks extends Checks {
  close(): void;
}

export function makeChecks(
  tokens: Pick<TokenVerifier, "known" | "verify">,
  options: CustomChecksOptions,
): OwnChecks {
  const ofTokens = [new TokenCheck(tokens)];
  const custom = makeCustomChecks(options);
  return {
    of(snapshot, port) {
      if (port.custom === undefined)
        return port.tokens === undefined ? undefined : ofTokens;
      const asked = custom.of(snapshot, port);
      return port.tokens === undefined ? asked : [...ofTokens, ...asked];
    },
    close: () => custom.close(),
  };
}
