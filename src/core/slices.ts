/** Long work in slices: what would hold the event loop lets others go first in between. */
import type { Clock } from "./clock.ts";

/** Milliseconds of work between two turns. */
const SLICE = 10;

/** Resolves once the event loop has served what was there. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Awaited between the steps of long work: waits for the next turn of the event loop once the slice is over. */
export type Pause = () => Promise<void> | undefined;

export function pauses(clock: Pick<Clock, "now">): Pause {
  let began = clock.now();
  return () =>
    clock.now() - began < SLICE
      ? undefined
      : nextTurn().then(() => {
          began = clock.now();
        });
}
