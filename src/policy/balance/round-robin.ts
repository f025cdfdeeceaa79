/** Round robin by weight, smooth: a heavy endpoint's turns are spread out, not taken in a row (nginx's algorithm). */
import { at, type Algorithm, type Candidate } from "./algorithm.ts";

export function roundRobin(): Algorithm {
  return {
    choose<C extends Candidate>(candidates: readonly C[]): C {
      let total = 0;
      let best = at(candidates, 0);
      for (const candidate of candidates) {
        candidate.load.turn += candidate.weight;
        total += candidate.weight;
        if (candidate.load.turn > best.load.turn) best = candidate;
      }
      best.load.turn -= total;
      return best;
    },
  };
}
