/** What DATA frames mean: content to its stream, counted against the windows; small pieces of one read together (RFC 9113 6.1, 6.9). */
import { ErrorCode, Flag, FrameType, protocolError } from "./frames/frames.ts";
import type { Session } from "./session.ts";
import { AFTER_END, type StreamRules } from "./stream-rules.ts";
import type { Stream } from "./streams/stream.ts";

/** DATA frames below this are counted as tiny; bytes. */
const TINY = 64;
/** Content of DATA frames below this waits until the read that brought it is understood: what is of one stream is passed on together. Bytes. */
const GATHERED = 1024;

export class DataIntake {
  readonly #session: Session;
  readonly #rules: StreamRules;
  /** The stream of the present DATA frame, where it takes content, and whether the frame ends it. */
  #stream: Stream | undefined;
  #ends = false;
  /** Streams with content of the present read that waits to be passed on. */
  #gathering: Stream[] = [];

  constructor(session: Session, rules: StreamRules) {
    this.#session = session;
    this.#rules = rules;
  }

  /** A frame begins: `content` bytes, and `length` that count for flow control. */
  begin(id: number, flags: number, length: number, content: number): void {
    if (id === 0) throw protocolError("DATA on stream 0 (6.1)");
    const session = this.#session;
    const stream = session.streams.get(id);
    this.#ends = (flags & Flag.END_STREAM) !== 0;
    this.#stream = undefined;
    if (stream === undefined) {
      this.#rules.lateFrame(id, FrameType.DATA);
      session.windows.received(undefined, length, session.now);
      return;
    }
    if (stream.remoteEnded) {
      session.windows.received(undefined, length, session.now);
      this.#rules.violated(stream, ErrorCode.STREAM_CLOSED, AFTER_END);
      return;
    }
    if (content < TINY && !this.#ends) {
      if (content === 0) session.count("empty_data");
      else if (stream.uncredited > 0) session.count("tiny_data");
    }
    if (!session.windows.received(stream, length, session.now)) {
      this.#rules.violated(
        stream,
        ErrorCode.FLOW_CONTROL_ERROR,
        "DATA beyond the stream's window (6.9)",
      );
      return;
    }
    this.#stream = stream;
  }

  content(chunk: Buffer): void {
    const stream = this.#stream;
    if (stream === undefined || stream.over) return;
    if (chunk.length < GATHERED && !this.#ends) {
      if (stream.gather(chunk)) this.#gathering.push(stream);
      return;
    }
    if (this.passOn(stream)) this.#deliver(stream, chunk);
  }

  end(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream === undefined || stream.over) return;
    if (!this.#ends) {
      this.#session.windows.passed(stream, this.#session.now);
      return;
    }
    if (!this.passOn(stream)) return;
    const flaw = stream.onEnd(undefined);
    if (flaw !== undefined)
      this.#session.malformed(stream, ErrorCode.PROTOCOL_ERROR, flaw);
  }

  /** The read is understood: passes on what waits of all streams. */
  readEnds(): void {
    const gathering = this.#gathering;
    if (gathering.length === 0) return;
    this.#gathering = [];
    for (const stream of gathering) this.passOn(stream);
  }

  /** Passes on what waits of a stream, before whatever comes behind it. False where the stream is over. */
  passOn(stream: Stream): boolean {
    const chunk = stream.takeGathered();
    if (chunk !== undefined && !stream.over) this.#deliver(stream, chunk);
    return !stream.over;
  }

  #deliver(stream: Stream, chunk: Buffer): void {
    const flaw = stream.onData(chunk);
    if (flaw !== undefined)
      this.#session.malformed(stream, ErrorCode.PROTOCOL_ERROR, flaw);
  }
}
