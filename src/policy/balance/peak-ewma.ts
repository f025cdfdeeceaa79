/** Peak EWMA over two choices: the expected wait, from a latency average that takes bad news at once and good news slowly (Finagle, Linkerd). */
import {
  cheaperOfTwo,
  type Algorithm,
  type Candidate,
  type Load,
} from "./algorithm.ts";

/** Milliseconds: time constant of the average. */
export const TAU = 10_000;
/** Milliseconds: what a new endpoint is taken for (Linkerd). */
export const INITIAL_LATENCY = 30;
/** Milliseconds between two looks at the median. */
const MEDIAN_AGE = 1000;

export function peakEwma(random: () => number): Algorithm {
  let median = Number.POSITIVE_INFINITY;
  let medianAt = Number.NEGATIVE_INFINITY;
  let scratch = new Float64Array(16);
  // Made once: a closure for each pick would be garbage for each pick.
  const cost = ({ load, weight }: Candidate, now: number): number =>
    (estimate(load, median, now) * (load.inflight + 1)) / weight;

  const look = (candidates: readonly Candidate[], now: number): void => {
    medianAt = now;
    if (scratch.length < candidates.length)
      scratch = new Float64Array(candidates.length * 2);
    let count = 0;
    for (const { load } of candidates) {
      scratch[count] = load.latency;
      count += 1;
    }
    const sorted = scratch.subarray(0, count).sort();
    // The lower one of an even number: of two endpoints the better is what the worse returns to.
    median = sorted[Math.floor((count - 1) / 2)] ?? Number.POSITIVE_INFINITY;
  };

  return {
    choose(candidates, now) {
      if (now - medianAt >= MEDIAN_AGE) look(candidates, now);
      return cheaperOfTwo(candidates, random, cost, now);
    },
  };
}

/** The average as of now: an estimate worse than the median decays towards it, or an endpoint that gets no traffic would keep a bad one for ever. */
export function estimate(load: Load, median: number, now: number): number {
  if (load.latency <= median) return load.latency;
  const weight = Math.exp(-Math.max(0, now - load.updatedAt) / TAU);
  return median + (load.latency - median) * weight;
}

/** Takes a sample in milliseconds: one above the average replaces it, a lower one is approached with time constant `TAU`. */
export function recordLatency(load: Load, sample: number, now: number): void {
  if (sample >= load.latency) {
    load.latency = sample;
  } else {
    const weight = Math.exp(-Math.max(0, now - load.updatedAt) / TAU);
    load.latency = sample + (load.latency - sample) * weight;
  }
  load.updatedAt = now;
}
