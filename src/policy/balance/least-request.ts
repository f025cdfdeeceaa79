/** Least request over two choices: whichever has fewer of our own requests in flight for its weight. */
import { cheaperOfTwo, type Algorithm, type Candidate } from "./algorithm.ts";

export function leastRequest(random: () => number): Algorithm {
  return {
    choose: (candidates, now) =>
      cheaperOfTwo(candidates, random, requests, now),
  };
}

function requests({ load, weight }: Candidate): number {
  return (load.inflight + 1) / weight;
}
