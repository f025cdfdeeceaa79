/** How many failures of enrolment are reported and logged one by one. */
import type { Clock } from "../../core/clock.ts";
import { networkOf } from "../../core/text/network.ts";
import { tokenBucket, TokenBuckets } from "../../core/token-bucket.ts";

/**
 * Failures of one source and of all that are reported and logged one by one, and how fast that comes back (a second). Beyond it they are
 * still looked at: a good token works whatever shares its address, and the 256 random bits of a token cannot be guessed at any rate.
 */
export const PER_SOURCE = { burst: 10, rate: 1 } as const;
export const TOGETHER = { burst: 200, rate: 50 } as const;
/** Sources whose failures are remembered. */
const MOST_SOURCES = 10_000;
export interface FailureLimit {
  /** Whether a failure of this address is reported and logged. */
  mayTell(remote: string): boolean;
}

/** Limits what is said of failures. Nobody is kept from trying. */
export function failureLimit(clock: Clock): FailureLimit {
  const together = tokenBucket(TOGETHER);
  const sources = new TokenBuckets(PER_SOURCE, MOST_SOURCES);
  return {
    mayTell(remote) {
      const now = clock.now();
      return sources.take(networkOf(remote), now) && together.take(now);
    },
  };
}
