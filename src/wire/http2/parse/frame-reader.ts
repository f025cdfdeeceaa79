/** Cuts what the socket reads into frames (RFC 9113 4.1): DATA passes on in the pieces it came in, every other frame as a whole. */
import {
  ConnectionError,
  ErrorCode,
  Flag,
  FRAME_HEADER,
  FrameType,
  PREFACE,
} from "../frames/frames.ts";

export interface FrameSink {
  /** Any frame but DATA; its payload is `bytes[start, end)`, and kept beyond the call only where that is all of its memory. */
  frame(
    type: number,
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void;
  /** A DATA frame begins: `content` bytes, and `length` that count for flow control, padding included (6.1). */
  dataBegins(id: number, flags: number, length: number, content: number): void;
  /** Content of the DATA frame that began last. */
  dataContent(chunk: Buffer): void;
  dataEnds(): void;
}

type State = "preface" | "header" | "payload" | "pad-length" | "data";

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #largest: number;
  #state: State;
  /** A header cut by a read, and how much of it (or of the preface) is there. */
  readonly #header: Buffer = Buffer.alloc(FRAME_HEADER);
  #filled = 0;
  #length = 0;
  #type = 0;
  #flags = 0;
  #id = 0;
  /** A payload cut by a read. */
  #payload: Buffer | undefined;
  /** Bytes of the present DATA frame. */
  #content = 0;
  #padding = 0;
  #stopped = false;

  constructor(sink: FrameSink, largest: number, expectPreface: boolean) {
    this.#sink = sink;
    this.#largest = largest;
    this.#state = expectPreface ? "preface" : "header";
  }

  /** A frame other than DATA, or the preface, is begun and not complete. */
  get midway(): boolean {
    switch (this.#state) {
      case "header":
        return this.#filled > 0;
      case "payload":
      case "preface":
        return true;
      case "data":
      case "pad-length":
        return false;
    }
  }

  /** Bytes of memory that a payload cut by a read takes. */
  get held(): number {
    return this.#payload?.length ?? 0;
  }

  /** Takes nothing more. */
  stop(): void {
    this.#stopped = true;
    this.#payload = undefined;
  }

  /** Throws ConnectionError. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      switch (this.#state) {
        case "header":
          at = this.#readHeader(chunk, at);
          break;
        case "data":
          at = this.#readData(chunk, at);
          break;
        case "payload":
          at = this.#readPayload(chunk, at);
          break;
        case "pad-length":
          at = this.#readPadLength(chunk, at);
          break;
        case "preface":
          at = this.#readPreface(chunk, at);
          break;
      }
    }
  }

  #readPreface(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + PREFACE.length - this.#filled);
    for (; at < end; at++)
      if (chunk[at] !== PREFACE[this.#filled++])
        throw new ConnectionError(
          ErrorCode.PROTOCOL_ERROR,
          "the connection does not begin with the HTTP/2 preface",
        );
    if (this.#filled === PREFACE.length) {
      this.#filled = 0;
      this.#state = "header";
    }
    return at;
  }

  #readHeader(chunk: Buffer, at: number): number {
    let head = chunk;
    let from = at;
    if (this.#filled > 0 || chunk.length - at < FRAME_HEADER) {
      const taken = chunk.copy(this.#header, this.#filled, at);
      this.#filled += taken;
      at += taken;
      if (this.#filled < FRAME_HEADER) return at;
      head = this.#header;
      from = 0;
      this.#filled = 0;
    } else {
      at += FRAME_HEADER;
    }
    this.#length =
      ((head[from] ?? 0) << 16) |
      ((head[from + 1] ?? 0) << 8) |
      (head[from + 2] ?? 0);
    this.#type = head[from + 3] ?? 0;
    this.#flags = head[from + 4] ?? 0;
    this.#id =
      (((head[from + 5] ?? 0) & 0x7f) << 24) |
      ((head[from + 6] ?? 0) << 16) |
      ((head[from + 7] ?? 0) << 8) |
      (head[from + 8] ?? 0);
    if (this.#length > this.#largest)
      throw new ConnectionError(
        ErrorCode.FRAME_SIZE_ERROR,
        `a frame of ${this.#length} bytes, over the limit of ${this.#largest}`,
      );
    if (this.#type === FrameType.DATA) {
      this.#beginData();
      return at;
    }
    const end = at + this.#length;
    if (end <= chunk.length) {
      this.#sink.frame(this.#type, this.#flags, this.#id, chunk, at, end);
      return end;
    }
    // Memory of its own: a sink may keep it.
    this.#payload = Buffer.allocUnsafeSlow(this.#length);
    this.#state = "payload";
    return at;
  }

  #readPayload(chunk: Buffer, at: number): number {
    const payload = this.#payload;
    if (payload === undefined) return chunk.length;
    const taken = chunk.copy(payload, this.#filled, at);
    this.#filled += taken;
    if (this.#filled === payload.length) {
      this.#filled = 0;
      this.#payload = undefined;
      this.#state = "header";
      this.#sink.frame(
        this.#type,
        this.#flags,
        this.#id,
        payload,
        0,
        payload.length,
      );
    }
    return at + taken;
  }

  #beginData(): void {
    this.#content = this.#length;
    this.#padding = 0;
    if ((this.#flags & Flag.PADDED) === 0) {
      this.#sink.dataBegins(this.#id, this.#flags, this.#length, this.#length);
      this.#endDataIfComplete();
    } else if (this.#length === 0) {
      throw new ConnectionError(
        ErrorCode.FRAME_SIZE_ERROR,
        "a padded frame without the length of its padding",
      );
    } else {
      this.#state = "pad-length";
    }
  }

  #readPadLength(chunk: Buffer, at: number): number {
    this.#padding = chunk[at] ?? 0;
    if (this.#padding >= this.#length)
      throw new ConnectionError(
        ErrorCode.PROTOCOL_ERROR,
        "the padding is longer than its frame (6.1)",
      );
    this.#content = this.#length - 1 - this.#padding;
    this.#sink.dataBegins(this.#id, this.#flags, this.#length, this.#content);
    this.#endDataIfComplete();
    return at + 1;
  }

  #readData(chunk: Buffer, at: number): number {
    if (this.#content > 0) {
      const end = Math.min(chunk.length, at + this.#content);
      this.#content -= end - at;
      this.#sink.dataContent(
        at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end),
      );
      at = end;
    }
    const skipped = Math.min(this.#padding, chunk.length - at);
    this.#padding -= skipped;
    this.#endDataIfComplete();
    return at + skipped;
  }

  #endDataIfComplete(): void {
    if (this.#content === 0 && this.#padding === 0) {
      this.#state = "header";
      this.#sink.dataEnds();
    } else {
      this.#state = "data";
    }
  }
}
