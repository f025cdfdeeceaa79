/** What has ended so surely that it may be erased: a clock that is ahead erases nothing, for what is gone does not come back when it is set. */
import type { Clock } from "../../core/clock.ts";
import type { MonotonicMs, WallMs } from "../../core/units.ts";

/** Milliseconds after a start in which nothing goes that was over by then: it may be the clock that is ahead. */
const SETTLED = 3_600_000;

/** What ended after the one and not after the other may go. */
export interface Erasable {
  readonly after: WallMs;
  readonly upTo: WallMs;
}

/** To be made at the start. */
export class Endings {
  readonly #clock: Pick<Clock, "now" | "wall">;
  readonly #start: { readonly wall: WallMs; readonly at: MonotonicMs };

  constructor(clock: Pick<Clock, "now" | "wall">) {
    this.#clock = clock;
    this.#start = { wall: clock.wall(), at: clock.now() };
  }

  /** By this machine's clock, and by what it was at the start: a jump ends nothing. */
  get times(): readonly WallMs[] {
    const { wall, at } = this.#start;
    return [this.#clock.wall(), wall + (this.#clock.now() - at)];
  }

  get erasable(): Erasable {
    const { wall, at } = this.#start;
    const isSettled = this.#clock.now() - at >= SETTLED;
    return {
      after: isSettled ? -Infinity : wall,
      upTo: Math.min(...this.times),
    };
  }

  /** Whether what ended then may go. */
  mayErase(end: WallMs): boolean {
    const { after, upTo } = this.erasable;
    return end > after && end <= upTo;
  }
}
