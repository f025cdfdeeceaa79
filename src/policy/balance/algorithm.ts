/** What every balancing algorithm is given and gives: candidates with their load in, one of them out. */

/** What a client knows of the load of one endpoint; kept over changes of configuration and of algorithm. */
export interface Load {
  /** Own requests under way. */
  inflight: number;
  /** Milliseconds: peak-sensitive average of the latency, as of `updatedAt`. */
  latency: number;
  updatedAt: number;
  /** Standing of the smooth weighted round robin. */
  turn: number;
}

export interface Candidate {
  /** Above 0. */
  readonly weight: number;
  readonly load: Load;
}

export interface Algorithm {
  /** One of `candidates`, of which there is one at least. Must not allocate. */
  choose<C extends Candidate>(candidates: readonly C[], now: number): C;
}

/** Two different candidates by chance, the cheaper of the two: Mitzenmacher's "power of two choices". */
export function cheaperOfTwo<C extends Candidate>(
  candidates: readonly C[],
  random: () => number,
  cost: (candidate: C, now: number) => number,
  now: number,
): C {
  const count = candidates.length;
  const one = Math.floor(random() * count);
  const left = at(candidates, one);
  if (count === 1) return left;
  let other = Math.floor(random() * (count - 1));
  if (other >= one) other += 1;
  const right = at(candidates, other);
  return cost(right, now) < cost(left, now) ? right : left;
}

/** The candidate at an index that is known to be within the list. */
export function at<C extends Candidate>(
  candidates: readonly C[],
  index: number,
): C {
  const candidate = candidates[index];
  if (candidate === undefined)
    throw new RangeError(`no candidate ${index} of ${candidates.length}`);
  return candidate;
}
