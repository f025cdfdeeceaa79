/** The endpoint that a request hashes to: the first on the ring that is in, was not tried, and is not over its share of the load. */
import type { Load } from "./algorithm.ts";
import { makeRing, placeOf, type Ring } from "./ring.ts";

export interface HashedMember {
  readonly key: string;
  readonly weight: number;
  readonly load: Load;
  /** In balancing at present. */
  open: boolean;
}

export interface HashedChoice<M> {
  /** Undefined where none is in. */
  choose(
    hash: number,
    open: readonly M[],
    exclude: ReadonlySet<string> | undefined,
  ): M | undefined;
}

/** `balanceFactor`: percent of the average load that an endpoint bears at most; 0 is off. */
export function hashedChoice<M extends HashedMember>(
  members: readonly M[],
  balanceFactor: number,
): HashedChoice<M> {
  const ring: Ring = makeRing(members);
  return {
    choose(hash, open, exclude) {
      const { owners } = ring;
      const most =
        balanceFactor === 0
          ? Number.POSITIVE_INFINITY
          : bound(open, balanceFactor);
      let untried: M | undefined;
      let any: M | undefined;
      const start = placeOf(ring, hash);
      for (let step = 0; step < owners.length; step += 1) {
        const owner = owners[(start + step) % owners.length] ?? 0;
        const member = members[owner];
        if (member?.open !== true) continue;
        any ??= member;
        if (exclude?.has(member.key) === true) continue;
        untried ??= member;
        if (member.load.inflight < most * member.weight) return member;
      }
      // Over the bound rather than nowhere; one that was tried rather than none.
      return untried ?? any;
    },
  };
}

/** Requests that one endpoint of weight 1 may have in flight. */
function bound(open: readonly HashedMember[], factor: number): number {
  let total = 1;
  let weights = 0;
  for (const { load, weight } of open) {
    total += load.inflight;
    weights += weight;
  }
  return Math.ceil(((total / weights) * factor) / 100);
}
