/** How late this process's event loop is: a timer that comes late tells how long everything else waits, too. */
import type { Cancel, Clock } from "../core/clock.ts";
import type { MonotonicMs } from "../core/units.ts";

/** Milliseconds from one look to the next. */
export const LOOK_EVERY = 20;
/** Looks of which the least late one tells whether the loop is late for good: one stall that is over is none of that. */
export const IN_A_ROW = 3;
/** Looks that the quantiles are of: a minute's. */
const KEPT = 3000;

/** Milliseconds by which looks of the last minute were late. */
export interface Delays {
  readonly median: number;
  readonly p99: number;
  readonly most: number;
}

export class LoopDelay {
  readonly #clock: Pick<Clock, "now">;
  readonly #stop: Cancel;
  /** A ring. */
  readonly #late = new Float64Array(KEPT);
  #looks = 0;
  #lookedAt: MonotonicMs;

  constructor(clock: Pick<Clock, "now" | "every">) {
    this.#clock = clock;
    this.#lookedAt = clock.now();
    this.#stop = clock.every(LOOK_EVERY, () => this.#look());
  }

  /** Milliseconds by which each of the last looks was late at least: what waits now waits as long. */
  get standing(): number {
    let least = Infinity;
    for (let back = 1; back <= IN_A_ROW; back += 1)
      least = Math.min(
        least,
        this.#late[(this.#looks - back + KEPT) % KEPT] ?? 0,
      );
    return least;
  }

  delays(): Delays {
    const kept = this.#late.slice(0, Math.min(this.#looks, KEPT)).sort();
    const at = (share: number): number =>
      kept[Math.min(kept.length - 1, Math.floor(kept.length * share))] ?? 0;
    return { median: at(0.5), p99: at(0.99), most: at(1) };
  }

  close(): void {
    this.#stop();
  }

  #look(): void {
    const now = this.#clock.now();
    const late = Math.max(0, now - this.#lookedAt - LOOK_EVERY);
    this.#late[this.#looks % KEPT] = late;
    this.#looks += 1;
    this.#lookedAt = now;
  }
}
