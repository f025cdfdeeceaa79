/**
 * Where the frames of a WebSocket begin and end in a stream of bytes (RFC 6455 5.2). Nothing is looked at but the heads of frames, and
 * nothing is changed: it is for a writer that puts a frame of its own between two others.
 *
 * ```
 *   FIN RSV opcode │ MASK length │ 0, 2 or 8 bytes of length │ 0 or 4 bytes of mask │ payload
 * ```
 */
import { randomBytes } from "node:crypto";

/** Close codes that a proxy has a use for (RFC 6455 7.4.1). */
export const CloseCode = {
  GOING_AWAY: 1001,
  POLICY_VIOLATION: 1008,
} as const;

const CLOSE = 0x8;
const FIN = 0x80;
const MASK = 0x80;
/** Bytes of a control frame's payload at most (RFC 6455 5.5), of which two are the code. */
const LONGEST_REASON = 123;

/** Follows the frames of one direction. */
export class FrameTracker {
  /** Bytes of the present frame's head that have come. */
  #seen = 0;
  /** Bytes that the head has in all, as far as is known. */
  #headSize = 2;
  /** Where the length ends in the head. */
  #lengthEnd = 2;
  #length = 0;
  #opcode = 0;
  /** Bytes of the payload that are still to come. */
  #left = 0;
  #closed = false;

  /** No frame has begun that has not ended. */
  get between(): boolean {
    return this.#left === 0 && this.#seen === 0;
  }

  /** A Close frame has passed: nothing may follow it (RFC 6455 5.5.1). */
  get closed(): boolean {
    return this.#closed;
  }

  /** Takes all of a chunk. */
  pass(chunk: Buffer): void {
    for (let at = 0; at >= 0 && at < chunk.length;) at = this.next(chunk, at);
  }

  /** Takes the chunk from `from` to the end of the present frame, and gives that offset; -1 where the frame goes on behind the chunk. */
  next(chunk: Buffer, from: number): number {
    let at = from;
    while (at < chunk.length) {
      if (this.#left === 0) {
        if (!this.#head(chunk[at] ?? 0)) {
          at += 1;
          continue;
        }
        at += 1;
      }
      const part = Math.min(this.#left, chunk.length - at);
      this.#left -= part;
      at += part;
      if (this.#left === 0) {
        if (this.#opcode === CLOSE) this.#closed = true;
        return at;
      }
    }
    return -1;
  }

  /** Takes a byte of a head; true where it was the last. */
  #head(byte: number): boolean {
    const at = this.#seen;
    this.#seen += 1;
    if (at === 0) this.#opcode = byte & 0x0f;
    else if (at === 1) {
      const length = byte & 0x7f;
      this.#length = length < 126 ? length : 0;
      this.#lengthEnd = length < 126 ? 2 : length === 126 ? 4 : 10;
      this.#headSize = this.#lengthEnd + ((byte & MASK) === 0 ? 0 : 4);
      // A length of 2^53 and more is rounded: that frame has no end in any lifetime.
    } else if (at < this.#lengthEnd) this.#length = this.#length * 256 + byte;
    if (this.#seen < 2 || this.#seen < this.#headSize) return false;
    this.#seen = 0;
    this.#left = this.#length;
    return true;
  }
}

/** A Close frame (RFC 6455 5.5.1). `masked`: it goes from a client to a server (5.3). */
export function closeFrame(
  code: number,
  reason: string,
  masked: boolean,
): Buffer {
  const payload = Buffer.alloc(2 + Math.min(reason.length, LONGEST_REASON));
  payload.writeUInt16BE(code);
  payload.write(reason, 2, "latin1");
  const head = Buffer.from([FIN | CLOSE, payload.length | (masked ? MASK : 0)]);
  if (!masked) return Buffer.concat([head, payload]);
  const mask = randomBytes(4);
  for (const [at, byte] of payload.entries())
    payload[at] = byte ^ (mask[at % 4] ?? 0);
  return Buffer.concat([head, mask, payload]);
}
