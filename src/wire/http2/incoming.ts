/**
 * What the frames of a connection mean to both of its ends (RFC 9113 section 6). `server.ts` and `client.ts` say what a new
 * stream, a GOAWAY and the end mean to each; `session.ts` how streams and the connection end.
 */
import type { Cancel } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { WorkerPlace } from "../exchange.ts";
import { DataIntake } from "./data-intake.ts";
import {
  ConnectionError,
  ErrorCode,
  expectSize,
  Flag,
  FrameType,
  MAX_31,
  protocolError,
} from "./frames/frames.ts";
import { Decoder } from "./hpack/decoder.ts";
import type { WireField } from "./hpack/names.ts";
import { FieldBlock } from "./parse/field-block.ts";
import { FrameReader, type FrameSink } from "./parse/frame-reader.ts";
import type { Session } from "./session.ts";
import { announce, PeerSettings, readSettings } from "./settings.ts";
import { AFTER_END, StreamRules } from "./stream-rules.ts";

const SELF_DEPENDENT = "a stream depends on itself (RFC 7540 5.3.1)";
/** WINDOW_UPDATEs below this are counted as tiny; bytes. */
const TINY_UPDATE = 256;
/** Bytes of a NOTICE that is looked at. */
const MAX_NOTICE = 256;

/** What the two ends differ in. */
export interface IncomingOwner {
  /** HEADERS that open a stream or belong to none that is open; the fields are decoded already. */
  onNewFields(
    id: number,
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
    flaw: string | undefined,
  ): void;
  /** Whether the stream was never opened (5.1). */
  isIdle(id: number): boolean;
  /** SETTINGS of the peer are in force. */
  onPeerSettings(): void;
  onGoaway(lastId: number, code: number): void;
  /** The bytes may be written to again once it returns. */
  onNotice(payload: Buffer): void;
  /** A read is understood. */
  onRead(): void;
}

export class Incoming implements FrameSink {
  readonly peer: PeerSettings = new PeerSettings();
  readonly rules: StreamRules;
  /** Frames and field blocks that are complete. */
  read = 0;
  readonly #session: Session;
  readonly #owner: IncomingOwner;
  readonly #isServer: boolean;
  readonly #reader: FrameReader;
  readonly #decoder: Decoder;
  readonly #block: FieldBlock;
  readonly #data: DataIntake;
  /** Bytes of frames and blocks that are not complete, as far as they have been counted. */
  #counted = 0;
  #settingsSeen = false;
  #settingsTimer: Cancel | undefined;

  constructor(session: Session, owner: IncomingOwner, isServer: boolean) {
    const { limits } = session;
    this.#session = session;
    this.#owner = owner;
    this.#isServer = isServer;
    this.rules = new StreamRules(session, isServer, (id) => owner.isIdle(id));
    this.#data = new DataIntake(session, this.rules);
    this.#reader = new FrameReader(this, limits.frameBytes, isServer);
    this.#decoder = new Decoder(limits);
    this.#decoder.allowTable(limits.headerTableBytes);
    this.#block = new FieldBlock(limits);
    session.read((chunk) => this.#received(chunk));
  }

  /** Says our SETTINGS, which come first (3.4). */
  start(place?: WorkerPlace): void {
    const { sender, windows, limits, clock } = this.#session;
    sender.settings(announce(limits, this.#isServer, place));
    windows.open();
    this.#settingsTimer = clock.after(limits.settingsTimeout, () =>
      this.#session.fail(
        new ConnectionError(
          ErrorCode.SETTINGS_TIMEOUT,
          `SETTINGS were not acknowledged within ${limits.settingsTimeout} ms`,
          "settings_ack",
        ),
      ),
    );
  }

  /** The connection is over. */
  stop(): void {
    this.#count(0);
    this.#reader.stop();
    this.#settingsTimer?.();
  }

  /** A frame or field block is begun and not complete. */
  get midway(): boolean {
    return this.#block.open || this.#reader.midway;
  }

  #received(chunk: Buffer): void {
    const session = this.#session;
    if (session.over) return;
    session.now = session.clock.now();
    session.sender.readBegins();
    try {
      this.#reader.push(chunk);
      this.#data.readEnds();
    } catch (thrown) {
      session.sender.readEnds();
      session.fail(
        thrown instanceof ConnectionError
          ? thrown
          : new ConnectionError(ErrorCode.INTERNAL_ERROR, messageOf(thrown)),
      );
      return;
    }
    session.sender.readEnds();
    this.#count(this.#block.size + this.#reader.held);
    this.#owner.onRead();
    session.reading.check(session.windows.held > 0 || this.#counted > 0);
  }

  /** Half a frame, and a field block in several of them, wait here for their ends. */
  #count(bytes: number): void {
    if (bytes === this.#counted) return;
    this.#session.buffers.change(bytes - this.#counted);
    this.#counted = bytes;
  }

  // --- frames ---

  dataBegins(id: number, flags: number, length: number, content: number): void {
    this.#admit(FrameType.DATA);
    this.#data.begin(id, flags, length, content);
  }

  dataContent(chunk: Buffer): void {
    this.#data.content(chunk);
  }

  dataEnds(): void {
    this.read += 1;
    this.#data.end();
  }

  frame(
    type: number,
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    this.#admit(type);
    switch (type) {
      case FrameType.HEADERS:
        if (this.#block.headers(id, flags, bytes, start, end))
          this.#onBlock(bytes);
        break;
      case FrameType.CONTINUATION:
        if (this.#block.continuation(id, flags, bytes, start, end))
          this.#onBlock(bytes);
        break;
      case FrameType.WINDOW_UPDATE:
        expectSize(end - start, 4, "WINDOW_UPDATE");
        this.#onWindowUpdate(id, bytes.readUInt32BE(start) & MAX_31);
        break;
      case FrameType.RST_STREAM:
        expectSize(end - start, 4, "RST_STREAM");
        this.#onRstStream(id, bytes.readUInt32BE(start));
        break;
      case FrameType.SETTINGS:
        this.#onSettings(flags, id, bytes, start, end);
        break;
      case FrameType.PING:
        this.#onPing(flags, id, bytes, start, end);
        break;
      case FrameType.GOAWAY:
        this.#onGoaway(id, bytes, start, end);
        break;
      case FrameType.PRIORITY:
        this.#onPriority(id, bytes, start, end);
        break;
      case FrameType.PUSH_PROMISE:
        // A client may not push (8.4), and we have told the server not to (6.6).
        throw protocolError("PUSH_PROMISE, which was not enabled (6.6)");
      case FrameType.NOTICE:
        this.#session.count("stray_frames");
        if (id === 0 && end - start <= MAX_NOTICE)
          this.#owner.onNotice(bytes.subarray(start, end));
        break;
      default:
        this.#session.count("stray_frames");
    }
    if (!this.#block.open) this.read += 1;
  }

  /** What must come first comes first, and nothing stands within a field block. */
  #admit(type: number): void {
    if (!this.#settingsSeen && type !== FrameType.SETTINGS)
      throw protocolError("the first frame is not SETTINGS (3.4)");
    if (this.#block.open && type !== FrameType.CONTINUATION)
      throw protocolError(
        "a field block is interrupted by another frame (4.3)",
      );
  }

  /** A field block is complete. The tables change whatever becomes of the stream (4.3). */
  #onBlock(bytes: Buffer): void {
    const block = this.#block;
    const decoder = this.#decoder;
    const source = block.bytes ?? bytes;
    decoder.decode(source, block.start, block.end);
    const { id, ends, selfDependent } = block;
    block.clear();
    const { fields } = decoder;
    const stream = this.#session.streams.get(id);
    if (stream === undefined) {
      this.#owner.onNewFields(
        id,
        fields,
        ends,
        decoder.overflow,
        selfDependent ? SELF_DEPENDENT : undefined,
      );
    } else if (stream.remoteEnded) {
      this.rules.violated(stream, ErrorCode.STREAM_CLOSED, AFTER_END);
    } else if (selfDependent) {
      this.rules.violated(stream, ErrorCode.PROTOCOL_ERROR, SELF_DEPENDENT);
    } else if (this.#data.passOn(stream)) {
      stream.exchange.onFields(fields, ends, decoder.overflow);
    }
  }

  #onWindowUpdate(id: number, increment: number): void {
    const { sender, streams } = this.#session;
    if (increment < TINY_UPDATE) this.#session.count("tiny_window_updates");
    if (id === 0) {
      if (increment === 0) throw protocolError("WINDOW_UPDATE of 0 (6.9)");
      sender.data.grant(increment);
      return;
    }
    const stream = streams.get(id);
    if (stream === undefined) this.rules.lateFrame(id, FrameType.WINDOW_UPDATE);
    else if (increment === 0)
      this.rules.violated(
        stream,
        ErrorCode.PROTOCOL_ERROR,
        "WINDOW_UPDATE of 0 (6.9)",
      );
    else if (!sender.data.grantStream(stream, increment))
      this.rules.violated(
        stream,
        ErrorCode.FLOW_CONTROL_ERROR,
        "the stream's window exceeds 2^31-1 (6.9.1)",
      );
  }

  #onRstStream(id: number, code: number): void {
    if (id === 0) throw protocolError("RST_STREAM on stream 0 (6.4)");
    const session = this.#session;
    const stream = session.streams.get(id);
    if (stream === undefined) {
      this.rules.lateFrame(id, FrameType.RST_STREAM);
      return;
    }
    if (this.#isServer && session.isRapid(stream, session.now))
      session.count("resets");
    session.resetByPeer(stream, code);
  }

  #onPing(
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (id !== 0) throw protocolError("PING on a stream (6.7)");
    expectSize(end - start, 8, "PING");
    if ((flags & Flag.ACK) !== 0) this.#session.pings.answered(bytes, start);
    else {
      this.#session.count("pings");
      this.#session.sender.ping(bytes, start, true);
    }
  }

  #onGoaway(id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) throw protocolError("GOAWAY on a stream (6.8)");
    if (end - start < 8) expectSize(end - start, 8, "GOAWAY");
    this.#session.count("settings");
    this.#owner.onGoaway(
      bytes.readUInt32BE(start) & MAX_31,
      bytes.readUInt32BE(start + 4),
    );
  }

  #onPriority(id: number, bytes: Buffer, start: number, end: number): void {
    // Deprecated (5.3.2) and without effect, but its form is still checked (6.3).
    if (id === 0) throw protocolError("PRIORITY on stream 0 (6.3)");
    this.#session.count("stray_frames");
    const wrongSize = end - start !== 5;
    if (!wrongSize && (bytes.readUInt32BE(start) & MAX_31) !== id) return;
    const code = wrongSize
      ? ErrorCode.FRAME_SIZE_ERROR
      : ErrorCode.PROTOCOL_ERROR;
    const stream = this.#session.streams.get(id);
    if (stream !== undefined)
      this.rules.violated(stream, code, "a PRIORITY frame is malformed (6.3)");
    // A stream that is not open cannot be reset (6.4).
    else if (wrongSize || this.#owner.isIdle(id))
      throw new ConnectionError(code, "a PRIORITY frame is malformed (6.3)");
  }

  #onSettings(
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (id !== 0) throw protocolError("SETTINGS on a stream (6.5)");
    if ((flags & Flag.ACK) !== 0) {
      expectSize(end - start, 0, "an acknowledgement of SETTINGS");
      this.#onSettingsAck();
      return;
    }
    const { peer } = this;
    const { sender, streams } = this.#session;
    // The first of a connection come with it, and connections have their own bound.
    if (this.#settingsSeen) this.#session.count("settings");
    this.#settingsSeen = true;
    const before = peer.initialWindow;
    readSettings(peer, bytes, start, end, this.#isServer);
    const change = peer.initialWindow - before;
    sender.data.initialWindow = peer.initialWindow;
    sender.limitFrames(peer.frameSize);
    sender.encoder.limitTable(peer.smallestTable);
    sender.encoder.limitTable(peer.tableSize);
    if (change !== 0)
      for (const stream of streams.values())
        if (!sender.data.grantStream(stream, change))
          throw new ConnectionError(
            ErrorCode.FLOW_CONTROL_ERROR,
            "SETTINGS_INITIAL_WINDOW_SIZE takes a window over 2^31-1 (6.9.2)",
          );
    sender.settingsAck();
    this.#owner.onPeerSettings();
  }

  #onSettingsAck(): void {
    const { windows, streams, limits } = this.#session;
    if (this.#settingsTimer === undefined) {
      this.#session.count("settings");
      return;
    }
    this.#settingsTimer();
    this.#settingsTimer = undefined;
    windows.acknowledged(streams.values());
    this.#decoder.acknowledgeTable(limits.headerTableBytes);
  }
}
