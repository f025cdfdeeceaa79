/** Connections that come in: a few at a time are between their handshake and their first config, and the others wait in their order. */
import type { Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";

/** Handshakes that begin in one turn of the event loop: those that are in have their turns between. */
export const HANDSHAKES_A_TURN = 16;
/** Connections on their way at a time: were it all that come back at once, each would take as long as all, and give up before it is in. */
export const MOST_ARRIVING = 64;
/** Milliseconds after which a connection keeps nobody waiting any more, whatever it does. */
export const ARRIVES_WITHIN = 1000;
/** Milliseconds between two ticks of that age: it does not go on while the event loop stands still. */
const TICK = 100;

export class Arrivals {
  readonly #begin: (raw: Socket) => void;
  readonly #cancelTick: Cancel;
  readonly #waiting = new Set<Socket>();
  /** Those on their way, and their ages at the beginning by `#lived`; the oldest first. */
  readonly #arriving = new Map<Socket, number>();
  #lived = 0;
  #scheduled = false;

  /** `begin`: starts the handshake. */
  constructor(clock: Pick<Clock, "every">, begin: (raw: Socket) => void) {
    this.#begin = begin;
    this.#cancelTick = clock.every(TICK, () => this.#tick());
  }

  add(raw: Socket): void {
    this.#waiting.add(raw);
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
    this.#cancelTick();
    this.#waiting.clear();
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
    let begun = 0;
    for (const raw of this.#waiting) {
      if (begun === HANDSHAKES_A_TURN) {
        this.#schedule();
        return;
      }
      if (this.#arriving.size >= MOST_ARRIVING) return;
      this.#waiting.delete(raw);
      if (raw.destroyed) continue;
      this.#arriving.set(raw, this.#lived);
      this.#begin(raw);
      begun += 1;
    }
  }

  #tick(): void {
    this.#lived += TICK;
    for (const [raw, born] of this.#arriving) {
      if (this.#lived - born < ARRIVES_WITHIN) break;
      this.over(raw);
    }
  }
}
