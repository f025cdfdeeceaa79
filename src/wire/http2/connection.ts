/**
 * What the frames of a connection mean to both of its ends (RFC 9113 section 6). `server.ts` and `client.ts` say what a new
 * stream, a GOAWAY and the end mean to each; `session.ts` how streams and the connection end.
 */
import type { Socket } from "node:net";
import type { Cancel } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { WorkerPlace } from "../exchange.ts";
import { FieldBlock } from "./frames/field-block.ts";
import { FrameReader, type FrameSink } from "./frames/frame-reader.ts";
import {
  ConnectionError,
  ErrorCode,
  Flag,
  FrameType,
  MAX_31,
} from "./frames/frames.ts";
import { Decoder } from "./hpack/decoder.ts";
import type { WireField } from "./hpack/names.ts";
import type { Http2Limit, Http2Options } from "./limits.ts";
import type { Output } from "./output.ts";
import { Session, type Cause } from "./session.ts";
import { announce, PeerSettings, readSettings } from "./settings.ts";
import { StallGuard, type Guarded } from "./stall-guard.ts";
import type { Stream } from "./stream.ts";

const SELF_DEPENDENT = "a stream depends on itself (RFC 7540 5.3.1)";
const AFTER_END = "a frame after END_STREAM (5.1)";
/** WINDOW_UPDATEs below this are counted as tiny; octets. */
const TINY_UPDATE = 256;
/** Octets of a NOTICE that is looked at. */
const MAX_NOTICE = 256;
/** DATA frames below this are. */
const TINY_DATA = 64;
/** Content of DATA frames below this waits until the read that brought it is understood: what is of one stream is passed on together. Octets. */
const GATHERED = 1024;
/** Milliseconds: a stream that is reset after them was not opened for that. */
const RAPID = 1000;

export abstract class Connection extends Session implements FrameSink, Guarded {
  protected readonly peer: PeerSettings = new PeerSettings();
  private readonly isServer: boolean;
  private readonly reader: FrameReader;
  private readonly decoder: Decoder;
  private readonly block: FieldBlock;
  /** Octets of frames and blocks that are not complete, as far as they have been counted. */
  private counted = 0;
  private settingsSeen = false;
  private settingsTimer: Cancel | undefined;
  protected readonly stalls: StallGuard;
  /** Frames and field blocks that are complete. */
  read = 0;
  /** The stream of the present DATA frame, where it takes content, and whether the frame ends it. */
  private dataStream: Stream | undefined;
  private dataFlags = 0;
  /** Streams with content of the present read that waits to be passed on. */
  private gathering: Stream[] = [];

  constructor(socket: Socket, options: Http2Options, isServer: boolean) {
    super(socket, options);
    this.isServer = isServer;
    this.reader = new FrameReader(this, this.limits.frameBytes, isServer);
    this.decoder = new Decoder(this.limits);
    this.decoder.allowTable(this.limits.headerTableBytes);
    this.block = new FieldBlock(this.limits);
    this.stalls = new StallGuard(this.clock, this.limits, this);
  }

  /** Says our SETTINGS, which come first (3.4). */
  protected start(place?: WorkerPlace): void {
    this.sender.settings(announce(this.limits, this.isServer, place));
    this.windows.open();
    this.settingsTimer = this.clock.after(this.limits.settingsTimeout, () =>
      this.fail(
        new ConnectionError(
          ErrorCode.SETTINGS_TIMEOUT,
          `SETTINGS were not acknowledged within ${this.limits.settingsTimeout} ms`,
          "settings_ack",
        ),
      ),
    );
  }

  // --- what the two ends differ in ---

  /** HEADERS that open a stream or belong to none that is open; the fields are decoded already. */
  protected abstract onNewFields(
    id: number,
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
    flaw: string | undefined,
  ): void;
  /** Whether the stream was never opened (5.1). */
  protected abstract isIdle(id: number): boolean;
  /** SETTINGS of the peer are in force. */
  protected abstract onPeerSettings(): void;
  protected abstract onGoaway(lastId: number, code: number): void;
  /** The octets may be written to again once it returns. */
  protected abstract onNotice(payload: Buffer): void;

  // --- bytes in ---

  protected onChunk(chunk: Buffer): void {
    if (this.over) return;
    this.now = this.clock.now();
    this.sender.readBegins();
    try {
      this.reader.push(chunk);
      if (this.gathering.length > 0) this.passGathered();
    } catch (thrown) {
      this.sender.readEnds();
      this.fail(
        thrown instanceof ConnectionError
          ? thrown
          : new ConnectionError(ErrorCode.INTERNAL_ERROR, messageOf(thrown)),
      );
      return;
    }
    this.sender.readEnds();
    this.countParts(this.block.size + this.reader.held);
    this.checkOutput();
    this.checkRoom(this.windows.held > 0 || this.counted > 0);
  }

  /** Half a frame, and a field block in several of them, wait here for their ends. */
  private countParts(octets: number): void {
    if (octets === this.counted) return;
    this.buffers.change(octets - this.counted);
    this.counted = octets;
  }

  /** What the peer makes us say is bounded: it must read, too. */
  protected checkOutput(): void {
    if (this.sender.output.stuckOver(this.limits.outputBytesMax * 4))
      this.fail(
        new ConnectionError(
          ErrorCode.ENHANCE_YOUR_CALM,
          "the peer does not read what it makes us send",
          "output",
        ),
      );
  }

  dataBegins(id: number, flags: number, length: number, content: number): void {
    this.admit(FrameType.DATA);
    if (id === 0) throw broken("DATA on stream 0 (6.1)");
    const stream = this.streams.get(id);
    this.dataFlags = flags;
    this.dataStream = undefined;
    if (stream === undefined) {
      this.onLateFrame(id, FrameType.DATA);
      this.windows.received(undefined, length);
      return;
    }
    if (stream.remoteEnded) {
      this.windows.received(undefined, length);
      this.violated(stream, ErrorCode.STREAM_CLOSED, AFTER_END);
      return;
    }
    if (content < TINY_DATA && (flags & Flag.END_STREAM) === 0) {
      if (content === 0) this.count("empty_data");
      else if (stream.uncredited > 0) this.count("tiny_data");
    }
    if (!this.windows.received(stream, length)) {
      this.violated(
        stream,
        ErrorCode.FLOW_CONTROL_ERROR,
        "DATA beyond the stream's window (6.9)",
      );
      return;
    }
    this.dataStream = stream;
  }

  dataContent(chunk: Buffer): void {
    const stream = this.dataStream;
    if (stream === undefined || stream.over) return;
    if (chunk.length < GATHERED && (this.dataFlags & Flag.END_STREAM) === 0) {
      if (stream.gather(chunk)) this.gathering.push(stream);
      return;
    }
    if (!this.passOn(stream)) return;
    const flaw = stream.onData(chunk);
    if (flaw !== undefined)
      this.malformed(stream, ErrorCode.PROTOCOL_ERROR, flaw);
  }

  /** Passes on what waits of all streams. */
  private passGathered(): void {
    const { gathering } = this;
    this.gathering = [];
    for (const stream of gathering) this.passOn(stream);
  }

  /** Passes on what waits of a stream, before whatever comes behind it. False where the stream is over. */
  private passOn(stream: Stream): boolean {
    const chunk = stream.takeGathered();
    if (chunk === undefined || stream.over) return !stream.over;
    const flaw = stream.onData(chunk);
    if (flaw !== undefined)
      this.malformed(stream, ErrorCode.PROTOCOL_ERROR, flaw);
    return !stream.over;
  }

  dataEnds(): void {
    this.read += 1;
    const stream = this.dataStream;
    this.dataStream = undefined;
    if (stream === undefined || stream.over) return;
    if ((this.dataFlags & Flag.END_STREAM) !== 0) {
      if (!this.passOn(stream)) return;
      const flaw = stream.onEnd(undefined);
      if (flaw !== undefined)
        this.malformed(stream, ErrorCode.PROTOCOL_ERROR, flaw);
    } else {
      this.windows.passed(stream, this.now);
    }
  }

  frame(
    type: number,
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    this.admit(type);
    switch (type) {
      case FrameType.HEADERS:
        if (this.block.headers(id, flags, bytes, start, end))
          this.onBlock(bytes);
        break;
      case FrameType.CONTINUATION:
        if (this.block.continuation(id, flags, bytes, start, end))
          this.onBlock(bytes);
        break;
      case FrameType.WINDOW_UPDATE:
        expectSize(end - start, 4, "WINDOW_UPDATE");
        this.onWindowUpdate(id, bytes.readUInt32BE(start) & MAX_31);
        break;
      case FrameType.RST_STREAM:
        expectSize(end - start, 4, "RST_STREAM");
        this.onRstStream(id, bytes.readUInt32BE(start));
        break;
      case FrameType.SETTINGS:
        this.onSettings(flags, id, bytes, start, end);
        break;
      case FrameType.PING:
        if (id !== 0) throw broken("PING on a stream (6.7)");
        expectSize(end - start, 8, "PING");
        if ((flags & Flag.ACK) !== 0) this.pings.answered(bytes, start);
        else {
          this.count("pings");
          this.sender.ping(bytes, start, true);
        }
        break;
      case FrameType.GOAWAY:
        if (id !== 0) throw broken("GOAWAY on a stream (6.8)");
        if (end - start < 8) expectSize(end - start, 8, "GOAWAY");
        this.count("settings");
        this.onGoaway(
          bytes.readUInt32BE(start) & MAX_31,
          bytes.readUInt32BE(start + 4),
        );
        break;
      case FrameType.PRIORITY:
        this.onPriority(id, bytes, start, end);
        break;
      case FrameType.PUSH_PROMISE:
        // A client may not push (8.4), and we have told the server not to (6.6).
        throw broken("PUSH_PROMISE, which was not enabled (6.6)");
      case FrameType.NOTICE:
        this.count("stray_frames");
        if (id === 0 && end - start <= MAX_NOTICE)
          this.onNotice(bytes.subarray(start, end));
        break;
      default:
        this.count("stray_frames");
    }
    if (!this.block.open) this.read += 1;
  }

  /** What must come first comes first, and nothing stands within a field block. */
  private admit(type: number): void {
    if (!this.settingsSeen && type !== FrameType.SETTINGS)
      throw broken("the first frame is not SETTINGS (3.4)");
    if (this.block.open && type !== FrameType.CONTINUATION)
      throw broken("a field block is interrupted by another frame (4.3)");
  }

  /** A field block is complete. The tables change whatever becomes of the stream (4.3). */
  private onBlock(bytes: Buffer): void {
    const { block, decoder } = this;
    const source = block.bytes ?? bytes;
    decoder.decode(source, block.start, block.end);
    const { id, ends, selfDependent } = block;
    block.clear();
    const { fields } = decoder;
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.onNewFields(
        id,
        fields,
        ends,
        decoder.overflow,
        selfDependent ? SELF_DEPENDENT : undefined,
      );
    } else if (stream.remoteEnded) {
      this.violated(stream, ErrorCode.STREAM_CLOSED, AFTER_END);
    } else if (selfDependent) {
      this.violated(stream, ErrorCode.PROTOCOL_ERROR, SELF_DEPENDENT);
    } else {
      if (this.passOn(stream)) stream.onFields(fields, ends, decoder.overflow);
    }
  }

  /**
   * The peer broke a rule of streams that no message which it passes on for somebody else could break. RFC 9113 has the stream reset
   * for it, and lets a connection end (5.4.2). A client that makes its server reset streams (CVE-2025-8671) does this and nothing else, so a
   * client's connection ends at the first, with both. A server's lives on, for the sake of its other streams.
   */
  private violated(stream: Stream, code: number, detail: string): void {
    if (!this.isServer) {
      this.malformed(stream, code, detail);
      return;
    }
    this.sender.reset(stream.id, code);
    throw new ConnectionError(code, detail);
  }

  private onWindowUpdate(id: number, increment: number): void {
    if (increment < TINY_UPDATE) this.count("tiny_window_updates");
    if (id === 0) {
      if (increment === 0) throw broken("WINDOW_UPDATE of 0 (6.9)");
      this.sender.grant(increment);
      return;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) this.onLateFrame(id, FrameType.WINDOW_UPDATE);
    else if (increment === 0)
      this.violated(
        stream,
        ErrorCode.PROTOCOL_ERROR,
        "WINDOW_UPDATE of 0 (6.9)",
      );
    else if (!this.sender.grantStream(stream, increment))
      this.violated(
        stream,
        ErrorCode.FLOW_CONTROL_ERROR,
        "the stream's window exceeds 2^31-1 (6.9.1)",
      );
  }

  private onRstStream(id: number, code: number): void {
    if (id === 0) throw broken("RST_STREAM on stream 0 (6.4)");
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.onLateFrame(id, FrameType.RST_STREAM);
      return;
    }
    if (this.isServer && this.isRapid(stream, this.now)) this.count("resets");
    this.closed.byPeer(id);
    this.remove(stream);
    stream.onReset(code);
    this.onStreamOver();
  }

  /** Nobody has answered it, and it is too young to have been waited for. */
  protected isRapid(stream: Stream, now: number): boolean {
    return !stream.localEnded && ((now | 0) - stream.openedAt) >>> 0 < RAPID;
  }

  private onPriority(
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    // Deprecated (5.3.2) and without effect, but its form is still checked (6.3).
    if (id === 0) throw broken("PRIORITY on stream 0 (6.3)");
    this.count("stray_frames");
    const wrongSize = end - start !== 5;
    if (!wrongSize && (bytes.readUInt32BE(start) & MAX_31) !== id) return;
    const code = wrongSize
      ? ErrorCode.FRAME_SIZE_ERROR
      : ErrorCode.PROTOCOL_ERROR;
    const stream = this.streams.get(id);
    if (stream !== undefined)
      this.violated(stream, code, "a PRIORITY frame is malformed (6.3)");
    // A stream that is not open cannot be reset (6.4).
    else if (wrongSize || this.isIdle(id))
      throw new ConnectionError(code, "a PRIORITY frame is malformed (6.3)");
  }

  private onSettings(
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (id !== 0) throw broken("SETTINGS on a stream (6.5)");
    if ((flags & Flag.ACK) !== 0) {
      expectSize(end - start, 0, "an acknowledgement of SETTINGS");
      if (this.settingsTimer === undefined) {
        this.count("settings");
        return;
      }
      this.settingsTimer();
      this.settingsTimer = undefined;
      this.windows.acknowledged(this.streams.values());
      this.decoder.acknowledgeTable(this.limits.headerTableBytes);
      return;
    }
    // The first of a connection come with it, and connections have their own bound.
    if (this.settingsSeen) this.count("settings");
    this.settingsSeen = true;
    const before = this.peer.initialWindow;
    readSettings(this.peer, bytes, start, end, this.isServer);
    const change = this.peer.initialWindow - before;
    this.sender.initialWindow = this.peer.initialWindow;
    this.sender.limitFrames(this.peer.frameSize);
    this.sender.encoder.limitTable(this.peer.tableSize);
    if (change !== 0)
      for (const stream of this.streams.values())
        if (!this.sender.grantStream(stream, change))
          throw new ConnectionError(
            ErrorCode.FLOW_CONTROL_ERROR,
            "SETTINGS_INITIAL_WINDOW_SIZE takes a window over 2^31-1 (6.9.2)",
          );
    this.sender.settingsAck();
    this.onPeerSettings();
  }

  /** A frame for a stream that is not open: an error where the stream never was or the peer itself had ended it (5.1). */
  protected onLateFrame(id: number, type: number): void {
    if (this.isIdle(id)) throw broken("a frame on an idle stream (5.1)");
    // DATA is bounded by the connection's window.
    if (type !== FrameType.DATA) this.count("stray_frames");
    if (type === FrameType.DATA || type === FrameType.HEADERS) {
      if (this.closed.wasEndedByPeer(id))
        throw new ConnectionError(
          ErrorCode.STREAM_CLOSED,
          "a frame on a stream that its sender had ended (5.1)",
        );
      if (this.closed.wasSkipped(id))
        throw broken("a stream below one that was opened before (5.1.1)");
    }
    // Otherwise our RST_STREAM or END_STREAM crossed it on the way: legal, however late (5.1).
  }

  // --- what may stand still ---

  get output(): Output {
    return this.sender.output;
  }

  get reading(): boolean {
    return this.block.open || this.reader.midway;
  }

  abstract flushing(): readonly Stream[];
  abstract readonly idleMark: number | undefined;
  abstract resetStalled(stream: Stream): void;
  abstract endIdle(): void;

  endStalled(limit: Http2Limit, detail: string): void {
    this.fail(new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, detail, limit));
  }

  protected override onOver(_cause: Cause): void {
    this.countParts(0);
    this.reader.stop();
    this.stalls.stop();
    this.settingsTimer?.();
  }
}

function broken(detail: string): ConnectionError {
  return new ConnectionError(ErrorCode.PROTOCOL_ERROR, detail);
}

function expectSize(size: number, right: number, what: string): void {
  if (size !== right)
    throw new ConnectionError(
      ErrorCode.FRAME_SIZE_ERROR,
      `${what} of ${size} octets instead of ${right}`,
    );
}
