/** What becomes of frames that a stream may not get: one that was never opened, has ended, or is over (RFC 9113 5.1). */
import {
  ConnectionError,
  ErrorCode,
  FrameType,
  protocolError,
} from "./frames/frames.ts";
import type { Session } from "./session.ts";
import type { Stream } from "./streams/stream.ts";

export const AFTER_END = "a frame after END_STREAM (5.1)";

export class StreamRules {
  readonly #session: Session;
  readonly #isServer: boolean;
  /** Whether the stream was never opened. */
  readonly isIdle: (id: number) => boolean;

  constructor(
    session: Session,
    isServer: boolean,
    isIdle: (id: number) => boolean,
  ) {
    this.#session = session;
    this.#isServer = isServer;
    this.isIdle = isIdle;
  }

  /**
   * The peer broke a rule of streams that no message which it passes on for somebody else could break. RFC 9113 has the stream reset
   * for it, and lets a connection end (5.4.2). A client that makes its server reset streams (CVE-2025-8671) does this and nothing else, so a
   * client's connection ends at the first, with both. A server's lives on, for the sake of its other streams.
   */
  violated(stream: Stream, code: number, detail: string): void {
    if (!this.#isServer) {
      this.#session.malformed(stream, code, detail);
      return;
    }
    this.#session.sender.reset(stream.id, code);
    throw new ConnectionError(code, detail);
  }

  /** A frame for a stream that is not open: an error where the stream never was or the peer itself had ended it (5.1). */
  lateFrame(id: number, type: number): void {
    if (this.isIdle(id)) throw protocolError("a frame on an idle stream (5.1)");
    const { closed } = this.#session;
    // DATA is bounded by the connection's window.
    if (type !== FrameType.DATA) this.#session.count("stray_frames");
    if (type === FrameType.DATA || type === FrameType.HEADERS) {
      if (closed.wasEndedByPeer(id))
        throw new ConnectionError(
          ErrorCode.STREAM_CLOSED,
          "a frame on a stream that its sender had ended (5.1)",
        );
      if (closed.wasSkipped(id))
        throw protocolError(
          "a stream below one that was opened before (5.1.1)",
        );
    }
    // Otherwise our RST_STREAM or END_STREAM crossed it on the way: legal, however late (5.1).
  }
}
