/** DNS over TCP (RFC 7766): each message after its length. */

/** The message as it goes on a connection. */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Takes messages out of what arrives; holds no more than one of them. */
export class MessageReader {
  readonly #longest: number;
  readonly #onMessage: (message: Buffer) => void;
  readonly #length = Buffer.alloc(2);
  #lengthBytes = 0;
  #message: Buffer | undefined;
  #filled = 0;

  constructor(longest: number, onMessage: (message: Buffer) => void) {
    this.#longest = longest;
    this.#onMessage = onMessage;
  }

  /** False where a message is longer than any that is taken. */
  read(bytes: Buffer): boolean {
    let at = 0;
    while (at < bytes.length) {
      if (this.#message === undefined) {
        this.#length[this.#lengthBytes] = bytes.readUInt8(at);
        this.#lengthBytes += 1;
        at += 1;
        if (this.#lengthBytes < 2) continue;
        const length = this.#length.readUInt16BE();
        if (length > this.#longest) return false;
        this.#lengthBytes = 0;
        this.#filled = 0;
        this.#message = Buffer.alloc(length);
      }
      const copied = bytes.copy(this.#message, this.#filled, at);
      at += copied;
      this.#filled += copied;
      if (this.#filled < this.#message.length) continue;
      const message = this.#message;
      this.#message = undefined;
      this.#onMessage(message);
    }
    return true;
  }
}
