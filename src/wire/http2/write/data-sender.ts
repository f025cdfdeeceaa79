/** DATA of many streams, in turn and under flow control (RFC 9113 5.2, 6.9): the sending half of every stream of a connection. */
import type { Buffers } from "../../buffers.ts";
import { ChunkQueue } from "../../chunk-queue.ts";
import type { Fields } from "../../fields.ts";
import {
  ConnectionError,
  DEFAULT_FRAME_SIZE,
  DEFAULT_WINDOW,
  ErrorCode,
  Flag,
  FRAME_HEADER,
  FrameType,
  MAX_31,
} from "../frames/frames.ts";
import type { Http2Limits } from "../limits.ts";
import type { Output } from "./output.ts";

/** The largest DATA frame of ours, whatever the peer takes: streams take turns frame by frame. With its header it fills a TLS record, so that the peer gets it in one piece. */
const FAIR_SHARE = DEFAULT_FRAME_SIZE - FRAME_HEADER;

/** The sending half of a stream. Its fields are the data sender's to write, but for `ending`. */
export interface SendingHalf {
  readonly id: number;
  /** What the peer lets us send; below zero after it lowered its initial window (6.9.2). */
  sendWindow: number;
  /** What is not yet framed, where there was any; of the first chunk, `queueAt` bytes have gone. */
  queue: ChunkQueue | undefined;
  queueAt: number;
  queued: number;
  /** Stands in the ring. */
  waiting: boolean;
  /** `end` was called. */
  readonly ending: boolean;
  trailers: Fields | undefined;
  /** `write` said false, so `drained` is owed. */
  wantsDrain: boolean;
  readonly over: boolean;
  sentEnd(): void;
  /** Our half has ended. */
  settle(): void;
  /** Room in the queue again after `write` said false. */
  onDrained(): void;
}

/** What sends the rest of a connection's frames. */
export interface FrameSender {
  /** Something was written, and has to leave. */
  touch(): void;
  trailers(id: number, trailers: Fields): void;
}

export class DataSender {
  /** The peer's SETTINGS_INITIAL_WINDOW_SIZE. */
  initialWindow: number = DEFAULT_WINDOW;
  readonly #limits: Http2Limits;
  readonly #buffers: Buffers;
  readonly #output: Output;
  readonly #frames: FrameSender;
  #window: number = DEFAULT_WINDOW;
  /** Bytes of the largest DATA frame that both ends take. */
  #frameSize: number = FAIR_SHARE;
  /** Streams with data and window, in turn; from `head` on. */
  #ring: SendingHalf[] = [];
  #head = 0;
  #pumping = false;

  constructor(
    limits: Http2Limits,
    buffers: Buffers,
    output: Output,
    frames: FrameSender,
  ) {
    this.#limits = limits;
    this.#buffers = buffers;
    this.#output = output;
    this.#frames = frames;
  }

  /** The peer's SETTINGS_MAX_FRAME_SIZE. */
  limitFrames(size: number): void {
    this.#frameSize = Math.min(size, FAIR_SHARE);
  }

  /** Takes a chunk; false when the stream has enough queued. */
  write(stream: SendingHalf, chunk: Buffer): boolean {
    let from = 0;
    if (stream.queued === 0 && this.#head === this.#ring.length) {
      from = this.#writeNow(stream, chunk);
      this.#frames.touch();
      if (from === chunk.length) return true;
    }
    const buffers = this.#buffers;
    stream.queue ??= new ChunkQueue();
    stream.queue.push(from === 0 ? chunk : chunk.subarray(from), buffers.waste);
    stream.queued += chunk.length - from;
    buffers.change(chunk.length - from);
    this.#enqueue(stream);
    // Full before the next chunk makes it so: what a queue holds is not a chunk more than it may.
    if (stream.queued + chunk.length <= this.#queueLimit)
      return !stream.wantsDrain;
    stream.wantsDrain = true;
    return false;
  }

  /** Frames what the windows and the output take at once; gives how many bytes that were. */
  #writeNow(stream: SendingHalf, chunk: Buffer): number {
    const { length } = chunk;
    let from = 0;
    while (from < length && this.#output.hasRoom()) {
      const size = Math.min(
        length - from,
        stream.sendWindow,
        this.#window,
        this.#frameSize,
      );
      if (size <= 0) break;
      this.#output.data(stream.id, chunk, from, from + size, false);
      stream.sendWindow -= size;
      this.#window -= size;
      from += size;
    }
    return from;
  }

  /** Bytes that may wait on a stream. */
  get #queueLimit(): number {
    return Math.min(this.#limits.streamQueueBytes, this.#buffers.share);
  }

  /** Forgets what waits on a stream that is over. */
  drop(stream: SendingHalf): void {
    if (stream.queued > 0) this.#buffers.change(-stream.queued);
    stream.queue = undefined;
    stream.queued = 0;
  }

  /** Ends our half of the stream, behind what is queued. */
  end(stream: SendingHalf, trailers: Fields | undefined): void {
    stream.trailers =
      trailers !== undefined && trailers.length > 0 ? trailers : undefined;
    if (stream.queued === 0) this.#finish(stream);
  }

  #finish(stream: SendingHalf): void {
    const { trailers, id } = stream;
    if (trailers !== undefined) {
      this.#frames.trailers(id, trailers);
    } else if (!this.#output.endLast(id)) {
      this.#output.frames.header(0, FrameType.DATA, Flag.END_STREAM, id);
      this.#frames.touch();
    }
    stream.sentEnd();
    stream.settle();
  }

  /** Puts a stream that has data and window at the end of the ring. */
  #enqueue(stream: SendingHalf): void {
    if (stream.waiting || stream.sendWindow <= 0) return;
    stream.waiting = true;
    this.#ring.push(stream);
  }

  /** One frame of each waiting stream in turn, as long as the windows and the socket take them. */
  pump(): void {
    if (this.#pumping || this.#head === this.#ring.length) return;
    this.#pumping = true;
    while (
      this.#head < this.#ring.length &&
      this.#window > 0 &&
      this.#output.hasRoom()
    ) {
      const stream = this.#ring[this.#head++];
      if (this.#head > 256 && this.#head * 2 > this.#ring.length) {
        this.#ring = this.#ring.slice(this.#head);
        this.#head = 0;
      }
      if (stream === undefined) continue;
      stream.waiting = false;
      if (!stream.over) this.#sendOne(stream);
    }
    if (this.#head === this.#ring.length && this.#head > 0) {
      this.#ring = [];
      this.#head = 0;
    }
    this.#pumping = false;
  }

  #sendOne(stream: SendingHalf): void {
    const { queue } = stream;
    const chunk = queue?.chunks[0];
    if (queue === undefined || chunk === undefined) return;
    const from = stream.queueAt;
    const size = Math.min(
      chunk.length - from,
      stream.sendWindow,
      this.#window,
      this.#frameSize,
    );
    if (size <= 0) return;
    stream.queued -= size;
    this.#buffers.change(-size);
    const ends =
      stream.queued === 0 && stream.ending && stream.trailers === undefined;
    this.#output.data(stream.id, chunk, from, from + size, ends);
    stream.sendWindow -= size;
    this.#window -= size;
    if (from + size === chunk.length) {
      queue.shift();
      stream.queueAt = 0;
    } else {
      stream.queueAt = from + size;
    }
    this.#frames.touch();
    if (stream.queued > 0) this.#enqueue(stream);
    else if (ends) {
      stream.sentEnd();
      stream.settle();
      return;
    } else if (stream.ending) {
      this.#finish(stream);
      return;
    }
    if (stream.wantsDrain && stream.queued <= this.#queueLimit / 2) {
      stream.wantsDrain = false;
      stream.onDrained();
    }
  }

  /** WINDOW_UPDATE of the connection. Throws ConnectionError. */
  grant(increment: number): void {
    this.#window += increment;
    if (this.#window > MAX_31)
      throw new ConnectionError(
        ErrorCode.FLOW_CONTROL_ERROR,
        "the connection's window exceeds 2^31-1 (6.9.1)",
      );
    this.#frames.touch();
  }

  /** WINDOW_UPDATE of a stream, or a change of the initial window; false where it overflows. */
  grantStream(stream: SendingHalf, increment: number): boolean {
    if (stream.sendWindow + increment > MAX_31) return false;
    stream.sendWindow += increment;
    if (stream.queued > 0) {
      this.#enqueue(stream);
      this.#frames.touch();
    }
    return true;
  }
}
