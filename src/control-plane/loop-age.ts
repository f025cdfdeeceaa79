/** Time in which the event loop had its turns. It does not go on in a stall, in which nobody could do what is waited for. */
import type { Cancel, Clock } from "../core/clock.ts";

/** Milliseconds. */
const TICK = 100;

export class LoopAge {
  readonly #cancel: Cancel;
  #now = 0;

  /** `ticked`: runs after each tick. */
  constructor(clock: Pick<Clock, "every">, ticked?: () => void) {
    this.#cancel = clock.every(TICK, () => {
      this.#now += TICK;
      ticked?.();
    });
  }

  /** Milliseconds since it was made, in steps of 100. */
  get now(): number {
    return this.#now;
  }

  close(): void {
    this.#cancel();
  }
}
