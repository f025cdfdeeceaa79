/**
 * How many requests an application may have in flight at once, from how long it takes for one: Gradient2 (Netflix concurrency-limits).
 *
 * A window of requests that took much longer than requests have been taking says that they wait for each other, and the limit falls;
 * else it rises by what a queue may hold. Nothing is held back to find out how quick the application could be, as a measured minimum would ask.
 */
import type { MonotonicMs } from "../core/units.ts";

export interface ConcurrencyOptions {
  readonly minConcurrency: number;
  readonly maxConcurrency: number;
}

const INITIAL = 20;
/** Milliseconds of one window, which ends with the first request after it that makes it `SAMPLES`. */
const WINDOW = 100;
const SAMPLES = 10;
/** A window with more requests keeps the newest. */
const KEPT = 256;
/** Weight of a window in the limit. */
const SMOOTHING = 0.2;
/** Milliseconds after which a window says nothing of what a request would take now. */
const FRESH = 1000;
/** Requests by which the limit grows where nothing waits. */
const QUEUE = 4;
/** A request may take so much longer than they have been taking before it counts as waiting. */
const TOLERANCE = 1.5;
/** Windows over which "how long they have been taking" is averaged, and of the first of them. */
const LONG = 600;
const WARM_UP = 10;
/**
 * Weight of a window at the limit: what it shows is what the limit itself lets happen. With the full weight, an overload of minutes would
 * become what is usual, and the limit would follow it up without end.
 */
const LIMITED = 0.03;

export class ConcurrencyLimit {
  readonly #window = new Float64Array(KEPT);
  #options: ConcurrencyOptions;
  #limit: number;
  #count = 0;
  #startedAt = Number.NaN;
  /** The most that were in flight in the window. */
  #peak = 0;
  #windows = 0;
  #long = 0;
  #short = 0;
  #closedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ConcurrencyOptions) {
    this.#options = options;
    this.#limit = clamp(INITIAL, options);
  }

  /** Requests that may be in flight. */
  get limit(): number {
    return Math.floor(this.#limit);
  }
  /** Milliseconds that requests have been taking, and took in the last window; 0 before there was one. */
  get usual(): number {
    return this.#long;
  }
  get latest(): number {
    return this.#short;
  }

  /** What `latest` says of a request that comes now; 0 where nobody knows: one that is refused for it shows nothing, so it must not stand for ever. */
  expected(now: MonotonicMs): number {
    return now - this.#closedAt < FRESH ? this.#short : 0;
  }

  configure(options: ConcurrencyOptions): void {
    this.#options = options;
    this.#limit = clamp(this.#limit, options);
  }

  /** A request took `latency` milliseconds in the application; `inFlight` counts it too. `now` in monotonic milliseconds. */
  sample(latency: number, inFlight: number, now: MonotonicMs): void {
    if (this.#count === 0) this.#startedAt = now;
    this.#window[this.#count % KEPT] = latency;
    this.#count += 1;
    if (inFlight > this.#peak) this.#peak = inFlight;
    if (this.#count < SAMPLES || now - this.#startedAt < WINDOW) return;
    const kept = this.#window.subarray(0, Math.min(this.#count, KEPT)).sort();
    this.#close(kept[kept.length >> 1] ?? 0);
    this.#closedAt = now;
    this.#count = 0;
    this.#peak = 0;
  }

  #close(median: number): void {
    // What is too quick to be measured must not divide by nothing.
    const short = Math.max(median, 0.01);
    this.#short = short;
    this.#windows += 1;
    const limited = this.#peak >= this.limit;
    const weight =
      this.#windows <= WARM_UP
        ? 1 / this.#windows
        : (2 / (LONG + 1)) * (limited && short > this.#long ? LIMITED : 1);
    this.#long += weight * (short - this.#long);
    // It was slow and is quick again: what was usual then is forgotten sooner.
    if (this.#long / short > 2) this.#long *= 0.95;
    // Few are in flight: their speed says nothing of what more would do.
    if (this.#peak < this.#limit / 2) return;
    const gradient = Math.min(
      1,
      Math.max(0.5, (TOLERANCE * this.#long) / short),
    );
    const next = this.#limit * gradient + QUEUE;
    this.#limit = clamp(
      (1 - SMOOTHING) * this.#limit + SMOOTHING * next,
      this.#options,
    );
  }
}

function clamp(limit: number, options: ConcurrencyOptions): number {
  return Math.min(
    options.maxConcurrency,
    Math.max(options.minConcurrency, limit),
  );
}

/** A request that waits for the application. */
export interface Waiting {
  /** Monotonic milliseconds. */
  readonly since: number;
}

/** Milliseconds: a queue that has not been empty for so long is a standing one (DAGOR takes the same for its sign of overload). */
export const STANDING = 20;

/**
 * The queue while the limit is reached: first come, first served through a burst. In a standing queue the newest goes first, for the
 * oldest has the least of its time left ("Fail at Scale", Maurer 2015); what has waited for too long is let go.
 */
export class WaitingLine<T extends Waiting> {
  readonly #line: T[] = [];
  /** Since when it has not been empty. */
  #standingSince = 0;

  get length(): number {
    return this.#line.length;
  }

  isStanding(now: MonotonicMs): boolean {
    return this.#line.length > 0 && now - this.#standingSince > STANDING;
  }

  /** Monotonic milliseconds since when the oldest waits; undefined where nobody does. */
  get oldest(): number | undefined {
    return this.#line[0]?.since;
  }

  join(one: T): void {
    if (this.#line.length === 0) this.#standingSince = one.since;
    this.#line.push(one);
  }

  /** Whose turn it is. */
  next(now: MonotonicMs): T | undefined {
    return this.isStanding(now) ? this.#line.pop() : this.#line.shift();
  }

  /** Takes out the one that has waited longest. */
  drop(): T | undefined {
    return this.#line.shift();
  }

  /** It has gone away. False: it does not wait any more. */
  leave(one: T): boolean {
    const index = this.#line.indexOf(one);
    if (index < 0) return false;
    this.#line.splice(index, 1);
    return true;
  }
}
