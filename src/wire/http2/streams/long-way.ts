/**
 * Whether the way to the peer is long: it uses up the connection's window, falls silent, and goes on only some time after it was given
 * more. On a short way a larger window is a longer queue, and small calls wait in it behind the bulk of others.
 */

/** Milliseconds of silence between window and the first bytes that needed it. */
const LONG = 5;
/** Bytes that came at once before it: a peer that sends little now and then is silent, too. */
const MUCH = 65_536;
/** Bytes that a peer may leave of a window, rather than send less than a frame. */
const A_FRAME = 16_384;
/** So many waits in a row: on a busy machine there is one now and then. */
const IN_A_ROW = 16;

export class LongWay {
  /** Bytes that have come, and those of them since the last silence. */
  #came = 0;
  #atOnce = 0;
  #cameAt = 0;
  /** When the last silence behind much ended, and whether the peer had used up by then what it knew of. */
  #silentUntil = Number.NEGATIVE_INFINITY;
  #usedUp = false;
  /** When window was given, and where it ended before; a few at most, as it is given back in parts. */
  readonly #given: { readonly end: number; readonly at: number }[] = [];
  #waits = 0;

  get isLong(): boolean {
    return this.#waits >= IN_A_ROW;
  }

  /** `length` bytes came at `now`, in monotonic milliseconds. */
  came(length: number, now: number): void {
    if (now - this.#cameAt >= LONG) {
      if (this.#atOnce >= MUCH) this.#silence(now);
      this.#atOnce = 0;
    }
    this.#cameAt = now;
    this.#came += length;
    this.#atOnce += length;
    const given = this.#given[0];
    if (given === undefined || this.#came <= given.end) return;
    this.#given.shift();
    const waited = this.#usedUp && this.#silentUntil > given.at;
    this.#waits = waited ? this.#waits + 1 : 0;
  }

  #silence(until: number): void {
    const [oldest] = this.#given;
    this.#silentUntil = until;
    this.#usedUp = oldest !== undefined && oldest.end - this.#came < A_FRAME;
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
