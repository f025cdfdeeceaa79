/** What a connection has received and not yet understood: mostly one read, taken over as it is; grown only where a head comes in pieces. */

const EMPTY: Buffer = Buffer.alloc(0);
const HEAD_END = Buffer.from("\r\n\r\n", "latin1");

export class Input {
  /** The octets at hand are bytes[start, end). Those before `start` may be in somebody else's hands: never written to again. */
  bytes: Buffer = EMPTY;
  start = 0;
  end = 0;
  /** No head ends before this offset; kept so that a head which trickles in is not searched from its start each time. */
  #searched = 0;

  get length(): number {
    return this.end - this.start;
  }

  push(chunk: Buffer): void {
    if (this.start === this.end) {
      this.bytes = chunk;
      this.start = 0;
      this.end = chunk.length;
      this.#searched = 0;
      return;
    }
    const needed = this.length + chunk.length;
    if (this.end + chunk.length > this.bytes.length) {
      // Twice what is needed: octets that come one by one are copied a bounded number of times.
      const grown = Buffer.allocUnsafeSlow(needed * 2);
      this.bytes.copy(grown, 0, this.start, this.end);
      this.#searched = Math.max(0, this.#searched - this.start);
      this.bytes = grown;
      this.end -= this.start;
      this.start = 0;
    }
    chunk.copy(this.bytes, this.end);
    this.end += chunk.length;
  }

  consume(to: number): void {
    this.start = to;
    if (to === this.end) this.clear();
  }

  /** All that is at hand, taken out. */
  take(): Buffer {
    const taken = this.bytes.subarray(this.start, this.end);
    this.clear();
    return taken;
  }

  clear(): void {
    this.bytes = EMPTY;
    this.start = 0;
    this.end = 0;
    this.#searched = 0;
  }

  /** The offset of the CRLF CRLF that ends the head which begins at `start`; -1 where it is not there yet. */
  headEnd(): number {
    const from = Math.max(this.start, this.#searched);
    const found = this.bytes.indexOf(HEAD_END, from);
    if (found !== -1 && found + 4 <= this.end) return found;
    this.#searched = Math.max(this.start, this.end - 3);
    return -1;
  }

  /** Whether a head that is not complete has an LF without CR already: it will never be one (RFC 9112 2.2). */
  hasBareLf(): boolean {
    for (
      let at = this.bytes.indexOf(0x0a, this.start);
      at !== -1 && at < this.end;
      at = this.bytes.indexOf(0x0a, at + 1)
    )
      if (at === this.start || this.bytes[at - 1] !== 0x0d) return true;
    return false;
  }

  /** Whether the first line ends within that many octets. */
  hasCrlfWithin(octets: number): boolean {
    const found = this.bytes.indexOf("\r\n", this.start, "latin1");
    return found !== -1 && found < this.end && found - this.start <= octets;
  }
}
