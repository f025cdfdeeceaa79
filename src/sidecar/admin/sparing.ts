/** Work that anybody can ask for and that grows with what there is to show: bounded in its share of the event loop, however often it is asked for (law 15). */
import type { Clock } from "../../core/clock.ts";

/** The pause behind each run, in times of what the run took: a tenth of the time at most goes into it. */
const PAUSE = 9;
/** Milliseconds: the longest pause. A caller that asks once a second notices nothing. */
const LONGEST = 1000;

/**
 * `make`, run for all that asked before it began, one run at a time. Nobody gets what was made before the question; a caller that asks too soon
 * after a run waits, and shares the next one.
 */
export function sparing<T>(
  clock: Clock,
  make: () => T | Promise<T>,
): () => Promise<T> {
  /** Settles when the last run is over. */
  let last: Promise<unknown> = Promise.resolve();
  let readyAt = Number.NEGATIVE_INFINITY;
  /** A run that has not begun. */
  let next: Promise<T> | undefined;

  const pause = (): Promise<void> | undefined => {
    const ms = readyAt - clock.now();
    return ms > 0
      ? new Promise((resolve) => clock.after(ms, resolve))
      : undefined;
  };
  const begin = async (): Promise<T> => {
    next = undefined;
    const began = clock.now();
    try {
      return await make();
    } finally {
      const ended = clock.now();
      readyAt = ended + Math.min(LONGEST, (ended - began) * PAUSE);
    }
  };

  return () => {
    if (next === undefined) {
      next = last.then(pause).then(begin);
      last = next.catch(() => undefined);
    }
    return next;
  };
}
