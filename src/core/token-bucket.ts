/** A bucket that fills at a steady rate: retry floors, rate limits and log limits take from one. */
import type { MonotonicMs } from "./units.ts";

export interface TokenBucketOptions {
  /** Tokens a second. */
  readonly rate: number;
  /** Tokens that the bucket holds at most; it starts full. */
  readonly burst: number;
}

export interface TokenBucket {
  /** Takes one token if there is one. `now` in monotonic milliseconds. */
  take(now: MonotonicMs): boolean;
  /** Tokens there now, with a fraction. */
  level(now: MonotonicMs): number;
}

export function tokenBucket(options: TokenBucketOptions): TokenBucket {
  let tokens = options.burst;
  let filledAt = Number.NaN;
  const fill = (now: MonotonicMs): void => {
    if (now > filledAt)
      tokens = Math.min(
        options.burst,
        tokens + ((now - filledAt) * options.rate) / 1000,
      );
    // NaN at first use: no time has passed yet.
    if (!(now <= filledAt)) filledAt = now;
  };
  return {
    take(now) {
      fill(now);
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
    level(now) {
      fill(now);
      return tokens;
    },
  };
}

/** A bucket for each that takes from one: by address, by instance. The one that took the longest ago is forgotten first. */
export class TokenBuckets {
  readonly #options: TokenBucketOptions;
  readonly #most: number;
  readonly #buckets = new Map<string, TokenBucket>();

  /** `most`: takers that are remembered. */
  constructor(options: TokenBucketOptions, most: number) {
    this.#options = options;
    this.#most = most;
  }

  /** Takes one of the taker's tokens if it has one. */
  take(taker: string, now: MonotonicMs): boolean {
    const bucket = this.#buckets.get(taker) ?? tokenBucket(this.#options);
    this.#buckets.delete(taker);
    this.#buckets.set(taker, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > this.#most && oldest !== undefined)
      this.#buckets.delete(oldest);
    return bucket.take(now);
  }
}
