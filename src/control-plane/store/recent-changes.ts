/** The newest changes as they were written: a watch that follows closely reads no file, and gets the very resources that the store has. */
import type { Change } from "./store.ts";

/** Changes that are kept at least; twice as many are kept at most. */
const KEPT = 512;

export class RecentChanges {
  /** The change of revision r is at r − before − 1. */
  readonly #changes: Change[] = [];
  #before: number;

  /** `newest`: the revision after which changes are added, one a revision without gaps. */
  constructor(newest: number) {
    this.#before = newest;
  }

  add(change: Change): void {
    this.#changes.push(change);
    if (this.#changes.length < 2 * KEPT) return;
    this.#changes.splice(0, KEPT);
    this.#before += KEPT;
  }

  /** The next changes after a revision, oldest first; undefined where some of them are not here any more. */
  read(after: number, limit: number): readonly Change[] | undefined {
    const start = after - this.#before;
    return start < 0 ? undefined : this.#changes.slice(start, start + limit);
  }
}
