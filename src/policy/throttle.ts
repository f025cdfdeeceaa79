/**
 * A caller that holds back by itself while a service refuses most of what it sends: a refusal costs the service something too
 * ("Handling Overload", Site Reliability Engineering, Google 2016: client-side throttling).
 */

import { slidingCount } from "../core/sliding-count.ts";
import type { MonotonicMs } from "../core/units.ts";

export interface ThrottleOptions {
  /** K: requests that are sent for each that is accepted, at most. */
  readonly multiplier: number;
  /** Milliseconds. */
  readonly window: number;
}

export interface Throttle {
  /** A request wants to go out; false: it is refused here. Counts either way. `now` in monotonic milliseconds, `random` in [0, 1). */
  request(now: MonotonicMs, random: number): boolean;
  /** The service took one on, whatever it then responded. */
  accepted(now: MonotonicMs): void;
  /** Share of the requests that are refused here now. */
  probability(now: MonotonicMs): number;
}

const SLOTS = 12;

/** Refuses with the probability max(0, (requests − K · accepts) / (requests + 1)) over the window. */
export function makeThrottle({
  multiplier,
  window,
}: ThrottleOptions): Throttle {
  const requests = slidingCount(window, SLOTS);
  const accepts = slidingCount(window, SLOTS);
  const share = (now: MonotonicMs): number => {
    const made = requests.total(now);
    return Math.max(0, (made - multiplier * accepts.total(now)) / (made + 1));
  };

  return {
    request(now, random) {
      const passes = random >= share(now);
      requests.add(now);
      return passes;
    },
    accepted: (now) => accepts.add(now),
    probability: share,
  };
}
