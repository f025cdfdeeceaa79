/** What a connection has received and not yet understood: mostly one read, taken over as it is; grown only where a head comes in pieces. */

const EMPTY: Buffer = Buffer.alloc(0);
const HEAD_END = Buffer.from("\r\n\r\n", "latin1");
const CRLF = Buffer.from("\r\n", "latin1");
const LF = Buffer.from("\n", "latin1");

export class Input {
  /** The bytes at hand are bytes[start, end). Those before `start` may be in somebody else's hands: never written to again. */
  bytes: Buffer = EMPTY;
  start = 0;
  end = 0;
  /** No head ends before this offset; kept so that a head which trickles in is not searched from its start each time (law 15). */
  #searched = 0;
  /** Before this offset every LF of the head has its CR. */
  #paired = 0;
  /** How many bytes the first line of the head has, once its CRLF is there. */
  #firstLine: number | undefined;

  get length(): number {
    return this.end - this.start;
  }

  /** Bytes of memory that hold them. */
  get held(): number {
    return this.start === this.end ? 0 : this.bytes.length;
  }

  push(chunk: Buffer): void {
    if (this.start === this.end) {
      this.bytes = chunk;
      this.start = 0;
      this.end = chunk.length;
      this.#headBegins();
      return;
    }
    const needed = this.length + chunk.length;
    if (this.end + chunk.length > this.bytes.length) {
      // Twice what is needed: bytes that come one by one are copied a bounded number of times.
      const grown = Buffer.allocUnsafeSlow(needed * 2);
      this.bytes.copy(grown, 0, this.start, this.end);
      this.#searched = Math.max(0, this.#searched - this.start);
      this.#paired = Math.max(0, this.#paired - this.start);
      this.bytes = grown;
      this.end -= this.start;
      this.start = 0;
    }
    chunk.copy(this.bytes, this.end);
    this.end += chunk.length;
  }

  consume(to: number): void {
    this.start = to;
    this.#firstLine = undefined;
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
    this.#headBegins();
  }

  #headBegins(): void {
    this.#searched = 0;
    this.#paired = 0;
    this.#firstLine = undefined;
  }

  /** The offset of the CRLF CRLF that ends the head which begins at `start`; -1 where it is not there yet. */
  headEnd(): number {
    const from = Math.max(this.start, this.#searched);
    const found = this.#find(HEAD_END, from);
    if (found === -1) this.#searched = Math.max(this.start, this.end - 3);
    return found;
  }

  /** Whether a head that is not complete has an LF without CR already: it will never be one (RFC 9112 2.2). */
  hasBareLf(): boolean {
    const { bytes } = this;
    let from = Math.max(this.start, this.#paired);
    for (;;) {
      const at = this.#find(LF, from);
      if (at === -1) break;
      if (at === this.start || bytes[at - 1] !== 0x0d) return true;
      from = at + 1;
    }
    this.#paired = this.end;
    return false;
  }

  /** Whether the first line ends within that many bytes. */
  hasCrlfWithin(most: number): boolean {
    if (this.#firstLine === undefined) {
      const found = this.#find(CRLF, this.start);
      if (found === -1) return false;
      this.#firstLine = found - this.start;
    }
    return this.#firstLine <= most;
  }

  /** The offset of `sought` in bytes[from, end); -1 where it is not there. What stands behind `end` is old, and may be much. */
  #find(sought: Buffer, from: number): number {
    const { bytes, end } = this;
    if (end === bytes.length) return bytes.indexOf(sought, from);
    const found = bytes.subarray(from, end).indexOf(sought);
    return found === -1 ? -1 : from + found;
  }
}
