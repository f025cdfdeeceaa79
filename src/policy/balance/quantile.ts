/** A quantile over candidates, sorted in a typed array that is used again: looked at now and then, never at each pick. */
import type { MonotonicMs } from "../../core/units.ts";
import type { Candidate } from "./algorithm.ts";

export type Quantile = (
  candidates: readonly Candidate[],
  /** Above 0, at most 1; the nearest rank, so that it is always a value of one of them. */
  share: number,
  now: MonotonicMs,
) => number;

export function makeQuantile(
  /** NaN where nothing is known of it: then it is left out. */
  value: (candidate: Candidate, now: MonotonicMs) => number,
): Quantile {
  let scratch = new Float64Array(16);
  return (candidates, share, now) => {
    const count = candidates.length;
    if (scratch.length < count) scratch = new Float64Array(count * 2);
    let known = 0;
    for (const candidate of candidates) {
      const figure = value(candidate, now);
      if (Number.isNaN(figure)) continue;
      scratch[known] = figure;
      known += 1;
    }
    const sorted = scratch.subarray(0, known).sort();
    return sorted[Math.ceil(known * share) - 1] ?? Number.POSITIVE_INFINITY;
  };
}
