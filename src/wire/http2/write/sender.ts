/** Everything that a connection sends: its frames, its field blocks, and when they leave. DATA is `data-sender.ts`'s. */
import type { Socket } from "node:net";
import type { Buffers } from "../../buffers.ts";
import type { RequestHead, ResponseHead } from "../../exchange.ts";
import type { Fields } from "../../fields.ts";
import {
  DEFAULT_FRAME_SIZE,
  Flag,
  FRAME_HEADER,
  FrameType,
  PREFACE,
} from "../frames/frames.ts";
import { Encoder } from "../hpack/encoder.ts";
import type { Http2Limits } from "../limits.ts";
import { writeHeader } from "./byte-writer.ts";
import { DataSender, type FrameSender } from "./data-sender.ts";
import { writeRequestHead, writeResponseHead, writeTrailers } from "./heads.ts";
import { Output } from "./output.ts";

/** Debug data of GOAWAY is for people; bytes. */
const LONGEST_DEBUG = 200;

/** Writes with a head by itself after which no company is expected any more. */
const HOPE = 8;

export class Sender implements FrameSender {
  readonly encoder: Encoder;
  readonly output: Output;
  readonly data: DataSender;
  readonly #afterDrain: () => void;
  #frameSize: number = DEFAULT_FRAME_SIZE;
  /** A read event is being handled: what it causes is flushed at its end. */
  #inRead = false;
  #scheduled = false;
  /** Requests and responses that the end of this turn will send, and whether they have waited for it once already. */
  #heads = 0;
  #waited = false;
  /** Writes for which a head by itself waits yet. */
  #hope = 0;

  /** `afterDrain` is called when the socket has taken all after it had been busy. */
  constructor(
    socket: Socket,
    limits: Http2Limits,
    buffers: Buffers,
    afterDrain: () => void,
  ) {
    this.#afterDrain = afterDrain;
    this.encoder = new Encoder(limits.headerTableBytes);
    this.output = new Output(
      socket,
      limits.outputBytes,
      this.#onDrained,
      buffers,
    );
    this.data = new DataSender(limits, buffers, this.output, this);
  }

  // --- when frames leave ---

  readBegins(): void {
    this.#inRead = true;
  }

  /** Flushes, unless others have scheduled a flush in this turn anyway: then all goes out in one write. */
  readEnds(): void {
    this.#inRead = false;
    this.data.pump();
    if (this.#scheduled) return;
    this.#heads = 0;
    this.output.flush();
  }

  /** Something was written: it leaves at the end of the read event, or of this turn of the event loop. */
  touch(): void {
    if (this.#inRead || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#onTurn);
  }

  /**
   * Where calls come together others are on their way: they are waited for, by one turn, and share the write. So does a call by itself,
   * as long as one of the last few writes had company; a caller with one call at a time waits for nobody.
   */
  readonly #onTurn = (): void => {
    const heads = this.#heads;
    if (!this.#waited && (heads > 1 || (heads === 1 && this.#hope > 0))) {
      this.#waited = true;
      setImmediate(this.#onTurn);
      return;
    }
    if (heads > 1) this.#hope = HOPE;
    else if (heads === 1 && this.#hope > 0) this.#hope -= 1;
    this.#heads = 0;
    this.#waited = false;
    this.#scheduled = false;
    this.flush();
  };

  readonly #onDrained = (): void => {
    this.flush();
    this.#afterDrain();
  };

  flush(): void {
    this.data.pump();
    this.output.flush();
  }

  /** The socket is busy and more than a usual write waits behind it. */
  get backlogged(): boolean {
    return this.output.stuckOver(this.output.most);
  }

  /** The peer's SETTINGS_MAX_FRAME_SIZE. */
  limitFrames(size: number): void {
    this.#frameSize = Math.min(size, DEFAULT_FRAME_SIZE);
    this.data.limitFrames(size);
  }

  // --- field blocks ---

  request(id: number, head: RequestHead, ends: boolean): void {
    const start = this.#beginFields();
    writeRequestHead(this.encoder, head, this.output.frames);
    this.#heads += 1;
    this.#endFields(start, id, ends);
    this.output.mark(id, start);
    this.#flushIfLarge();
  }

  response(id: number, head: ResponseHead, ends: boolean): void {
    const start = this.#beginFields();
    writeResponseHead(this.encoder, head, this.output.frames);
    this.#heads += 1;
    this.#endFields(start, id, ends);
    if (head.status >= 200) this.output.mark(id, start);
    this.#flushIfLarge();
  }

  trailers(id: number, trailers: Fields): void {
    const start = this.#beginFields();
    writeTrailers(this.encoder, trailers, this.output.frames);
    this.#endFields(start, id, true);
  }

  /** Many large heads in one turn need not be held until its end. */
  #flushIfLarge(): void {
    if (this.output.size >= this.output.most) this.output.flush();
  }

  #beginFields(): number {
    const { frames } = this.output;
    const start = frames.length;
    frames.reserve(FRAME_HEADER);
    frames.length += FRAME_HEADER;
    return start;
  }

  /** Completes the HEADERS frame that began at `start`; what is over the peer's frame size goes on in CONTINUATION (6.10). */
  #endFields(start: number, id: number, ends: boolean): void {
    const { frames } = this.output;
    const frameSize = this.#frameSize;
    const end = ends ? Flag.END_STREAM : 0;
    const length = frames.length - start - FRAME_HEADER;
    if (length <= frameSize) {
      writeHeader(
        frames.bytes,
        start,
        length,
        FrameType.HEADERS,
        end | Flag.END_HEADERS,
        id,
      );
    } else {
      const block = Buffer.from(
        frames.bytes.subarray(start + FRAME_HEADER, frames.length),
      );
      writeHeader(frames.bytes, start, frameSize, FrameType.HEADERS, end, id);
      frames.length = start + FRAME_HEADER + frameSize;
      for (let at = frameSize; at < length; at += frameSize) {
        const size = Math.min(frameSize, length - at);
        const last = at + size === length ? Flag.END_HEADERS : 0;
        frames.header(size, FrameType.CONTINUATION, last, id);
        frames.copy(block, at, at + size);
      }
    }
    this.touch();
  }

  // --- frames of the connection ---

  /** What a client says before anything else (3.4). */
  preface(): void {
    this.output.frames.copy(PREFACE, 0, PREFACE.length);
    this.touch();
  }

  /** Pairs of identifier and value (6.5.1). */
  settings(pairs: readonly (readonly [number, number])[]): void {
    const { frames } = this.output;
    frames.header(pairs.length * 6, FrameType.SETTINGS, 0, 0);
    for (const [setting, value] of pairs) {
      frames.uint16(setting);
      frames.uint32(value);
    }
    this.touch();
  }

  settingsAck(): void {
    this.output.frames.header(0, FrameType.SETTINGS, Flag.ACK, 0);
    this.touch();
  }

  ping(bytes: Buffer, start: number, ack: boolean): void {
    const { frames } = this.output;
    frames.header(8, FrameType.PING, ack ? Flag.ACK : 0, 0);
    frames.copy(bytes, start, start + 8);
    this.touch();
  }

  notice(payload: Buffer): void {
    const { frames } = this.output;
    frames.header(payload.length, FrameType.NOTICE, 0, 0);
    frames.copy(payload, 0, payload.length);
    this.touch();
  }

  windowUpdate(id: number, increment: number): void {
    const { frames } = this.output;
    frames.header(4, FrameType.WINDOW_UPDATE, 0, id);
    frames.uint32(increment);
    this.touch();
  }

  reset(id: number, code: number): void {
    const { frames } = this.output;
    frames.header(4, FrameType.RST_STREAM, 0, id);
    frames.uint32(code);
    this.touch();
  }

  goaway(lastId: number, code: number, detail: string): void {
    const debug = Buffer.from(detail.slice(0, LONGEST_DEBUG), "latin1");
    const { frames } = this.output;
    frames.header(8 + debug.length, FrameType.GOAWAY, 0, 0);
    frames.uint32(lastId);
    frames.uint32(code);
    frames.copy(debug, 0, debug.length);
    this.touch();
  }
}
