/** How long to wait before trying again: exponential, capped, full jitter, so that clients that failed together do not return together. */
import type { Clock } from "./clock.ts";

export interface BackoffOptions {
  /** Milliseconds: the upper bound of the first wait. */
  readonly base: number;
  /** Milliseconds: the upper bound of every wait. */
  readonly max: number;
}

/**
 * Milliseconds to wait before attempt `attempt` (1 is the first repeat): uniform in [0, min(max, base·2^(attempt−1))).
 * "Full jitter" of AWS's "Exponential Backoff And Jitter".
 */
export function fullJitter(
  options: BackoffOptions,
  attempt: number,
  clock: Clock,
): number {
  const bound = Math.min(options.max, options.base * 2 ** (attempt - 1));
  return bound * clock.random();
}

/** Milliseconds for a reconnecting loop: at least half of the bound, so that a dead peer is not hammered. */
export function equalJitter(
  options: BackoffOptions,
  attempt: number,
  clock: Clock,
): number {
  const bound = Math.min(options.max, options.base * 2 ** (attempt - 1));
  return bound / 2 + (bound / 2) * clock.random();
}
