/**
 * Ends what stands still. Every few seconds it is looked at what ought to have moved, so that neither a request nor a frame has a
 * deadline; a time-out is thus up to that much late.
 */
import type { Clock } from "../../core/clock.ts";
import type { Deadlines, Timed } from "../../core/deadlines.ts";
import type { Http2Limit, Http2Limits } from "./limits.ts";
import type { Output } from "./write/output.ts";
import type { Stream } from "./streams/stream.ts";

/** Milliseconds between two looks. */
const INTERVAL = 5000;
/** Milliseconds that looks fall on a multiple of, so that those of many connections come together. */
const GRAIN = 500;

/** A connection that is guarded. */
export interface Guarded {
  readonly output: Output;
  readonly input: {
    /** A frame or field block is begun and not complete. */
    readonly midway: boolean;
    /** Grows with every frame and field block that is complete. */
    readonly read: number;
  };
  endStalled(limit: Http2Limit, detail: string): void;
  /** For a server; a client looks after its own time. */
  readonly served?: Served | undefined;
}

/** The streams of a server that may stand still. */
export interface Served {
  /** Streams that nobody but the connection waits for any more: the whole response is here, and the peer gives no window. */
  flushing(): readonly Stream[];
  /** Grows with every stream; undefined where streams are open, or nobody cares. */
  readonly idleMark: number | undefined;
  resetStalled(stream: Stream): void;
  endIdle(): void;
}

/** Since when a value has been what it is. */
class Still<T> {
  #value: T | undefined;
  #since = 0;

  /** Milliseconds for which it has been `value`; undefined is never for long. */
  for(value: T | undefined, now: number): number {
    if (value === undefined || value !== this.#value) this.#since = now;
    this.#value = value;
    return now - this.#since;
  }
}

export class StallGuard implements Timed {
  dueAt = 0;
  dueSlot: number | undefined;
  readonly #clock: Clock;
  readonly #limits: Http2Limits;
  readonly #guarded: Guarded;
  readonly #deadlines: Deadlines;
  #stopped = false;
  readonly #frame: Still<number> = new Still();
  readonly #write: Still<number> = new Still();
  readonly #idle: Still<number> = new Still();
  /** By stream, what it has queued and since when that is so. */
  #answers: Map<Stream, Still<number>> = new Map();

  constructor(
    clock: Clock,
    deadlines: Deadlines,
    limits: Http2Limits,
    guarded: Guarded,
  ) {
    this.#clock = clock;
    this.#deadlines = deadlines;
    this.#limits = limits;
    this.#guarded = guarded;
    this.#waitFrom(clock.now());
  }

  stop(): void {
    this.#stopped = true;
    this.#deadlines.leave(this);
    this.#answers.clear();
  }

  /** Ends up to `most` of what has stood still for `ms`, of a field block and of whole responses; gives how many. */
  shed(ms: number, most: number): number {
    const now = this.#clock.now();
    return this.#lookAtFrame(now, ms) ? 1 : this.#lookAtAnswers(now, ms, most);
  }

  #waitFrom(now: number): void {
    const at = Math.floor((now + INTERVAL) / GRAIN) * GRAIN;
    this.#deadlines.set(this, at);
  }

  due(now: number): void {
    this.#look(now);
    if (!this.#stopped) this.#waitFrom(now);
  }

  #look(now: number): void {
    const guarded = this.#guarded;
    const limits = this.#limits;
    if (this.#lookAtFrame(now, limits.headerTimeout)) return;
    const { output } = guarded;
    const writing = output.busy ? output.handedOver : undefined;
    if (this.#write.for(writing, now) >= limits.writeTimeout) {
      guarded.endStalled(
        "write_time",
        `the peer took nothing of what it was sent for ${limits.writeTimeout} ms`,
      );
      return;
    }
    this.#lookAtAnswers(now);
    const { served } = guarded;
    if (this.#idle.for(served?.idleMark, now) >= limits.idleTimeout)
      served?.endIdle();
  }

  /** True where the connection ended, as a frame or field block did not end within `ms`. */
  #lookAtFrame(now: number, ms: number): boolean {
    const guarded = this.#guarded;
    const { midway, read } = guarded.input;
    const reading = midway ? read : undefined;
    if (this.#frame.for(reading, now) < ms) return false;
    guarded.endStalled(
      "header_time",
      `a frame or field block did not come to its end within ${ms} ms`,
    );
    return true;
  }

  /**
   * Resets up to `most` of the whole responses that have not moved for `timeout`, the longest by default; gives how many. Only ever those
   * that were stalled at the last look already: mostly none.
   */
  #lookAtAnswers(
    now: number,
    timeout: number = this.#limits.writeTimeout,
    most: number = Number.POSITIVE_INFINITY,
  ): number {
    const { served } = this.#guarded;
    if (served === undefined) return 0;
    const flushing = served.flushing();
    if (flushing.length === 0 && this.#answers.size === 0) return 0;
    const before = this.#answers;
    let count = 0;
    this.#answers = new Map();
    for (const stream of flushing) {
      const still = before.get(stream) ?? new Still<number>();
      if (still.for(stream.queued, now) < timeout || count === most)
        this.#answers.set(stream, still);
      else {
        count += 1;
        served.resetStalled(stream);
      }
    }
    return count;
  }
}
