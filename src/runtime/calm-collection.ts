/**
 * Gives back what a wave of work has left in V8's heap, once things are calm: a nursery that has grown to 48 MiB does not shrink by
 * itself, nor do pages go that are half empty.
 */
import { getHeapStatistics } from "node:v8";
import type { Cancel, Clock } from "../core/clock.ts";
import { collectGarbage, collectInSteps } from "./v8.ts";

/** Milliseconds between two looks, and between two collections. */
export const CALM_LOOK = 5000;
export const CALM_AGAIN = 60_000;
/** Bytes of the heap that nothing uses, to be worth a collection. */
const WORTH = 32 * 1024 * 1024;
/** Bytes in use beyond which a collection would hold the event loop for too long: it takes a millisecond for each MiB or two. */
const MOST_USED = 192 * 1024 * 1024;
/** Part of a core. */
const CALM = 0.1;

export interface CalmOptions {
  readonly clock: Clock;
  /** Bytes. */
  readonly heap?: () => { readonly total: number; readonly used: number };
  /** Milliseconds of CPU that the process has taken. */
  readonly cpu?: () => number;
  readonly collect?: () => void;
}

/** Starts to look; ends by what it returns. */
export function collectWhenCalm(options: CalmOptions): Cancel {
  const { clock } = options;
  const heap = options.heap ?? ownHeap;
  const cpu = options.cpu ?? ownCpu;
  const collect = options.collect ?? shrinkHeap;
  let spent = cpu();
  let collectedAt = Number.NEGATIVE_INFINITY;
  return clock.every(CALM_LOOK, () => {
    const before = spent;
    spent = cpu();
    if (spent - before > CALM * CALM_LOOK) return;
    const { total, used } = heap();
    if (total - used < WORTH || used > MOST_USED) return;
    if (clock.now() - collectedAt < CALM_AGAIN) return;
    collect();
    collectedAt = clock.now();
    spent = cpu();
  });
}

/** Bytes that work may leave in the heap before they are collected. */
export const MOST_LEFT: number = 24 * 1024 * 1024;

export interface LeavingsOptions {
  /** Bytes of the heap that are in use. */
  readonly used?: () => number;
  readonly collect?: () => void;
}

/**
 * Collects in steps what work that comes over and over leaves behind, as lists do. V8 by itself lets it grow to as much as is alive, and all of
 * that stays resident.
 */
export class Leavings {
  readonly #used: () => number;
  readonly #collect: () => void;
  #least = Infinity;

  constructor(options: LeavingsOptions = {}) {
    this.#used = options.used ?? (() => ownHeap().used);
    this.#collect = options.collect ?? collectInSteps;
  }

  /** A piece of such work is over. */
  look(): void {
    const used = this.#used();
    this.#least = Math.min(this.#least, used);
    if (used - this.#least < MOST_LEFT) return;
    // More may be alive than before: the next look that finds less says so.
    this.#least = used;
    this.#collect();
  }
}

function ownHeap(): { readonly total: number; readonly used: number } {
  const { total_heap_size: total, used_heap_size: used } = getHeapStatistics();
  return { total, used };
}

function ownCpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** V8 makes the nursery small again in this kind of collection alone. */
function shrinkHeap(): void {
  collectGarbage({ type: "major", flavor: "last-resort" });
}
