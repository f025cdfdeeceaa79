/** One time-out for a connection that moves with every request, without a timer for every request. */
import type { Cancel, Clock } from "../../core/clock.ts";

/**
 * A later deadline costs a number; the timer that is already set looks at it when it fires and sets itself again. Only an
 * earlier one sets a new timer.
 */
export class Deadline {
  readonly #clock: Clock;
  readonly #passed: () => void;
  #at = Infinity;
  #firesAt = Infinity;
  #cancel: Cancel | undefined;

  constructor(clock: Clock, passed: () => void) {
    this.#clock = clock;
    this.#passed = passed;
  }

  /** `ms` from now. */
  set(ms: number): void {
    const now = this.#clock.now();
    this.#at = now + ms;
    if (this.#at < this.#firesAt) this.#arm(now);
  }

  /** None, until the next `set`. */
  clear(): void {
    this.#at = Infinity;
  }

  /** None, and no timer left behind. */
  destroy(): void {
    this.#at = Infinity;
    this.#firesAt = Infinity;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #arm(now: number): void {
    this.#cancel?.();
    this.#firesAt = this.#at;
    this.#cancel = this.#clock.after(this.#at - now, () => this.#fire());
  }

  #fire(): void {
    this.#cancel = undefined;
    this.#firesAt = Infinity;
    if (this.#at === Infinity) return;
    const now = this.#clock.now();
    // Timers may fire a fraction of a millisecond early.
    if (this.#at - now >= 1) this.#arm(now);
    else {
      this.#at = Infinity;
      this.#passed();
    }
  }
}
