/**
 * Connections that come in: a few at a time are between their handshake and their first config, and the others wait. Their sources have turns:
 * one that fills the queue does not put it before all others. Within a source, by turns the one that has waited for longest begins, and the one
 * that came last: those that came before, and may have given up, do not keep it waiting.
 *
 * A connection waits from its first bytes on: those that say nothing take no turn. What TLS is made with, it keeps: a buffer of 64 KiB for
 * each read where the first read is its own, and one for the bytes that are there where there are some.
 */
import type { Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { networkOf } from "../../core/text/network.ts";
import { LoopAge } from "../loop-age.ts";

/** Handshakes that begin in one turn of the event loop: those that are in have their turns between. */
export const HANDSHAKES_A_TURN = 16;
/** Connections on their way at a time: were it all that come back at once, each would take as long as all, and give up before it is in. */
export const MOST_ARRIVING = 64;
/** Milliseconds after which a connection keeps nobody waiting any more, whatever it does. */
export const ARRIVES_WITHIN = 1000;

export interface ArrivalsOptions {
  readonly clock: Pick<Clock, "every">;
  /** It has said something, and waits for its turn, unless it is destroyed here. */
  readonly waits: (raw: Socket) => void;
  /** Starts the handshake. */
  readonly begin: (raw: Socket) => void;
}

export class Arrivals {
  readonly #options: ArrivalsOptions;
  readonly #age: LoopAge;
  /** Those that wait, by their sources; the source whose turn it is comes first. */
  readonly #lines = new Map<string, Line>();
  /** Those on their way, and when they began by `#age`; the oldest first. */
  readonly #arriving = new Map<Socket, number>();
  #scheduled = false;

  constructor(options: ArrivalsOptions) {
    this.#options = options;
    this.#age = new LoopAge(options.clock, () => this.#endWaits());
  }

  add(raw: Socket): void {
    const source = networkOf(raw.remoteAddress ?? "");
    raw.once("readable", () => {
      // It has ended before it has said anything.
      if (raw.readableLength === 0) raw.destroy();
      else this.#wait(raw, source);
    });
    raw.once("close", () => {
      const line = this.#lines.get(source);
      line?.leave(raw);
      if (line?.size === 0) this.#lines.delete(source);
      this.over(raw);
    });
  }

  /** It is in. */
  over(raw: Socket): void {
    if (this.#arriving.delete(raw)) this.#schedule();
  }

  close(): void {
    this.#age.close();
    this.#lines.clear();
  }

  #wait(raw: Socket, source: string): void {
    this.#options.waits(raw);
    if (raw.destroyed) return;
    const line = this.#lines.get(source) ?? new Line();
    this.#lines.set(source, line);
    line.join(raw);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#lines.size === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#beginSome();
    });
  }

  #beginSome(): void {
    for (let begun = 0; this.#arriving.size < MOST_ARRIVING; begun += 1) {
      if (begun === HANDSHAKES_A_TURN) {
        this.#schedule();
        return;
      }
      const raw = this.#next();
      if (raw === undefined) return;
      this.#arriving.set(raw, this.#age.now);
      this.#options.begin(raw);
    }
  }

  /** Undefined where nobody waits. */
  #next(): Socket | undefined {
    for (const [source, line] of this.#lines) {
      const next = line.next();
      this.#lines.delete(source);
      if (next === undefined) continue;
      // The others have their turns before its next one.
      if (line.size > 0) this.#lines.set(source, line);
      return next;
    }
    return undefined;
  }

  /** The slow keep nobody waiting any more. */
  #endWaits(): void {
    for (const [raw, began] of this.#arriving) {
      // All that follow are younger.
      if (this.#age.now - began < ARRIVES_WITHIN) break;
      this.over(raw);
    }
  }
}

/** Those of one source that wait. */
class Line {
  /** In the order of their coming. */
  readonly #waiting = new Set<Socket>();
  /** The same, to be taken from the end; some have left `#waiting`. */
  #latest: Socket[] = [];
  #lastFirst = false;

  get size(): number {
    return this.#waiting.size;
  }

  join(raw: Socket): void {
    this.#waiting.add(raw);
    this.#latest.push(raw);
    if (this.#latest.length > 2 * this.#waiting.size)
      this.#latest = [...this.#waiting];
  }

  leave(raw: Socket): void {
    this.#waiting.delete(raw);
  }

  /** Undefined where nobody waits. */
  next(): Socket | undefined {
    this.#lastFirst = !this.#lastFirst;
    let next: Socket | undefined;
    if (this.#lastFirst) [next] = this.#waiting;
    else
      do next = this.#latest.pop();
      while (next !== undefined && !this.#waiting.has(next));
    if (next !== undefined) this.#waiting.delete(next);
    return next;
  }
}
