/** Simulated time: events in order, a clock that stands still between them, and chance from a seed. */
import type { Cancel, Clock } from "../../src/core/clock.ts";
import { seededRandom } from "../../test/support/clocks/fake-clock.ts";

export interface Engine extends Clock {
  /** Runs everything that falls due up to `end`, in milliseconds. */
  run(end: number): void;
}

interface Event {
  readonly at: number;
  /** Events of one moment happen in the order in which they were made. */
  readonly order: number;
  run: (() => void) | undefined;
}

export function makeEngine(seed: number): Engine {
  const heap: Event[] = [];
  const random = seededRandom(seed);
  let now = 0;
  let order = 0;

  const after = (ms: number, run: () => void): Cancel => {
    const event: Event = { at: now + Math.max(0, ms), order: order++, run };
    push(heap, event);
    return () => (event.run = undefined);
  };
  return {
    now: () => now,
    wall: () => now,
    random,
    after,
    every(ms, run) {
      let cancel: Cancel = () => undefined;
      const again = (): void => {
        cancel = after(ms, () => {
          again();
          run();
        });
      };
      again();
      return () => cancel();
    },
    run(end) {
      for (
        let next = heap[0];
        next !== undefined && next.at <= end;
        next = heap[0]
      ) {
        pop(heap);
        now = next.at;
        next.run?.();
      }
      now = end;
    },
  };
}

function isEarlier(left: Event, right: Event): boolean {
  return (
    left.at < right.at || (left.at === right.at && left.order < right.order)
  );
}

function push(heap: Event[], event: Event): void {
  let index = heap.push(event) - 1;
  while (index > 0) {
    const above = (index - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || isEarlier(parent, event)) break;
    heap[index] = parent;
    index = above;
  }
  heap[index] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    let below = 2 * index + 1;
    let child = heap[below];
    const right = heap[below + 1];
    if (child === undefined) break;
    if (right !== undefined && isEarlier(right, child)) {
      child = right;
      below += 1;
    }
    if (isEarlier(last, child)) break;
    heap[index] = child;
    index = below;
  }
  heap[index] = last;
}

/** Milliseconds, exponential with that mean. */
export function exponential(random: () => number, mean: number): number {
  return -mean * Math.log(1 - random());
}

/** Lognormal with that mean and that deviation of its logarithm. */
export function lognormal(
  random: () => number,
  mean: number,
  sigma: number,
): number {
  const normal =
    Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return mean * Math.exp(sigma * normal - (sigma * sigma) / 2);
}
