/**
 * Memory as a state of overload: it is looked at twice a second, and each level gives up more than the one before.
 *
 * ```
 *            0.90 ──▶ 1 keep-alive ends,  0.95 ──▶ 2 no new connections   0.98 ──▶ 3 requests get 503 OVERLOADED
 *                       what stands still too
 *   0  ◀── 0.85           ◀── 0.90                     ◀── 0.93
 * ```
 * The share is the largest of three: of resident memory in what the container may use, of V8's heap in its limit, and of the bytes
 * that are held of messages in their bound; but these lead to the first level alone, as nobody reads what would go beyond their bound.
 * Up it goes at once, down one level a second: a state that flaps helps nobody.
 */
import { getHeapStatistics } from "node:v8";
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import { madeBytes } from "../../runtime/collecting.ts";
import {
  collectGarbage,
  collectInSteps,
  setHeapGrowth,
} from "../../runtime/v8.ts";
import { residentBytes } from "../../runtime/resident.ts";
import type { SidecarLimits } from "./limits.ts";
import { HEAP_GROWTH } from "../../runtime/memory-trim.ts";
import type { Meters } from "../../telemetry/meters.ts";

export type Level = 0 | 1 | 2 | 3;

/** Shares at which a level is entered, and under which it is left. */
export const LEVELS: readonly {
  readonly enter: number;
  readonly leave: number;
  readonly does: string;
}[] = [
  { enter: 0, leave: 0, does: "all is well" },
  {
    enter: 0.9,
    leave: 0.85,
    does: "connections are not kept alive, and exchanges that hold bytes and stand still are broken off",
  },
  { enter: 0.95, leave: 0.9, does: "no new connections are taken" },
  { enter: 0.98, leave: 0.93, does: "requests get 503 OVERLOADED" },
];

/** Milliseconds between two looks. */
export const LOOK = 500;
/** Milliseconds that a level lasts at least. */
const STAY = 1000;
/** Milliseconds between two collections of garbage that pressure asks for: each stops everything for some 50 ms. */
const COLLECT_AGAIN = 30_000;
/** The same, under pressure and without, where so large a part of what may be held was, and is held no more: what is left of it is garbage for certain. */
const COLLECT_FREED = 1000;
const COLLECT_FREED_QUIET = 5000;
const FREED = 4;
/** Bytes of large bodies whose leftovers are worth a collection once no more come. */
const LEFT_BEHIND = 8 * 1024 * 1024;
/** Shares of resident memory from which on, and down to which, V8's heap may grow by fewer percent between two collections. */
const THRIFTY = { enter: 0.5, leave: 0.45, growth: 40 };

/** Bytes. */
export interface MemorySample {
  readonly resident: number;
  readonly heap: number;
  readonly heapLimit: number;
}

export interface MemoryPressureOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly meters: Meters;
  readonly limits: Pick<SidecarLimits, "bufferedBytes" | "memoryBytes">;
  /** Bytes that are held of messages. */
  buffered(): number;
  /** After each look. */
  onLook?(): void;
  /** A level was entered or left. */
  onLevel(level: Level): void;
  readonly sample?: () => MemorySample;
  /** Bytes of the buffers that large bodies were read into so far. */
  readonly read?: () => number;
  /** Frees what is free already, so far as V8 lets it: at once where memory is short, else little by little. */
  readonly collect?: (short: boolean) => void;
  /** Percent of what is alive by which V8's heap may grow before it is collected. */
  readonly growth?: (percent: number) => void;
}

export interface MemoryPressure {
  readonly level: Level;
  close(): void;
}

export function watchMemory(options: MemoryPressureOptions): MemoryPressure {
  return new WatchedMemory(options);
}

class WatchedMemory implements MemoryPressure {
  readonly #options: MemoryPressureOptions;
  readonly #stop: Cancel;
  #level: Level = 0;
  #since: number;
  #thrifty = false;
  #collectedAt = Number.NEGATIVE_INFINITY;
  /** The most bytes that were held at a look since then. */
  #peak = 0;
  /** Bytes of the buffers of large bodies at the last look; and when their leftovers were collected last, and up to which. */
  #read = 0;
  #tidiedAt = Number.NEGATIVE_INFINITY;
  #tidiedUpTo = 0;

  constructor(options: MemoryPressureOptions) {
    this.#options = options;
    this.#since = options.clock.now();
    this.#stop = options.clock.every(LOOK, () => this.#look());
  }

  get level(): Level {
    return this.#level;
  }

  close(): void {
    this.#stop();
  }

  #look(): void {
    const { clock, meters, limits, sample = sampleProcess } = this.#options;
    const memory = sample();
    const buffered = this.#options.buffered();
    const held = buffered / limits.bufferedBytes;
    const inUse = Math.max(
      limits.memoryBytes > 0 ? memory.resident / limits.memoryBytes : 0,
      memory.heap / memory.heapLimit,
    );
    meters.bufferedBytes.set(buffered);
    meters.memoryPressure.set(Math.max(inUse, held));
    const share = Math.max(inUse, Math.min(held, LEVELS[1]?.enter ?? 1));
    const now = clock.now();
    this.#collectWhatIsFree(now, inUse >= (LEVELS[1]?.enter ?? 1), buffered);
    this.#collectLeftovers(now, buffered);
    this.#options.onLook?.();
    if (limits.memoryBytes > 0)
      this.#beThrifty(memory.resident / limits.memoryBytes);
    const next = nextLevel(this.#level, share, now - this.#since >= STAY);
    if (next === this.#level) return;
    this.#since = now;
    this.#change(next, memory, buffered);
  }

  #change(level: Level, memory: MemorySample, buffered: number): void {
    const { logger, meters, limits } = this.#options;
    const rises = level > this.#level;
    this.#level = level;
    meters.overloadLevel.set(level);
    logger[rises ? "warn" : "info"](
      {
        level,
        does: LEVELS[level]?.does,
        residentBytes: memory.resident,
        memoryLimitBytes: limits.memoryBytes,
        heapBytes: memory.heap,
        heapLimitBytes: memory.heapLimit,
        bufferedBytes: buffered,
        bufferedLimitBytes: limits.bufferedBytes,
      },
      rises ? "memory runs short" : "memory pressure falls",
    );
    this.#options.onLevel(level);
  }

  /** V8 is in no hurry to give back what a burst has left behind; the next look sees what it was. */
  #collectWhatIsFree(now: number, short: boolean, buffered: number): void {
    const { limits, collect = collectFree } = this.#options;
    this.#peak = Math.max(this.#peak, buffered);
    const since = now - this.#collectedAt;
    const freed = (this.#peak - buffered) * FREED >= limits.bufferedBytes;
    const worth = freed
      ? since >= (short || this.#thrifty ? COLLECT_FREED : COLLECT_FREED_QUIET)
      : short && since >= COLLECT_AGAIN;
    if (!worth) return;
    this.#collectedAt = now;
    this.#peak = buffered;
    collect(short);
  }

  /** Some of what a transfer left behind is old by its end, and would lie there until V8's next full collection: for ever, where nothing more comes. */
  #collectLeftovers(now: number, buffered: number): void {
    const { collect = collectFree, read = madeBytes } = this.#options;
    const soFar = read();
    const goesOn = soFar > this.#read;
    this.#read = soFar;
    // While much is held, more is on its way: a collection in steps lets all live that comes meanwhile.
    if (goesOn || buffered >= LEFT_BEHIND) return;
    if (soFar - this.#tidiedUpTo < LEFT_BEHIND) return;
    if (now - this.#tidiedAt < COLLECT_AGAIN) return;
    this.#tidiedAt = now;
    this.#tidiedUpTo = soFar;
    collect(false);
  }

  /** V8 lets garbage grow to twice what is alive: cheap where memory is there for it. */
  #beThrifty(share: number): void {
    const { growth = setHeapGrowth } = this.#options;
    const next = share > (this.#thrifty ? THRIFTY.leave : THRIFTY.enter);
    if (next === this.#thrifty) return;
    this.#thrifty = next;
    growth(next ? THRIFTY.growth : HEAP_GROWTH);
  }
}

function nextLevel(level: Level, share: number, stayed: boolean): Level {
  let next: Level = level;
  while (next < 3 && share >= (LEVELS[next + 1]?.enter ?? Infinity))
    next = above(next);
  if (next > level || !stayed) return next;
  return level > 0 && share < (LEVELS[level]?.leave ?? 0)
    ? below(level)
    : level;
}

function above(level: Level): Level {
  return level === 0 ? 1 : level === 1 ? 2 : 3;
}

function below(level: Level): Level {
  return level === 3 ? 2 : level === 2 ? 1 : 0;
}

function sampleProcess(): MemorySample {
  const { used_heap_size: heap, heap_size_limit: heapLimit } =
    getHeapStatistics();
  return { resident: residentBytes(), heap, heapLimit };
}

function collectFree(short: boolean): void {
  // Where memory runs short, what comes next may be refused: then to stop for a moment is the lesser evil.
  if (short) collectGarbage({ type: "major", execution: "async" });
  else collectInSteps();
}
