/**
 * A caller that holds back by itself while a service refuses most of what it sends: a refusal costs the service something too
 * ("Handling Overload", Site Reliability Engineering, Google 2016: client-side throttling).
 */

export interface ThrottleOptions {
  /** K: requests that are sent for each that is accepted, at most. */
  readonly multiplier: number;
  /** Milliseconds. */
  readonly window: number;
}

export interface Throttle {
  /** A request wants to go out; false: it is refused here. Counts either way. `now` in monotonic milliseconds, `random` in [0, 1). */
  request(now: number, random: number): boolean;
  /** The service took one on, whatever it then answered. */
  accepted(now: number): void;
  /** Share of the requests that are refused here now. */
  probability(now: number): number;
}

const SLOTS = 12;

/** Refuses with the probability max(0, (requests − K · accepts) / (requests + 1)) over the window. */
export function makeThrottle({
  multiplier,
  window,
}: ThrottleOptions): Throttle {
  const width = Math.max(1, window / SLOTS);
  const requests = new Float64Array(SLOTS);
  const accepts = new Float64Array(SLOTS);
  let made = 0;
  let taken = 0;
  let current = Number.NaN;

  /** Empties the slots that time has passed by. */
  const advance = (now: number): number => {
    const slot = Math.floor(now / width);
    if (Number.isNaN(current)) current = slot;
    const steps = Math.min(SLOTS, slot - current);
    for (let step = 1; step <= steps; step += 1) {
      const stale = (slot - steps + step) % SLOTS;
      made -= requests[stale] ?? 0;
      taken -= accepts[stale] ?? 0;
      requests[stale] = 0;
      accepts[stale] = 0;
    }
    current = Math.max(current, slot);
    return current % SLOTS;
  };
  const share = (): number =>
    Math.max(0, (made - multiplier * taken) / (made + 1));

  return {
    request(now, random) {
      const slot = advance(now);
      const passes = random >= share();
      requests[slot] = (requests[slot] ?? 0) + 1;
      made += 1;
      return passes;
    },
    accepted(now) {
      const slot = advance(now);
      accepts[slot] = (accepts[slot] ?? 0) + 1;
      taken += 1;
    },
    probability(now) {
      advance(now);
      return share();
    },
  };
}
