/**
 * Consistent hashing: endpoints stand on a ring, each at many places, and a request goes to the next one from its own hash on; where
 * one leaves, only its own requests move (Karger 1997). With a bound on the load of each, a busy endpoint's requests go on to the
 * next (Mirrokni 2018).
 *
 * Places follow from the keys of the endpoints alone: all callers have the same ring.
 */

/** Places of an endpoint of weight 1: the shares of equals then differ by some 6 %. */
const PLACES = 256;
/** On the whole ring. */
const MOST_PLACES = 65_536;

export interface RingMember {
  readonly key: string;
  /** Above 0. */
  readonly weight: number;
}

/** The places in order, and the index of the member at each. */
export interface Ring {
  readonly places: Uint32Array;
  readonly owners: Uint32Array;
}

export function makeRing(members: readonly RingMember[]): Ring {
  const total = members.reduce((sum, { weight }) => sum + weight, 0);
  // By halves, and by none as a rule: were the number of places to follow from the others, one that leaves would move what was theirs.
  const halves = Math.max(
    0,
    Math.ceil(Math.log2((PLACES * total) / MOST_PLACES)),
  );
  const places = PLACES / 2 ** halves;
  const points: { readonly place: number; readonly owner: number }[] = [];
  members.forEach(({ key, weight }, owner) => {
    const count = Math.max(1, Math.round(places * weight));
    for (let index = 0; index < count; index += 1)
      points.push({ place: hashText(`${key}_${index}`), owner });
  });
  // The first by key has a place that two come to, whatever order the members came in.
  const keyOf = (owner: number): string => members[owner]?.key ?? "";
  points.sort(
    (left, right) =>
      left.place - right.place ||
      (keyOf(left.owner) < keyOf(right.owner) ? -1 : 1),
  );
  return {
    places: Uint32Array.from(points, ({ place }) => place),
    owners: Uint32Array.from(points, ({ owner }) => owner),
  };
}

/** Index of the first place at or after the hash; round the end it is the first of all. */
export function placeOf({ places }: Ring, hash: number): number {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((places[middle] ?? 0) < hash) low = middle + 1;
    else high = middle;
  }
  return low === places.length ? 0 : low;
}

/** 32 bits of a text: FNV-1a, and the finaliser of MurmurHash3, for FNV spreads the last characters badly. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
