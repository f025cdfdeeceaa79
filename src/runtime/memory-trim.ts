/**
 * Gives memory back to the system. A start leaves much behind that serving does not need: garbage, a nursery grown by it, pages of
 * the program's file; and the C library keeps what compiling hot code takes for a moment, some 20 MiB, until it is asked to give it back.
 */
import { getHeapStatistics } from "node:v8";
import type { Cancel, Clock } from "../core/clock.ts";
import type { Bytes } from "../core/units.ts";
import { residentBytes } from "./resident.ts";
import { threadCpu } from "./thread-cpu.ts";
import { collectGarbage, setHeapGrowth } from "./v8.ts";
import { allocatedBytes, libcFunction } from "./libc.ts";
import { dropProgramPages } from "./program-pages.ts";

/** Milliseconds between two looks, and between two trims where memory is not tight. */
export const TRIM_LOOK = 1000;
export const TRIM_AGAIN = 5000;
/** Bytes that the resident set must have grown by, or that must have been freed where memory is tight, to be worth the two milliseconds that a trim takes. */
const WORTH = 4 * 1024 * 1024;
/** Bytes that must have been freed where it is not: bodies on their way come and go. */
const FREED = 8 * 1024 * 1024;
/**
 * Part of a core that looks and trims may take where memory is not tight. Both go over all that is free: among the holes that a thousand connections leave,
 * that holds the event loop for tens of milliseconds. By the clock, others that want the core would count: a trim of 4 ms took 60.
 */
const SHARE = 0.002;
/** Part of what may be used from which on memory is tight. */
const TIGHT = 0.5;
/**
 * Percent of what is alive: some 12 MiB, of which bodies in flight may hold 8 (`runtime/collecting.ts`). V8's own rule follows the
 * collection that leaves the start behind with a tenth, and collects ten times a second.
 */
export const HEAP_GROWTH = 100;

export interface TrimOptions {
  readonly clock: Clock;
  /** Bytes that may be resident; 0 where nobody limits them. */
  readonly memoryBytes?: Bytes;
  /** Bytes resident. */
  readonly resident?: () => number;
  /** Bytes that the allocator has given out; undefined where it does not tell. */
  readonly allocated?: (() => number) | undefined;
  readonly trim?: () => void;
  /** Milliseconds of CPU that this thread has taken. */
  readonly cpu?: () => number;
}

/**
 * Starts to look; ends by what it returns. What has become free is given back, wherever the resident set stands: after a flood that
 * held much for long it stands where it stood at the last trim.
 */
export function trimMemory(options: TrimOptions): Cancel {
  const { clock, memoryBytes = 0, cpu = threadCpu } = options;
  const resident = options.resident ?? residentBytes;
  const allocated =
    "allocated" in options ? options.allocated : allocatedBytes();
  let trim = options.trim;
  let before = 0;
  /** The most that was given out at a look since the last trim. */
  let peak = 0;
  let trimmedAt = Number.NEGATIVE_INFINITY;
  const isTight = (now: Bytes): boolean =>
    memoryBytes > 0 && now > memoryBytes * TIGHT;
  let restsUntil = Number.NEGATIVE_INFINITY;
  const look = (now: Bytes): void => {
    const used = allocated?.() ?? 0;
    peak = Math.max(peak, used);
    if (!isTight(now) && clock.now() - trimmedAt < TRIM_AGAIN) return;
    const freed = peak - used;
    if (now < before + WORTH && freed < (isTight(now) ? WORTH : FREED)) return;
    trim ??= nativeTrim();
    trim();
    before = resident();
    peak = used;
    trimmedAt = clock.now();
  };
  return clock.every(TRIM_LOOK, () => {
    const now = resident();
    if (clock.now() < restsUntil && !isTight(now)) return;
    const from = cpu();
    look(now);
    restsUntil = clock.now() + (cpu() - from) / SHARE;
  });
}

/** Bytes in use beyond which the collection would hold calls up: it takes some four milliseconds for each MiB. */
const LARGE = 64 * 1024 * 1024;

/** Which heaps are collected: a large one before calls are served, a small one once what it serves with is loaded. */
type StartSize = "any" | "large" | "small";

interface LeaveOptions {
  /** Bytes of the heap that are in use. */
  readonly used?: () => number;
  readonly collect?: () => void;
}

/**
 * For the moment when all is loaded and nothing is compiled yet: V8 makes the nursery small again in this kind of collection alone,
 * which also throws compiled code away. It takes some 30 ms.
 */
export function leaveStartBehind(
  size: StartSize = "any",
  options: LeaveOptions = {},
): void {
  const isLarge = (options.used ?? usedBytes)() > LARGE;
  if (size === "large" && !isLarge) return;
  setHeapGrowth(HEAP_GROWTH);
  if (size !== "small" || !isLarge) (options.collect ?? collectAll)();
  dropProgramPages();
}

function usedBytes(): Bytes {
  return getHeapStatistics().used_heap_size;
}

function collectAll(): void {
  collectGarbage({ type: "major", flavor: "last-resort" });
}

/** glibc's malloc_trim(3), which goes over the pools of all threads; other C libraries have none, and keep less. */
function nativeTrim(): () => void {
  const native = libcFunction("int malloc_trim(size_t pad)");
  return () => native?.(0);
}
