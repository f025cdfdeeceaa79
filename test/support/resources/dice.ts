/** Chance for tests: the same for the same seed. */

/** Draws in [0, 1), the same for the same seed (Mulberry32, public domain). */
export type Draw = () => number;

export function seeded(seed: number): Draw {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What draws make of it. */
export function dice(draw: Draw): {
  readonly pick: <T>(from: readonly T[]) => T;
  readonly chance: (share: number) => boolean;
  readonly upTo: (most: number) => number;
  readonly some: <T>(most: number, make: () => T) => T[];
} {
  const upTo = (most: number): number => Math.floor(draw() * (most + 1));
  return {
    upTo,
    chance: (share) => draw() < share,
    pick(from) {
      const picked = from[Math.floor(draw() * from.length)];
      if (picked === undefined) throw new Error("nothing to pick from");
      return picked;
    },
    some: (most, make) => Array.from({ length: upTo(most) }, make),
  };
}
