/** The one source of time, timers and chance: a test replaces it and nothing in the product waits for real (law 11). */
import type { MonotonicMs, WallMs } from "./units.ts";

/** Calls off what was to happen. Calling it again, or late, does nothing. */
export type Cancel = () => void;

export interface Clock {
  /** Monotonic milliseconds with a fraction, the same in all threads of the process; for measuring, never for showing. */
  now(): MonotonicMs;
  /** Milliseconds since the Unix epoch; for showing and for expiry dates, never for measuring. */
  wall(): WallMs;
  /** Runs `run` once after `ms`. The timer does not keep the process alive. */
  after(ms: number, run: () => void): Cancel;
  /** Runs `run` every `ms` until cancelled. The timer does not keep the process alive. */
  every(ms: number, run: () => void): Cancel;
  /** Uniform in [0, 1). Keys, tokens and ids come from node:crypto instead. */
  random(): number;
}

/** Milliseconds, 24 days: the longest delay that Node's timers take; longer ones would fire at once, and go in parts. */
const LONGEST = 2 ** 31 - 1;

/** Taken once: of the global object it is a getter, which every look at the time would call. */
const { performance } = globalThis;

/** Each thread's `performance` starts at 0 when the thread does; threads that share a rate limit need one time. */
const ORIGIN = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export const systemClock: Clock = {
  now: () => ORIGIN + performance.now(),
  wall: () => Date.now(),
  after(ms, run) {
    let left = ms;
    let timer: NodeJS.Timeout;
    const start = (): void => {
      const part = Math.min(left, LONGEST);
      left -= part;
      timer = setTimeout(left > 0 ? start : run, part);
      timer.unref();
    };
    start();
    return () => clearTimeout(timer);
  },
  every(ms, run) {
    const timer = setInterval(run, Math.min(ms, LONGEST));
    timer.unref();
    return () => clearInterval(timer);
  },
  random: () => Math.random(),
};

/** Waits `ms`, or until `signal` aborts: then it rejects with the signal's reason (law 4). */
export function wait(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      cancel();
      reject(signal.reason as Error);
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * As `clock.after`, but what has arrived until then is heard first. Where the event loop stood still, timers come before what arrived
 * meanwhile: our own stall would pass for the other end's silence.
 */
export function afterArrivals(
  clock: Clock,
  ms: number,
  run: () => void,
): Cancel {
  let over = false;
  const cancel = clock.after(ms, () => {
    setImmediate(() => {
      if (!over) run();
    });
  });
  return () => {
    over = true;
    cancel();
  };
}

/** Milliseconds by which the two may differ between two looks: a clock that is slewed stays far below it. */
export const JUMP = 5000;
/** Milliseconds between two looks. */
const LOOK_EVERY = 1000;

/** `onJump` hears by how many milliseconds it moved forward, or backward below 0. A machine that wakes from sleep has jumped forward. */
export function watchJumps(clock: Clock, onJump: (ms: number) => void): Cancel {
  let last = clock.wall() - clock.now();
  return clock.every(LOOK_EVERY, () => {
    const difference = clock.wall() - clock.now();
    const moved = difference - last;
    last = difference;
    if (Math.abs(moved) >= JUMP) onJump(moved);
  });
}

/** Milliseconds since the epoch to the RFC 3339 text that people and files read. */
export function timestamp(wall: WallMs): string {
  return new Date(wall).toISOString();
}

/** RFC 3339 text to milliseconds since the epoch; NaN where it is not a date. */
export function parseTimestamp(text: string): WallMs {
  return Date.parse(text);
}

/** A time of `wall`, for libraries that take a Date. */
export function dateOf(wall: WallMs): Date {
  return new Date(wall);
}
