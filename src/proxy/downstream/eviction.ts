/**
 * Makes room: where the proxy holds nearly all the bytes that it may, or carries nearly as many exchanges, what has stood still for
 * longest is broken off, little by little, until there is room again.
 *
 * ```
 *   exchanges ── one side does not take what waits for it ─▶ OVERLOADED
 *   connections ── a whole response is here, and nobody takes it ─▶ reset, or closed
 * ```
 * How little one queue may hold meanwhile is `wire/buffers.ts`'s.
 */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Buffers } from "../../wire/buffers.ts";
import {
  IDLE_TICK,
  type Idler,
  type IdleWatcher,
} from "../exchange/time/idle.ts";

interface Shares {
  readonly bytes: number;
  readonly requests: number;
}

/** Shares of the bounds: at the first it begins, under the second it ends. Half of the bytes that may be held are for what waits. */
export const BEGIN: Shares = { bytes: 0.45, requests: 0.75 };
const ENOUGH: Shares = { bytes: 0.375, requests: 0.625 };
/** Milliseconds that something must have stood still: less is only a slow path. */
export const STILL = 1000;
/** Milliseconds between two steps, and what one step breaks off: a millisecond or two of work. */
export const STEP = 12;
export const MOST_A_STEP = 16;
/** Milliseconds between two lines of the log. */
const TELL = 1000;

export interface EvictionOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly buffers: Buffers;
  readonly idle: IdleWatcher;
  /** Exchanges at one time. */
  readonly requests: number;
  /** Breaks off up to `most` whole responses that nobody has taken anything of for `ms`; gives how many. */
  shed(ms: number, most: number): number;
}

export interface Eviction {
  /** To be called now and then: begins, where there is need. */
  look(): void;
  close(): void;
}

export function makeEviction(options: EvictionOptions): Eviction {
  const { clock, logger, buffers, idle, requests } = options;
  let next: Cancel | undefined;
  let untold = 0;
  let toldAt = Number.NEGATIVE_INFINITY;

  const over = (share: Shares): boolean =>
    buffers.held > buffers.limit * share.bytes ||
    idle.active > requests * share.requests;
  const enough = (): boolean => !over(ENOUGH);

  const tell = (): void => {
    const now = clock.now();
    if (untold === 0 || now - toldAt < TELL) return;
    logger.warn(
      {
        count: untold,
        bufferedBytes: buffers.held,
        bufferedLimitBytes: buffers.limit,
        activeRequests: idle.active,
        requestLimit: requests,
      },
      "exchanges that had stood still for longest were broken off to make room",
    );
    untold = 0;
    toldAt = now;
  };

  const step = (): void => {
    next = undefined;
    let count = evictLongest(idle, MOST_A_STEP, enough);
    if (!enough()) count += options.shed(STILL, MOST_A_STEP - count);
    untold += count;
    tell();
    if (!enough() || untold > 0) next = clock.after(STEP, step);
  };

  return {
    look() {
      if (next === undefined && over(BEGIN)) step();
    },
    close() {
      next?.();
    },
  };
}

/** Looked at by how many ticks they have stood still; what stood for longer counts with the last. */
const AGES = 1024;

/** Breaks off up to `most` of the exchanges that hold something, those first that have stood still for longest; gives how many. */
export function evictLongest(
  idle: IdleWatcher,
  most: number,
  enough: () => boolean,
): number {
  const ageOf = (idler: Idler): number =>
    idler.holds ? Math.min(AGES - 1, idle.tick - idler.movedAt) : 0;
  const ages = new Uint32Array(AGES);
  for (const idler of idle.idlers) {
    const age = ageOf(idler);
    ages[age] = (ages[age] ?? 0) + 1;
  }
  let oldest = AGES;
  const least = Math.ceil(STILL / IDLE_TICK);
  for (let found = 0; oldest > least && found < most;)
    found += ages[--oldest] ?? 0;
  let count = 0;
  // A copy: a connection that is broken off leaves.
  const due = idle.idlers.filter((idler) => ageOf(idler) >= oldest);
  due.sort((one, two) => one.movedAt - two.movedAt);
  for (const idler of due) {
    if (count === most || enough()) break;
    count += 1;
    idler.giveUp(
      new MeshError(
        "OVERLOADED",
        "this proxy holds nearly as much as it may, and this exchange had stood still for longest",
        { source: "proxy" },
      ),
    );
  }
  return count;
}
