/**
 * Streams that are over, as far as it must be known why. Late frames are legal for streams that we ended, so those need no
 * memory at all, and however many there are none is forgotten; what is remembered are the streams that the *peer* ended,
 * for which a further frame is its error (RFC 9113 5.1), and the ones that it skipped (5.1.1).
 */

/** Forgetting one of these turns an error into a frame that is ignored: harmless. */
const REMEMBERED = 128;
const RANGES = 16;

export class ClosedStreams {
  readonly #ended: Int32Array = new Int32Array(REMEMBERED);
  #endedNext = 0;
  readonly #skipped: { from: number; to: number }[] = [];

  /** The peer sent END_STREAM or RST_STREAM. */
  byPeer(id: number): void {
    this.#ended[this.#endedNext] = id;
    this.#endedNext = (this.#endedNext + 1) % REMEMBERED;
  }

  wasEndedByPeer(id: number): boolean {
    return this.#ended.includes(id);
  }

  /** The peer opened a stream and left out those of [from, to]: they are closed by that. */
  skip(from: number, to: number): void {
    if (this.#skipped.length === RANGES) this.#skipped.shift();
    this.#skipped.push({ from, to });
  }

  wasSkipped(id: number): boolean {
    return this.#skipped.some(({ from, to }) => id >= from && id <= to);
  }
}
