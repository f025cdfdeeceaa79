/** How long something took lately, as a histogram with a bucket for each doubling: cheap to write, and good enough to tell slow from silent. */

/** The first bucket ends at a sixteenth of a millisecond, the last at 37 hours. */
const PER_MS = 16;
const BUCKETS = 32;

export class Durations {
  /** Made with the first: most endpoints of a large mesh are never called from here. */
  #counts: Uint32Array | undefined;

  /** `ms` below 0 counts as 0. */
  add(ms: number): void {
    const bucket = Math.min(BUCKETS - 1, 32 - Math.clz32(ms * PER_MS));
    this.#counts ??= new Uint32Array(BUCKETS);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  /** Halves all counts, so that what was long ago weighs less. */
  fade(): void {
    const counts = this.#counts;
    if (counts === undefined) return;
    for (let bucket = 0; bucket < BUCKETS; bucket += 1)
      counts[bucket] = (counts[bucket] ?? 0) >> 1;
  }

  /** Adds the counts to `sums`, which has a place for each bucket, or takes them away with `times` -1. */
  addTo(sums: Float64Array, times = 1): void {
    const counts = this.#counts;
    if (counts === undefined) return;
    for (let bucket = 0; bucket < BUCKETS; bucket += 1)
      sums[bucket] = (sums[bucket] ?? 0) + times * (counts[bucket] ?? 0);
  }
}

/** A place for each bucket. */
export function emptySums(): Float64Array {
  return new Float64Array(BUCKETS);
}

/** Milliseconds that so great a share took at most, rounded up to the end of its bucket; undefined where nothing is known. */
export function quantileOf(
  sums: Float64Array,
  share: number,
): number | undefined {
  let total = 0;
  for (const count of sums) total += count;
  if (total === 0) return undefined;
  let below = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
    below += sums[bucket] ?? 0;
    if (below >= total * share) return 2 ** bucket / PER_MS;
  }
  return 2 ** (BUCKETS - 1) / PER_MS;
}
