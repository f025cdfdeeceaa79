/** Chance by weight: no state, so many clients do not fall into step. */
import { at, type Algorithm, type Candidate } from "./algorithm.ts";

export function random(draw: () => number): Algorithm {
  return {
    choose<C extends Candidate>(candidates: readonly C[]): C {
      let total = 0;
      for (const { weight } of candidates) total += weight;
      let rest = draw() * total;
      for (const candidate of candidates) {
        rest -= candidate.weight;
        if (rest < 0) return candidate;
      }
      // Rounding may leave a crumb.
      return at(candidates, candidates.length - 1);
    },
  };
}
