/** Puts a field block together from HEADERS and CONTINUATION frames (RFC 9113 4.3, 6.2, 6.10), within bounds. */
import {
  ConnectionError,
  ErrorCode,
  Flag,
  MAX_31,
  protocolError,
} from "../frames/frames.ts";
import type { Http2Limits } from "../limits.ts";

export class FieldBlock {
  id = 0;
  /** END_STREAM was set. */
  ends = false;
  /** Its priority made the stream depend on itself, a stream error of RFC 7540 5.3.1 that peers still test for. */
  selfDependent = false;
  /** The complete block is `[start, end)` of these, or, where undefined, of the frame that completed it. */
  bytes: Buffer | undefined;
  start = 0;
  end = 0;
  readonly #limits: Http2Limits;
  #parts: Buffer[] = [];
  /** Bytes of a block that is not complete. */
  size = 0;

  constructor(limits: Http2Limits) {
    this.#limits = limits;
  }

  /** CONTINUATION must come next. */
  get open(): boolean {
    return this.#parts.length > 0;
  }

  /** A HEADERS frame; true when the block is complete with it. */
  headers(
    id: number,
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): boolean {
    if (id === 0) throw protocolError("HEADERS on stream 0 (6.2)");
    this.id = id;
    this.ends = (flags & Flag.END_STREAM) !== 0;
    this.selfDependent = false;
    if ((flags & Flag.PADDED) !== 0) {
      if (start === end) throw tooShort();
      end -= bytes[start++] ?? 0;
    }
    if ((flags & Flag.PRIORITY) !== 0) {
      if (end - start < 5) throw tooShort();
      this.selfDependent = (bytes.readUInt32BE(start) & MAX_31) === id;
      start += 5;
    }
    if (end < start)
      throw protocolError("the padding is longer than its frame (6.2)");
    if ((flags & Flag.END_HEADERS) !== 0) {
      this.bytes = undefined;
      this.start = start;
      this.end = end;
      return true;
    }
    this.#keep(bytes, start, end);
    return false;
  }

  /** A CONTINUATION frame; true when the block is complete with it. */
  continuation(
    id: number,
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): boolean {
    if (!this.open || id !== this.id)
      throw protocolError("CONTINUATION without HEADERS before it (6.10)");
    this.#keep(bytes, start, end);
    if ((flags & Flag.END_HEADERS) === 0) return false;
    this.bytes = Buffer.concat(this.#parts);
    this.start = 0;
    this.end = this.bytes.length;
    return true;
  }

  clear(): void {
    this.bytes = undefined;
    if (this.#parts.length > 0) this.#parts = [];
    this.size = 0;
  }

  #keep(bytes: Buffer, start: number, end: number): void {
    this.size += end - start;
    if (
      this.#parts.length > this.#limits.continuations ||
      this.size > this.#limits.headerBlockBytes
    )
      throw new ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        `a field block of more than ${this.#limits.headerBlockBytes} bytes or ${this.#limits.continuations} CONTINUATION frames`,
        "field_block",
      );
    // Memory that has nothing else in it is kept as it is: what is copied waits for the collector beside its copy.
    const isAll = bytes.buffer.byteLength === end - start;
    this.#parts.push(isAll ? bytes : Buffer.from(bytes.subarray(start, end)));
  }
}

function tooShort(): ConnectionError {
  return new ConnectionError(
    ErrorCode.FRAME_SIZE_ERROR,
    "a HEADERS frame is too short for its flags (6.2)",
  );
}
