/** The tick over the clusters that have something to watch: one timer for all of them, and none while there is nothing. */
import type { Deadlines, Timed } from "../../../core/deadlines.ts";
import type { MonotonicMs } from "../../../core/units.ts";

/** A cluster that is looked at now and then. */
export interface Watch {
  /** Looks, and says when to look again: monotonic milliseconds, Infinity for not before it is woken. */
  look(now: MonotonicMs): number;
}

/** Milliseconds between two looks at a cluster with requests in flight. */
export const STALL_TICK = 25;

export class StallTicks implements Timed {
  dueAt = 0;
  dueSlot: number | undefined;
  readonly #deadlines: Deadlines;
  /** When each is looked at next. */
  readonly #next = new Map<Watch, number>();

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  /** Looks at it a tick from now, if not sooner. */
  wake(watch: Watch, now: MonotonicMs): void {
    const at = now + STALL_TICK;
    if ((this.#next.get(watch) ?? Infinity) > at) this.#next.set(watch, at);
    if (this.dueSlot === undefined || this.dueAt > at)
      this.#deadlines.set(this, at);
  }

  forget(watch: Watch): void {
    this.#next.delete(watch);
    if (this.#next.size === 0) this.#deadlines.leave(this);
  }

  due(now: MonotonicMs): void {
    let earliest = Infinity;
    for (const [watch, at] of [...this.#next]) {
      // Timers may fire a fraction of a millisecond early.
      const next = at - now < 1 ? watch.look(now) : at;
      if (next === Infinity) this.#next.delete(watch);
      else this.#next.set(watch, next);
      earliest = Math.min(earliest, next);
    }
    if (earliest < Infinity) this.#deadlines.set(this, earliest);
  }

  close(): void {
    this.#next.clear();
    this.#deadlines.close();
  }
}
