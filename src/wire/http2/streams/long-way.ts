/**
 * Whether the way to the peer is long: it has used up the connection's window, and what it sends once it hears of more comes only after
 * a while. On a short way a larger window is a longer queue, and small calls wait in it behind the bulk of others.
 */

/** Milliseconds from the last that the old window allowed to the first that needed the new one. */
const LONG = 5;
/** So many times in a row: a machine that is busy makes the peer wait now and then. */
const IN_A_ROW = 4;

export class LongWay {
  /** Bytes that have come. */
  #came = 0;
  #cameAt = 0;
  /** Where the window ended before it was given back, for the last two times; Infinity where what came has passed that. */
  #ended = Number.POSITIVE_INFINITY;
  #endedNext = Number.POSITIVE_INFINITY;
  #waits = 0;

  get isLong(): boolean {
    return this.#waits >= IN_A_ROW;
  }

  /** `length` bytes came at `now`, in monotonic milliseconds. */
  came(length: number, now: number): void {
    const silence = now - this.#cameAt;
    this.#cameAt = now;
    this.#came += length;
    if (this.#came <= this.#ended) return;
    this.#ended = this.#endedNext;
    this.#endedNext = Number.POSITIVE_INFINITY;
    this.#waits = silence < LONG ? 0 : this.#waits + 1;
  }

  /** More window is given while so many bytes of it are left. */
  given(left: number): void {
    const ended = this.#came + left;
    if (this.#ended === Number.POSITIVE_INFINITY) this.#ended = ended;
    else this.#endedNext = ended;
  }

  /** The window has grown: waits are counted anew. */
  reset(): void {
    this.#waits = 0;
  }
}
