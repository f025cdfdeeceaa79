/** A clock that moves only when a test says so. */
import type { Clock } from "../../../src/core/clock.ts";

export interface FakeClock extends Clock {
  /** Moves time on by `ms`, running what falls due, in order. */
  advance(ms: number): void;
  /** Moves time on by `ms` in which the event loop stands still: a timer that falls due in it, runs once, and at its end. */
  stall(ms: number): void;
  /** The wall clock alone jumps, by `ms`; no timer runs. */
  jump(ms: number): void;
  /** How many timers wait. */
  readonly pending: number;
}

interface Timer {
  at: number;
  /** Of two that are due at once the lower is the first. */
  readonly number: number;
  readonly run: () => void;
  readonly period: number | undefined;
}

function inOrder(left: Timer, right: Timer): number {
  return left.at - right.at || left.number - right.number;
}

/** Starts at 0 monotonic and `wall` (2026-01-01 by default); `random` returns the numbers given, in turn, or a seeded sequence. */
export function fakeClock(
  options: { wall?: number; random?: () => number } = {},
): FakeClock {
  let epoch = options.wall ?? Date.UTC(2026, 0, 1);
  const random = options.random ?? seededRandom(1);
  /** In the order in which they run. Hours are half a million ticks of some timers, so that little may be done for each. */
  const timers: Timer[] = [];
  let added = 0;
  let now = 0;
  const add = (ms: number, run: () => void, period?: number): (() => void) => {
    added += 1;
    const timer: Timer = { at: now + ms, number: added, run, period };
    let place = timers.length;
    for (
      let before = timers[place - 1];
      before !== undefined && inOrder(before, timer) > 0;
      before = timers[place - 1]
    ) {
      timers[place] = before;
      place -= 1;
    }
    timers[place] = timer;
    return () => remove(timer);
  };
  const remove = (timer: Timer): void => {
    const place = timers.indexOf(timer);
    if (place !== -1) timers.splice(place, 1);
  };
  /** Runs the first; where it is periodic, it is due again at `next`. */
  const runFirst = (timer: Timer, next: number): void => {
    if (timer.period === undefined) timers.shift();
    else {
      timer.at = next;
      let place = 0;
      for (
        let after = timers[1];
        after !== undefined && inOrder(after, timer) < 0;
        after = timers[place + 1]
      ) {
        timers[place] = after;
        place += 1;
      }
      timers[place] = timer;
    }
    timer.run();
  };
  return {
    now: () => now,
    wall: () => epoch + now,
    after: (ms, run) => add(ms, run),
    every: (ms, run) => add(ms, run, ms),
    random,
    get pending() {
      return timers.length;
    },
    stall(ms) {
      now += ms;
      const last = added;
      for (
        let timer = timers[0];
        timer !== undefined && timer.at <= now && timer.number <= last;
        timer = timers[0]
      )
        runFirst(timer, now + (timer.period ?? 0));
    },
    jump(ms) {
      epoch += ms;
    },
    advance(ms) {
      const until = now + ms;
      for (
        let timer = timers[0];
        timer !== undefined && timer.at <= until;
        timer = timers[0]
      ) {
        now = Math.max(now, timer.at);
        runFirst(timer, timer.at + (timer.period ?? 0));
      }
      now = until;
    },
  };
}

/** The same clock on a machine whose wall clock is `by()` milliseconds ahead. */
export function shiftedClock(clock: Clock, by: () => number): Clock {
  return {
    now: () => clock.now(),
    wall: () => clock.wall() + by(),
    after: (ms, run) => clock.after(ms, run),
    every: (ms, run) => clock.every(ms, run),
    random: () => clock.random(),
  };
}

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Milliseconds that go by in a turn of the event loop: so few that what happens in a hundred turns happens at once. */
const CREEP = 0.1;

/** Lets the clock go on, a little in each turn of the event loop, until the promise is settled. */
export async function passing<T>(
  clock: FakeClock,
  promise: Promise<T>,
): Promise<{ readonly value: T; /** By this clock. */ readonly ms: number }> {
  const began = clock.now();
  const state = { settled: false };
  const value = promise.finally(() => (state.settled = true));
  // Its failure is the caller's to see, below.
  value.catch(() => undefined);
  while (!state.settled) {
    clock.advance(CREEP);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { value: await value, ms: clock.now() - began };
}
