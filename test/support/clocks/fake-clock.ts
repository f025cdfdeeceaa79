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
  readonly run: () => void;
  readonly period: number | undefined;
}

/** Starts at 0 monotonic and `wall` (2026-01-01 by default); `random` returns the numbers given, in turn, or a seeded sequence. */
export function fakeClock(
  options: { wall?: number; random?: () => number } = {},
): FakeClock {
  let epoch = options.wall ?? Date.UTC(2026, 0, 1);
  const random = options.random ?? seededRandom(1);
  const timers = new Set<Timer>();
  let now = 0;
  const add = (timer: Timer): (() => void) => {
    timers.add(timer);
    return () => timers.delete(timer);
  };
  const nextDue = (until: number): Timer | undefined => {
    let due: Timer | undefined;
    for (const timer of timers)
      if (timer.at <= until && (due === undefined || timer.at < due.at))
        due = timer;
    return due;
  };
  return {
    now: () => now,
    wall: () => epoch + now,
    after: (ms, run) => add({ at: now + ms, run, period: undefined }),
    every: (ms, run) => add({ at: now + ms, run, period: ms }),
    random,
    get pending() {
      return timers.size;
    },
    stall(ms) {
      now += ms;
      for (const timer of [...timers].sort((a, b) => a.at - b.at)) {
        if (timer.at > now || !timers.has(timer)) continue;
        if (timer.period === undefined) timers.delete(timer);
        else timer.at = now + timer.period;
        timer.run();
      }
    },
    jump(ms) {
      epoch += ms;
    },
    advance(ms) {
      const until = now + ms;
      for (
        let timer = nextDue(until);
        timer !== undefined;
        timer = nextDue(until)
      ) {
        now = Math.max(now, timer.at);
        if (timer.period === undefined) timers.delete(timer);
        else timer.at += timer.period;
        timer.run();
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
