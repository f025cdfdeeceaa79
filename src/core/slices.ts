/** Long work in slices: what would hold the event loop lets others go first in between. */
import type { Clock } from "./clock.ts";

/** Milliseconds of work between two turns. */
const SLICE = 2;

/** Resolves once the event loop has served what was there. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Runs what cannot be cut in a turn that it shares with nothing. */
export async function inTurnOfItsOwn<T>(run: () => Promise<T>): Promise<T> {
  await nextTurn();
  const result = await run();
  await nextTurn();
  return result;
}

/** Awaited between the steps of long work: waits for the next turn of the event loop once the slice is over. */
export type Pause = () => Promise<void> | undefined;

export function pauses(clock: Pick<Clock, "now">): Pause {
  let until = clock.now() + SLICE;
  return () =>
    clock.now() < until
      ? undefined
      : nextTurn().then(() => {
          until = clock.now() + SLICE;
        });
}

/** Work that may pause at each `yield`; what it returns at the end is what it came to. */
export type Steps<T> = Generator<unknown, T>;

/** Runs the work to its end. Between two steps it should take little of a slice. Works that follow each other share one `pause`, and so their slices. */
export async function inSlices<T>(work: Steps<T>, pause: Pause): Promise<T> {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
    const pausing = pause();
    if (pausing !== undefined) await pausing;
  }
}

/** Runs the work to its end without a pause, where nothing else is to be done. */
export function atOnce<T>(work: Steps<T>): T {
  let step = work.next();
  while (step.done !== true) step = work.next();
  return step.value;
}

/** Items that are looked at in one step. */
const LOOKED = 256;

/** A long list in pieces: one for each step of work that does little with each item. */
export function* pieces<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += LOOKED)
    yield items.slice(at, at + LOOKED);
}

/** Those of a long list that pass the test. */
export function filterSteps<T, S extends T>(
  items: readonly T[],
  test: (item: T) => item is S,
): Steps<S[]>;
export function filterSteps<T>(
  items: readonly T[],
  test: (item: T) => boolean,
): Steps<T[]>;
export function* filterSteps<T>(
  items: readonly T[],
  test: (item: T) => boolean,
): Steps<T[]> {
  const found: T[] = [];
  for (const piece of pieces(items)) {
    yield;
    for (const item of piece) if (test(item)) found.push(item);
  }
  return found;
}

/** Items that are sorted in one step. */
const SORTED = 256;

/** A sorted copy of a long list; what compares as equal stays in its order. */
export function* sortSteps<T>(
  items: readonly T[],
  compare: (left: T, right: T) => number,
): Steps<T[]> {
  let runs: T[][] = [];
  for (let at = 0; at < items.length; at += SORTED) {
    if (at > 0) yield;
    runs.push(items.slice(at, at + SORTED).sort(compare));
  }
  while (runs.length > 1) {
    const longer: T[][] = [];
    for (let at = 0; at < runs.length; at += 2)
      longer.push(yield* merge(runs[at] ?? [], runs[at + 1] ?? [], compare));
    runs = longer;
  }
  return runs[0] ?? [];
}

function* merge<T>(
  left: readonly T[],
  right: readonly T[],
  compare: (left: T, right: T) => number,
): Steps<T[]> {
  const [least] = right;
  const greatest = left.at(-1);
  // Often the list was in order already, or almost.
  if (
    least === undefined ||
    greatest === undefined ||
    compare(greatest, least) <= 0
  )
    return left.concat(right);
  const merged: T[] = [];
  const rights = right[Symbol.iterator]();
  let next = rights.next();
  for (const item of left) {
    while (next.done !== true && compare(next.value, item) < 0) {
      merged.push(next.value);
      next = rights.next();
      if (merged.length % SORTED === 0) yield;
    }
    merged.push(item);
    if (merged.length % SORTED === 0) yield;
  }
  for (; next.done !== true; next = rights.next()) merged.push(next.value);
  return merged;
}
