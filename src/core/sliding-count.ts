/** How often something happened in the last so many milliseconds; what is older is forgotten slot by slot. */
import type { MonotonicMs } from "./units.ts";

export interface SlidingCount {
  /** It happened. `now` in monotonic milliseconds. */
  add(now: MonotonicMs): void;
  total(now: MonotonicMs): number;
}

/** `window` in milliseconds. */
export function slidingCount(window: number, slots: number): SlidingCount {
  const width = Math.max(1, window / slots);
  const counts = new Float64Array(slots);
  let total = 0;
  let current = Number.NaN;

  /** Empties the slots that time has passed by; gives the present one. */
  const advance = (now: MonotonicMs): number => {
    const slot = Math.floor(now / width);
    if (Number.isNaN(current)) current = slot;
    const steps = Math.min(slots, slot - current);
    for (let step = 1; step <= steps; step += 1) {
      const stale = (slot - steps + step) % slots;
      total -= counts[stale] ?? 0;
      counts[stale] = 0;
    }
    current = Math.max(current, slot);
    return current % slots;
  };

  return {
    add(now) {
      const slot = advance(now);
      counts[slot] = (counts[slot] ?? 0) + 1;
      total += 1;
    },
    total(now) {
      advance(now);
      return total;
    },
  };
}
