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

/** Work that may pause at each `yield`; what it returns at the end is what it came to. */
export type Steps<T> = Generator<unknown, T>;

/** Milliseconds of work at a time in a process that serves calls. */
const SHORT = 2;

/** Runs the work to its end. Between two pauses it should take little of a slice. */
export async function inSlices<T>(work: Steps<T>, clock: Clock): Promise<T> {
  let until = clock.now() + SHORT;
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
    if (clock.now() < until) continue;
    await nextTurn();
    until = clock.now() + SHORT;
  }
}

/** Runs the work to its end without a pause: for whoever has nothing else to do. */
export function atOnce<T>(work: Steps<T>): T {
  let step = work.next();
  while (step.done !== true) step = work.next();
  return step.value;
}
