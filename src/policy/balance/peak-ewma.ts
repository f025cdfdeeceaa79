/** Peak EWMA over two choices: the expected wait, from a latency average that takes bad news at once and good news slowly (Finagle, Linkerd). */
import type { MonotonicMs } from "../../core/units.ts";
import {
  cheaperOfTwo,
  explored,
  type Algorithm,
  type Candidate,
  type Load,
} from "./algorithm.ts";
import { makeQuantile } from "./quantile.ts";

/** Milliseconds: time constant of the average. */
export const TAU = 10_000;
/** Milliseconds: what a new endpoint is taken for (Linkerd). */
export const INITIAL_LATENCY = 30;
/** Milliseconds between two looks at the median. */
const MEDIAN_AGE = 1000;

export function peakEwma(random: () => number): Algorithm {
  let median = Number.POSITIVE_INFINITY;
  let medianAt = Number.NEGATIVE_INFINITY;
  // Made once: a closure for each pick would be garbage for each pick.
  const quantile = makeQuantile(({ load }) => measured(load));
  const cost = ({ load, weight }: Candidate, now: MonotonicMs): number =>
    (expected(load, median, now) * (load.inflight + 1)) / weight;

  return {
    choose(candidates, now) {
      // As long as nothing is known, the first to respond is to be known at once.
      if (now - medianAt >= MEDIAN_AGE || median === Number.POSITIVE_INFINITY) {
        medianAt = now;
        // The lower one of an even number: of two endpoints the better is what the worse returns to.
        median = quantile(candidates, 0.5, now);
      }
      return (
        explored(candidates, random, now) ??
        cheaperOfTwo(candidates, random, cost, now)
      );
    },
  };
}

/** NaN where nothing was ever measured. */
export function measured({ latency, updatedAt }: Load): number {
  return updatedAt === Number.NEGATIVE_INFINITY ? Number.NaN : latency;
}

/** The average as of now: an estimate worse than the median decays towards it, or an endpoint that gets no traffic would keep a bad one for ever. One that was never measured is taken for the median at most. */
export function estimate(load: Load, median: number, now: MonotonicMs): number {
  if (load.latency <= median) return load.latency;
  const weight = Math.exp(-Math.max(0, now - load.updatedAt) / TAU);
  return median + (load.latency - median) * weight;
}

/** The estimate, or what the oldest request has waited for already where that is longer: news of a response that does not come. */
export function expected(load: Load, median: number, now: MonotonicMs): number {
  return Math.max(estimate(load, median, now), load.calls.waited(now));
}

/** Takes a sample in milliseconds: one above the average replaces it, a lower one is approached with time constant `TAU`. */
export function recordLatency(
  load: Load,
  sample: number,
  now: MonotonicMs,
): void {
  if (sample >= load.latency) {
    load.latency = sample;
  } else {
    const weight = Math.exp(-Math.max(0, now - load.updatedAt) / TAU);
    load.latency = sample + (load.latency - sample) * weight;
  }
  load.updatedAt = now;
}
