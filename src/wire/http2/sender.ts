/** Everything that a connection sends: frames into the output, DATA of many streams in turn under flow control (RFC 9113 5.2, 6.9). */
import type { Socket } from "node:net";
import type { Buffers } from "../buffers.ts";
import { ChunkQueue } from "../chunk-queue.ts";
import type { Fields } from "../fields.ts";
import type { RequestHead, ResponseHead } from "../exchange.ts";
import {
  ConnectionError,
  DEFAULT_FRAME_SIZE,
  DEFAULT_WINDOW,
  ErrorCode,
  Flag,
  FRAME_HEADER,
  FrameType,
  MAX_31,
  PREFACE,
} from "./frames/frames.ts";
import { writeRequestHead, writeResponseHead, writeTrailers } from "./heads.ts";
import { Encoder } from "./hpack/encoder.ts";
import type { Http2Limits } from "./limits.ts";
import { Output } from "./output.ts";
import { writeHeader } from "./frames/byte-writer.ts";
import type { Stream } from "./stream.ts";

/** The largest DATA frame of ours, whatever the peer takes: streams take turns frame by frame. With its header it fills a TLS record, so that the peer gets it in one piece. */
const FAIR_SHARE = DEFAULT_FRAME_SIZE - FRAME_HEADER;
/** Debug data of GOAWAY is for people; octets. */
const LONGEST_DEBUG = 200;

/** Writes with a head by itself after which no company is expected any more. */
const HOPE = 8;

export class Sender {
  readonly encoder: Encoder;
  readonly output: Output;
  /** The peer's SETTINGS_INITIAL_WINDOW_SIZE. */
  initialWindow: number = DEFAULT_WINDOW;
  private readonly limits: Http2Limits;
  private readonly buffers: Buffers;
  private readonly afterDrain: () => void;
  private window: number = DEFAULT_WINDOW;
  private frameSize: number = DEFAULT_FRAME_SIZE;
  /** That of DATA. */
  private dataSize: number = FAIR_SHARE;
  /** Streams with data and window, in turn; from `head` on. */
  private ring: Stream[] = [];
  private head = 0;
  /** A read event is being handled: what it causes is flushed at its end. */
  private inRead = false;
  private scheduled = false;
  /** Requests and answers that the end of this turn will send, and whether they have waited for it once already. */
  private heads = 0;
  private waited = false;
  /** Writes for which a head by itself waits yet. */
  private hope = 0;
  private pumping = false;

  /** `afterDrain` is called when the socket has taken all after it had been busy. */
  constructor(
    socket: Socket,
    limits: Http2Limits,
    buffers: Buffers,
    afterDrain: () => void,
  ) {
    this.limits = limits;
    this.buffers = buffers;
    this.afterDrain = afterDrain;
    this.encoder = new Encoder(limits.headerTableBytes);
    this.output = new Output(socket, this.onDrained, buffers);
  }

  // --- when frames leave ---

  readBegins(): void {
    this.inRead = true;
  }

  /** Flushes, unless others have scheduled a flush in this turn anyway: then all goes out in one write. */
  readEnds(): void {
    this.inRead = false;
    if (this.head < this.ring.length) this.pump();
    if (this.scheduled) return;
    this.heads = 0;
    this.output.flush();
  }

  /** Something was written: it leaves at the end of the read event, or of this turn of the event loop. */
  private touch(): void {
    if (this.inRead || this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.onTurn);
  }

  /**
   * Where calls come together others are on their way: they are waited for, by one turn, and share the write. So does a call by itself,
   * as long as one of the last few writes had company; a caller with one call at a time waits for nobody.
   */
  private readonly onTurn = (): void => {
    const { heads } = this;
    if (!this.waited && (heads > 1 || (heads === 1 && this.hope > 0))) {
      this.waited = true;
      setImmediate(this.onTurn);
      return;
    }
    if (heads > 1) this.hope = HOPE;
    else if (heads === 1 && this.hope > 0) this.hope -= 1;
    this.heads = 0;
    this.waited = false;
    this.scheduled = false;
    this.flush();
  };

  private readonly onDrained = (): void => {
    this.flush();
    this.afterDrain();
  };

  flush(): void {
    if (this.head < this.ring.length) this.pump();
    this.output.flush();
  }

  /** The socket is busy and more than a usual write waits behind it. */
  get backlogged(): boolean {
    return this.output.stuckOver(this.limits.outputBytes);
  }

  // --- DATA ---

  /** Takes a chunk; false when the stream has enough queued. */
  write(stream: Stream, chunk: Buffer): boolean {
    let from = 0;
    if (stream.queued === 0 && this.head === this.ring.length) {
      const { length } = chunk;
      while (from < length && this.hasRoom()) {
        const size = Math.min(
          length - from,
          stream.sendWindow,
          this.window,
          this.dataSize,
        );
        if (size <= 0) break;
        this.output.data(stream.id, chunk, from, from + size, false);
        stream.sendWindow -= size;
        this.window -= size;
        from += size;
      }
      this.touch();
      if (from === length) return true;
    }
    const { buffers } = this;
    stream.queue ??= new ChunkQueue();
    stream.queue.push(from === 0 ? chunk : chunk.subarray(from), buffers.waste);
    stream.queued += chunk.length - from;
    buffers.change(chunk.length - from);
    this.enqueue(stream);
    // Full before the next chunk makes it so: what a queue holds is not a chunk more than it may.
    if (stream.queued + chunk.length <= this.queueLimit)
      return !stream.wantsDrain;
    stream.wantsDrain = true;
    return false;
  }

  /** Octets that may wait on a stream. */
  private get queueLimit(): number {
    return Math.min(this.limits.streamQueueBytes, this.buffers.share);
  }

  /** Forgets what waits on a stream that is over. */
  drop(stream: Stream): void {
    if (stream.queued > 0) this.buffers.change(-stream.queued);
    stream.queue = undefined;
    stream.queued = 0;
  }

  /** Ends our half of the stream, behind what is queued. */
  end(stream: Stream, trailers: Fields | undefined): void {
    stream.trailers =
      trailers !== undefined && trailers.length > 0 ? trailers : undefined;
    if (stream.queued === 0) this.finish(stream);
  }

  private finish(stream: Stream): void {
    const { trailers, id } = stream;
    if (trailers !== undefined) {
      const start = this.beginFields();
      writeTrailers(this.encoder, trailers, this.output);
      this.endFields(start, id, true);
    } else if (!this.output.endLast(id)) {
      this.output.header(0, FrameType.DATA, Flag.END_STREAM, id);
      this.touch();
    }
    stream.sentEnd();
    stream.settle();
  }

  /** Puts a stream that has data and window at the end of the ring. */
  private enqueue(stream: Stream): void {
    if (stream.waiting || stream.sendWindow <= 0) return;
    stream.waiting = true;
    this.ring.push(stream);
  }

  /** Whether DATA may join the output: it is kept short, so that small frames do not wait behind bulk. */
  private hasRoom(): boolean {
    const { output } = this;
    const { outputBytes } = this.limits;
    // A socket that is busy may be one that nobody reads from.
    if (output.busy)
      return output.size < Math.min(outputBytes, this.buffers.share);
    if (output.size < outputBytes) return true;
    output.flush();
    return output.size < outputBytes;
  }

  /** One frame of each waiting stream in turn, as long as the windows and the socket take them. */
  private pump(): void {
    if (this.pumping) return;
    this.pumping = true;
    while (this.head < this.ring.length && this.window > 0 && this.hasRoom()) {
      const stream = this.ring[this.head++];
      if (this.head > 256 && this.head * 2 > this.ring.length) {
        this.ring = this.ring.slice(this.head);
        this.head = 0;
      }
      if (stream === undefined) continue;
      stream.waiting = false;
      if (!stream.over) this.sendOne(stream);
    }
    if (this.head === this.ring.length && this.head > 0) {
      this.ring = [];
      this.head = 0;
    }
    this.pumping = false;
  }

  private sendOne(stream: Stream): void {
    const { queue } = stream;
    const chunk = queue?.chunks[0];
    if (queue === undefined || chunk === undefined) return;
    const from = stream.queueAt;
    const size = Math.min(
      chunk.length - from,
      stream.sendWindow,
      this.window,
      this.dataSize,
    );
    if (size <= 0) return;
    stream.queued -= size;
    this.buffers.change(-size);
    const ends =
      stream.queued === 0 && stream.ending && stream.trailers === undefined;
    this.output.data(stream.id, chunk, from, from + size, ends);
    stream.sendWindow -= size;
    this.window -= size;
    if (from + size === chunk.length) {
      queue.shift();
      stream.queueAt = 0;
    } else {
      stream.queueAt = from + size;
    }
    this.touch();
    if (stream.queued > 0) this.enqueue(stream);
    else if (ends) {
      stream.sentEnd();
      stream.settle();
      return;
    } else if (stream.ending) {
      this.finish(stream);
      return;
    }
    if (stream.wantsDrain && stream.queued <= this.queueLimit / 2) {
      stream.wantsDrain = false;
      stream.onDrained();
    }
  }

  // --- what the peer grants ---

  /** WINDOW_UPDATE of the connection. */
  grant(increment: number): void {
    this.window += increment;
    if (this.window > MAX_31)
      throw new ConnectionError(
        ErrorCode.FLOW_CONTROL_ERROR,
        "the connection's window exceeds 2^31-1 (6.9.1)",
      );
    this.touch();
  }

  /** WINDOW_UPDATE of a stream, or a change of the initial window; false where it overflows. */
  grantStream(stream: Stream, increment: number): boolean {
    if (stream.sendWindow + increment > MAX_31) return false;
    stream.sendWindow += increment;
    if (stream.queued > 0) {
      this.enqueue(stream);
      this.touch();
    }
    return true;
  }

  /** The peer's SETTINGS_MAX_FRAME_SIZE. */
  limitFrames(size: number): void {
    this.frameSize = Math.min(size, DEFAULT_FRAME_SIZE);
    this.dataSize = Math.min(size, FAIR_SHARE);
  }

  // --- field blocks ---

  request(id: number, head: RequestHead, ends: boolean): void {
    const start = this.beginFields();
    writeRequestHead(this.encoder, head, this.output);
    this.heads += 1;
    this.endFields(start, id, ends);
    this.output.mark(id, start);
    this.flushIfLarge();
  }

  response(id: number, head: ResponseHead, ends: boolean): void {
    const start = this.beginFields();
    writeResponseHead(this.encoder, head, this.output);
    this.heads += 1;
    this.endFields(start, id, ends);
    if (head.status >= 200) this.output.mark(id, start);
    this.flushIfLarge();
  }

  /** Many large heads in one turn need not be held until its end. */
  private flushIfLarge(): void {
    if (this.output.size >= this.limits.outputBytes) this.output.flush();
  }

  private beginFields(): number {
    const { output } = this;
    const start = output.length;
    output.reserve(FRAME_HEADER);
    output.length += FRAME_HEADER;
    return start;
  }

  /** Completes the HEADERS frame that began at `start`; what is over the peer's frame size goes on in CONTINUATION (6.10). */
  private endFields(start: number, id: number, ends: boolean): void {
    const { output, frameSize } = this;
    const end = ends ? Flag.END_STREAM : 0;
    const length = output.length - start - FRAME_HEADER;
    if (length <= frameSize) {
      writeHeader(
        output.bytes,
        start,
        length,
        FrameType.HEADERS,
        end | Flag.END_HEADERS,
        id,
      );
    } else {
      const block = Buffer.from(
        output.bytes.subarray(start + FRAME_HEADER, output.length),
      );
      writeHeader(output.bytes, start, frameSize, FrameType.HEADERS, end, id);
      output.length = start + FRAME_HEADER + frameSize;
      for (let at = frameSize; at < length; at += frameSize) {
        const size = Math.min(frameSize, length - at);
        const last = at + size === length ? Flag.END_HEADERS : 0;
        output.header(size, FrameType.CONTINUATION, last, id);
        output.copy(block, at, at + size);
      }
    }
    this.touch();
  }

  // --- frames of the connection ---

  /** What a client says before anything else (3.4). */
  preface(): void {
    this.output.copy(PREFACE, 0, PREFACE.length);
    this.touch();
  }

  /** Pairs of identifier and value (6.5.1). */
  settings(pairs: readonly (readonly [number, number])[]): void {
    this.output.header(pairs.length * 6, FrameType.SETTINGS, 0, 0);
    for (const [setting, value] of pairs) {
      this.output.uint16(setting);
      this.output.uint32(value);
    }
    this.touch();
  }

  settingsAck(): void {
    this.output.header(0, FrameType.SETTINGS, Flag.ACK, 0);
    this.touch();
  }

  ping(bytes: Buffer, start: number, ack: boolean): void {
    this.output.header(8, FrameType.PING, ack ? Flag.ACK : 0, 0);
    this.output.copy(bytes, start, start + 8);
    this.touch();
  }

  notice(payload: Buffer): void {
    this.output.header(payload.length, FrameType.NOTICE, 0, 0);
    this.output.copy(payload, 0, payload.length);
    this.touch();
  }

  windowUpdate(id: number, increment: number): void {
    this.output.header(4, FrameType.WINDOW_UPDATE, 0, id);
    this.output.uint32(increment);
    this.touch();
  }

  reset(id: number, code: number): void {
    this.output.header(4, FrameType.RST_STREAM, 0, id);
    this.output.uint32(code);
    this.touch();
  }

  goaway(lastId: number, code: number, detail: string): void {
    const debug = Buffer.from(detail.slice(0, LONGEST_DEBUG), "latin1");
    this.output.header(8 + debug.length, FrameType.GOAWAY, 0, 0);
    this.output.uint32(lastId);
    this.output.uint32(code);
    this.output.copy(debug, 0, debug.length);
    this.touch();
  }
}
