/**
 * Gives memory back to the system. A start leaves much behind that serving does not need: garbage, a nursery grown by it, pages of
 * the program's file; and the C library keeps what compiling hot code takes for a moment, some 20 MiB, until it is told.
 */
import type { Cancel, Clock } from "../core/clock.ts";
import { libcFunction } from "../core/libc.ts";
import { dropProgramPages } from "../core/program-pages.ts";

/** Milliseconds after which a start is over. */
export const STARTED = 2000;
/** Milliseconds between two looks at the resident set. */
export const TRIM_LOOK = 5000;
/** Octets that it must have grown by to be worth the two milliseconds that a trim takes. */
const WORTH = 4 * 1024 * 1024;

export interface TrimOptions {
  readonly clock: Clock;
  /** Octets resident. */
  readonly resident?: () => number;
  readonly trim?: () => void;
  /** Leaves the start behind. */
  readonly settle?: () => void;
}

/** Starts to look; ends by what it returns. */
export function trimMemory(options: TrimOptions): Cancel {
  const { clock } = options;
  const resident = options.resident ?? (() => process.memoryUsage.rss());
  let trim = options.trim;
  let before = 0;
  const look = (): void => {
    if (resident() < before + WORTH) return;
    trim ??= nativeTrim();
    trim();
    before = resident();
  };
  const cancelSettling = clock.after(STARTED, () => {
    (options.settle ?? leaveStartBehind)();
    look();
  });
  const cancelLooking = clock.every(TRIM_LOOK, look);
  return () => {
    cancelSettling();
    cancelLooking();
  };
}

/** V8 makes the nursery small again in this kind of collection alone; it takes some 50 ms, once. */
function leaveStartBehind(): void {
  globalThis.gc?.({ type: "major", flavor: "last-resort" });
  dropProgramPages();
}

/** glibc's malloc_trim(3), which goes over the pools of all threads; other C libraries have none, and keep less. */
function nativeTrim(): () => void {
  const native = libcFunction("int malloc_trim(size_t pad)");
  return () => void native?.(0);
}
