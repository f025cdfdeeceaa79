/** What of whole responses waits for a caller that does not read, and since when it has been as much. */

export class Unread {
  #waiting = 0;
  #since = 0;

  /** Whether `waiting` bytes have waited for `ms`, as far as that was looked at. `now`: monotonic milliseconds. */
  stands(waiting: number, ms: number, now: number): boolean {
    if (waiting === 0 || waiting !== this.#waiting) {
      this.#waiting = waiting;
      this.#since = now;
      return false;
    }
    return now - this.#since >= ms;
  }
}
