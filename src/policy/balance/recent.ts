/** When the latest few of something were, to find the latest of several: a ring that is written for each, and read for a few. */
import type { MonotonicMs } from "../../core/units.ts";

const KEPT = 32;

export class Recent {
  /** Made with the first: most endpoints of a large mesh are never called from here. */
  #times: Float64Array | undefined;
  #next = 0;

  add(at: MonotonicMs): void {
    this.#times ??= new Float64Array(KEPT).fill(-Infinity);
    this.#times[this.#next] = at;
    this.#next = (this.#next + 1) % KEPT;
  }

  /** Adds those that are later than what is in `latest`, which is in order, in the place of the earliest. */
  latest(latest: Float64Array): void {
    if (this.#times === undefined) return;
    for (const at of this.#times) {
      let place = 0;
      for (; at > (latest[place] ?? Infinity); place += 1)
        latest[place] = latest[place + 1] ?? at;
      if (place > 0) latest[place - 1] = at;
    }
  }
}
