/**
 * Whether the way to the peer is long: it has used up the connection's window, and what it sends once it hears of more comes only after
 * a while. On a short way a larger window is a longer queue, and small calls wait in it behind the bulk of others.
 */

/** Milliseconds from the last that the old window allowed to the first that needed the new one. */
const LONG = 5;
/** It is a wait for the window, and no pause of a peer that sends little, where it is so large a part of the time since window was given. */
const PART = 1 / 2;
/** So many times in a row: a machine that is busy makes the peer wait now and then. */
const IN_A_ROW = 4;

export class LongWay {
  /** Bytes that have come. */
  #came = 0;
  #cameAt = 0;
  /** When window was given, and where it ended before; no more than two, as it is given in halves. */
  readonly #given: { readonly end: number; readonly at: number }[] = [];
  #waits = 0;

  get isLong(): boolean {
    return this.#waits >= IN_A_ROW;
  }

  /** `length` bytes came at `now`, in monotonic milliseconds. */
  came(length: number, now: number): void {
    const silence = now - this.#cameAt;
    this.#cameAt = now;
    this.#came += length;
    const given = this.#given[0];
    if (given === undefined || this.#came <= given.end) return;
    this.#given.shift();
    const waited = silence >= LONG && silence >= (now - given.at) * PART;
    this.#waits = waited ? this.#waits + 1 : 0;
  }

  /** More window is given, while so many bytes of it are left. */
  given(left: number): void {
    this.#given.push({ end: this.#came + left, at: this.#cameAt });
  }

  /** The window has grown: waits are counted anew. */
  reset(): void {
    this.#waits = 0;
  }
}
