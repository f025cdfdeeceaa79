/**
 * Connections that come in: a few at a time are between their handshake and their first config, and the others wait. By turns the one that
 * has waited for longest begins, and the one that came last: who fills the queue does not put it before everybody who comes.
 */
import type { Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { LoopAge } from "../loop-age.ts";

/** Handshakes that begin in one turn of the event loop: those that are in have their turns between. */
export const HANDSHAKES_A_TURN = 16;
/** Connections on their way at a time: were it all that come back at once, each would take as long as all, and give up before it is in. */
export const MOST_ARRIVING = 64;
/** Milliseconds after which a connection keeps nobody waiting any more, whatever it does. */
export const ARRIVES_WITHIN = 1000;
/** Milliseconds after which one that has said nothing keeps nobody waiting. */
export const SPEAKS_WITHIN = 200;

export class Arrivals {
  readonly #begin: (raw: Socket) => void;
  readonly #age: LoopAge;
  /** In the order of their coming. */
  readonly #waiting = new Set<Socket>();
  /** The same, to be taken from the end; some have left `#waiting`. */
  #latest: Socket[] = [];
  #lastFirst = false;
  /** Those on their way, and when they began by `#age`; the oldest first. */
  readonly #arriving = new Map<Socket, number>();
  #scheduled = false;

  /** `begin`: starts the handshake. */
  constructor(clock: Pick<Clock, "every">, begin: (raw: Socket) => void) {
    this.#begin = begin;
    this.#age = new LoopAge(clock, () => this.#endWaits());
  }

  add(raw: Socket): void {
    this.#waiting.add(raw);
    this.#latest.push(raw);
    if (this.#latest.length > 2 * this.#waiting.size)
      this.#latest = [...this.#waiting];
    raw.once("close", () => {
      this.#waiting.delete(raw);
      this.over(raw);
    });
    this.#schedule();
  }

  /** It is in. */
  over(raw: Socket): void {
    if (this.#arriving.delete(raw)) this.#schedule();
  }

  close(): void {
    this.#age.close();
    this.#waiting.clear();
    this.#latest = [];
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.size === 0) return;
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
      this.#begin(raw);
    }
  }

  /** Undefined where nobody waits. */
  #next(): Socket | undefined {
    this.#lastFirst = !this.#lastFirst;
    let next: Socket | undefined;
    if (this.#lastFirst) [next] = this.#waiting;
    else
      do next = this.#latest.pop();
      while (next !== undefined && !this.#waiting.has(next));
    if (next !== undefined) this.#waiting.delete(next);
    return next;
  }

  /** The slow and the silent keep nobody waiting any more. */
  #endWaits(): void {
    for (const [raw, began] of this.#arriving) {
      const age = this.#age.now - began;
      // All that follow are younger.
      if (age < SPEAKS_WITHIN) break;
      if (age >= ARRIVES_WITHIN || raw.bytesRead === 0) this.over(raw);
    }
  }
}
