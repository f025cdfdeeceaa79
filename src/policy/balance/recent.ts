/** When the latest few of something were, to count how many of them came after a moment: a ring that is written for each, and read for a few. */
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

  /** How many of the latest 32 were after `moment`. */
  after(moment: MonotonicMs): number {
    if (this.#times === undefined) return 0;
    let count = 0;
    for (const at of this.#times) if (at > moment) count += 1;
    return count;
  }
}
