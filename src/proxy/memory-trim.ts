/**
 * Gives back to the system what the C library keeps for itself: to compile hot code takes some 20 MiB for a moment, of which not
 * a page went back by itself, and a sidecar that compiled its code in the first seconds carried it for the rest of its life.
 */
import type { Cancel, Clock } from "../core/clock.ts";
import { libcFunction } from "../core/libc.ts";

/** Milliseconds between two looks at the resident set. */
export const TRIM_LOOK = 5000;
/** Octets that it must have grown by to be worth the two milliseconds that a trim takes. */
const WORTH = 4 * 1024 * 1024;

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

/** glibc's malloc_trim(3), which goes over the pools of all threads; other C libraries have none, and keep less. */
function nativeTrim(): () => void {
  const native = libcFunction("int malloc_trim(size_t pad)");
  return () => void native?.(0);
}
