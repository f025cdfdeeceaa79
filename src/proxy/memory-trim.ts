/**
 * Gives memory back to the system. A start leaves much behind that serving does not need: garbage, a nursery grown by it, pages of
 * the program's file; and the C library keeps what compiling hot code takes for a moment, some 20 MiB, until it is told.
 */
import type { Cancel, Clock } from "../core/clock.ts";
import { collectGarbage, setHeapGrowth } from "../core/v8.ts";
import { libcFunction } from "../core/libc.ts";
import { dropProgramPages } from "../core/program-pages.ts";

/** Milliseconds between two looks at the resident set. */
export const TRIM_LOOK = 5000;
/** Octets that it must have grown by to be worth the two milliseconds that a trim takes. */
const WORTH = 4 * 1024 * 1024;
/**
 * Percent of what is alive: some 12 MiB, of which bodies under way may hold 8 (`wire/collecting.ts`). V8's own rule follows the
 * collection that leaves the start behind with a tenth, and collects ten times a second.
 */
const HEAP_GROWTH = 100;

export interface TrimOptions {
  readonly clock: Clock;
  /** Octets resident. */
  readonly resident?: () => number;
  readonly trim?: () => void;
}

/** Starts to look; ends by what it returns. */
export function trimMemory(options: TrimOptions): Cancel {
  const { clock } = options;
  const resident = options.resident ?? (() => process.memoryUsage.rss());
  let trim = options.trim;
  let before = 0;
  return clock.every(TRIM_LOOK, () => {
    if (resident() < before + WORTH) return;
    trim ??= nativeTrim();
    trim();
    before = resident();
  });
}

/**
 * For the moment when all is loaded and nothing is compiled yet: V8 makes the nursery small again in this kind of collection alone,
 * which also throws compiled code away. It takes some 30 ms.
 */
export function leaveStartBehind(): void {
  setHeapGrowth(HEAP_GROWTH);
  collectGarbage({ type: "major", flavor: "last-resort" });
  dropProgramPages();
}

/** glibc's malloc_trim(3), which goes over the pools of all threads; other C libraries have none, and keep less. */
function nativeTrim(): () => void {
  const native = libcFunction("int malloc_trim(size_t pad)");
  return () => void native?.(0);
}
