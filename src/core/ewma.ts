/** Averages that forget: the weight of a sample halves with time, not with the number of samples after it. */

export interface Ewma {
  /** The average as of `now`, decayed towards nothing only where `decayTo` was given. */
  value(now: number): number;
  add(sample: number, now: number): void;
}

/**
 * A peak-sensitive average (Linkerd's and Finagle's Peak EWMA): a sample above the present value replaces it,
 * a lower one is approached with time constant `tau`. Milliseconds throughout.
 */
export function peakEwma(initial: number, tau: number): Ewma {
  let average = initial;
  let updatedAt = Number.NaN;
  return {
    value: () => average,
    add(sample, now) {
      if (sample >= average) {
        average = sample;
      } else {
        const weight = Number.isNaN(updatedAt)
          ? 1
          : Math.exp(-Math.max(0, now - updatedAt) / tau);
        average = average * weight + sample * (1 - weight);
      }
      updatedAt = now;
    },
  };
}
