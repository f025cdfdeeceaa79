/** How long to wait before trying again: exponential and capped, with jitter where clients that failed together must not return together. */
import type { Clock } from "./clock.ts";

export interface BackoffOptions {
  /** Milliseconds: the upper bound of the first wait. */
  readonly base: number;
  /** Milliseconds: the upper bound of every wait. */
  readonly max: number;
}

/** Milliseconds before attempt `attempt` (1 is the first repeat): min(max, base·2^(attempt−1)). For what concerns one process alone. */
export function exponential(options: BackoffOptions, attempt: number): number {
  return Math.min(options.max, options.base * 2 ** (attempt - 1));
}

/** The same, uniform in [0, that): "full jitter" of AWS's "Exponential Backoff And Jitter". */
export function fullJitter(
  options: BackoffOptions,
  attempt: number,
  clock: Clock,
): number {
  return exponential(options, attempt) * clock.random();
}

/** For a reconnecting loop: at least half of the bound, so that a dead peer is not hammered. */
export function equalJitter(
  options: BackoffOptions,
  attempt: number,
  clock: Clock,
): number {
  const bound = exponential(options, attempt);
  return bound / 2 + (bound / 2) * clock.random();
}
