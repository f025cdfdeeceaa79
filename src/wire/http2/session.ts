/**
 * The life of a connection and of its streams, whatever the frames say: how a stream ends (RFC 9113 5.1, 5.4.2), and how
 * the connection does (5.4.1), so that every stream hears it once.
 */
import type { Socket } from "node:net";
import { onData } from "../../runtime/socket-data.ts";
import type { Clock } from "../../core/clock.ts";
import { Deadlines } from "../../core/deadlines.ts";
import { messageOf } from "../../core/errors.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Code } from "../../mesh/reasons.ts";
import { UNBOUNDED, type Buffers } from "../buffers.ts";
import {
  excess,
  LonelySource,
  type Nuisance,
  type Source,
} from "../flood-guard.ts";
import { countBroken } from "../machine-error.ts";
import {
  ConnectionError,
  ErrorCode,
  errorName,
  MAX_31,
} from "./frames/frames.ts";
import type { WireField } from "./hpack/names.ts";
import {
  resolveLimits,
  type Http2Limit,
  type Http2Limits,
  type Http2Options,
} from "./limits.ts";
import { readTrailers } from "./parse/response-head.ts";
import { Pings } from "./pings.ts";
import { ReadGate } from "./read-gate.ts";
import { SocketCloser } from "./socket-closer.ts";
import { ClosedStreams } from "./streams/closed-streams.ts";
import { ReceiveWindows } from "./streams/receive-windows.ts";
import type { Stream, StreamHost } from "./streams/stream.ts";
import { StreamTable } from "./streams/stream-table.ts";
import { Sender } from "./write/sender.ts";

type Counted = Exclude<Nuisance, "tiny_chunks">;

const LIMIT_OF: Readonly<Record<Counted, keyof Http2Limits>> = {
  resets: "resetsPerSecond",
  malformed: "malformedPerSecond",
  settings: "settingsPerSecond",
  pings: "pingsPerSecond",
  empty_data: "emptyFramesPerSecond",
  tiny_data: "tinyFramesPerSecond",
  tiny_window_updates: "tinyUpdatesPerSecond",
  stray_frames: "strayFramesPerSecond",
};

/** Ends for which nobody is to blame: the peer, or the way to it, is slow; or the defect is ours. */
const BLAMELESS: ReadonlySet<string> = new Set([
  "settings_ack",
  "header_time",
  "write_time",
  "idle",
]);

/** Milliseconds: a stream that is reset after them was not opened for that. */
const RAPID = 1000;

/** Why a connection ended; undefined where it ended in order, or the peer just closed it. */
export type Cause = Error | undefined;

/** The end, server or client, whose connection it is: what it does when streams and the connection end. */
export interface SessionOwner {
  /** Our half of a stream has ended, the peer's has not. */
  onHalfEnded(stream: Stream): void;
  /** The connection has let go of a stream, which is yet to be told. */
  onRemoved(stream: Stream): void;
  /** A stream has left the connection, and has been told. */
  onStreamOver(): void;
  /** The connection dies with these streams; they hear of it next. */
  onDying(streams: readonly Stream[]): void;
  /** What a stream gets when the connection dies. */
  lossOf(stream: Stream, cause: Cause): MeshError;
  /** Nothing more will come; every stream has been told. */
  onOver(cause: Cause): void;
  /** The socket has taken everything after it had been busy. */
  onOutputDrained(): void;
  /** A defect of ours, caught. */
  onDefect(detail: string): void;
}

export class Session implements StreamHost {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly limits: Http2Limits;
  readonly buffers: Buffers;
  readonly sender: Sender;
  readonly windows: ReceiveWindows;
  readonly streams: StreamTable<Stream> = new StreamTable();
  readonly closed: ClosedStreams = new ClosedStreams();
  readonly pings: Pings = new Pings();
  readonly closer: SocketCloser;
  readonly reading: ReadGate;
  /** The source at the other end, with all its connections. */
  readonly source: Source;
  /** Monotonic milliseconds of the last read event. */
  now: number;
  /** The highest stream that the peer opened. */
  lastPeerId = 0;
  /** What our last GOAWAY named; it may not rise again (6.8). */
  lastServed: number = MAX_31;
  readonly #socket: Socket;
  readonly #owner: SessionOwner;
  readonly #onLimit: ((limit: Http2Limit) => void) | undefined;
  #over = false;
  /** What comes after the end is read, for the sake of our last words, and not kept. */
  #dropInput: (() => void) | undefined;
  #socketError: Error | undefined;

  constructor(socket: Socket, options: Http2Options, owner: SessionOwner) {
    this.#socket = socket;
    this.#owner = owner;
    this.#onLimit = options.onLimit;
    this.clock = options.clock;
    this.deadlines = options.deadlines ?? new Deadlines(this.clock);
    this.limits = resolveLimits(options.limits);
    this.now = this.clock.now();
    this.buffers = options.buffers ?? UNBOUNDED;
    this.source = options.source ?? new LonelySource();
    this.sender = new Sender(socket, this.limits, this.buffers, () => {
      this.closer.drained();
      if (!this.#over) owner.onOutputDrained();
    });
    this.closer = new SocketCloser(
      socket,
      this.sender,
      this.clock,
      this.limits,
    );
    this.windows = new ReceiveWindows(
      this.limits,
      this.sender,
      this.buffers,
      () => this.limited("held"),
    );
    this.reading = new ReadGate(socket, this.buffers);
  }

  /** Starts the flow of what the peer sends to `use`. */
  read(use: (chunk: Buffer) => void): void {
    const socket = this.#socket;
    socket.setNoDelay(true);
    this.#dropInput = onData(socket, use, this.buffers);
    socket.on("error", (error) => {
      this.#socketError = error;
      countBroken(error);
    });
    socket.on("end", () => {
      this.teardown(undefined);
      this.closer.close(false);
    });
    socket.on("close", () => {
      this.teardown(this.#socketError);
      this.closer.closed();
      this.sender.output.close();
    });
  }

  /** Every stream has been told; nothing more is read. */
  get over(): boolean {
    return this.#over;
  }

  /** A limit acted. */
  limited(limit: Http2Limit): void {
    this.#onLimit?.(limit);
  }

  /** One more of what costs the peer nothing; throws above the limit. */
  count(kind: Counted): void {
    const name = LIMIT_OF[kind];
    const most = excess(this.source, kind, this.limits[name], this.now);
    if (most === undefined) return;
    throw new ConnectionError(
      ErrorCode.ENHANCE_YOUR_CALM,
      `more than ${most} in a second: ${name}`,
      kind,
    );
  }

  // --- the end of streams ---

  /** A stream error that the peer caused (5.4.2): the stream hears of it, is reset, and counted. */
  malformed(stream: Stream, code: number, detail: string): void {
    this.count("resets");
    if (stream.over) return;
    this.sender.reset(stream.id, code);
    this.remove(stream);
    stream.exchange.onMalformed(detail);
    this.#owner.onStreamOver();
  }

  /** Our own end of a stream, which its user knows of. */
  reset(stream: Stream, code: number): void {
    if (stream.over) return;
    this.sender.reset(stream.id, code);
    this.remove(stream);
    this.#owner.onStreamOver();
  }

  /** Our own end of a stream whose response is whole. Its request may not be: then the receiver still waits, and hears of it. */
  cut(stream: Stream, code: number, why: Code = "CLIENT_CLOSED"): void {
    this.reset(stream, code);
    if (stream.remoteEnded || stream.receiver === undefined) return;
    const detail = "the request had not ended when its response had";
    const error = new MeshError(why, detail, { source: "downstream" });
    // In a later turn: this may be the middle of the proxy's own `end`.
    process.nextTick(() => stream.deliverAbort(error));
  }

  /** The peer's RST_STREAM. */
  resetByPeer(stream: Stream, code: number): void {
    this.closed.byPeer(stream.id);
    this.remove(stream);
    stream.exchange.onReset(code);
    this.#owner.onStreamOver();
  }

  settle(stream: Stream): void {
    if (stream.over || !stream.localEnded) return;
    if (!stream.remoteEnded) {
      this.#owner.onHalfEnded(stream);
      return;
    }
    this.closed.byPeer(stream.id);
    this.remove(stream);
    this.#owner.onStreamOver();
  }

  /** Takes the stream out; it is yet to be told. */
  remove(stream: Stream): void {
    stream.drop();
    this.streams.delete(stream.id);
    this.windows.released(stream);
    this.#owner.onRemoved(stream);
  }

  failed(stream: Stream, thrown: unknown): void {
    this.#owner.onDefect(messageOf(thrown));
    if (stream.over) return;
    this.sender.reset(stream.id, ErrorCode.INTERNAL_ERROR);
    this.remove(stream);
    stream.exchange.onLost(
      new MeshError("INTERNAL", messageOf(thrown), {
        source: "proxy",
        cause: thrown,
      }),
    );
    this.#owner.onStreamOver();
  }

  endWithTrailers(stream: Stream, fields: readonly WireField[]): void {
    const trailers = readTrailers(fields);
    const flaw =
      typeof trailers === "string" ? trailers : stream.onEnd(trailers);
    if (flaw !== undefined)
      this.malformed(stream, ErrorCode.PROTOCOL_ERROR, flaw);
  }

  /** Nobody has answered it, and it is too young to have been waited for. */
  isRapid(stream: Stream, now: number): boolean {
    return !stream.localEnded && ((now | 0) - stream.openedAt) >>> 0 < RAPID;
  }

  // --- the end of the connection ---

  /** A connection error: GOAWAY, and the end (5.4.1). */
  fail(error: ConnectionError): void {
    if (this.#over) return;
    if (error.limit !== undefined) this.limited(error.limit);
    if (
      error.code !== ErrorCode.INTERNAL_ERROR &&
      !BLAMELESS.has(error.limit ?? "")
    )
      this.source.offended(this.clock.now());
    this.sender.goaway(
      Math.min(this.lastPeerId, this.lastServed),
      error.code,
      `${errorName(error.code)}: ${error.message}`,
    );
    // Before the streams hear of it: what is handed over now may be processed.
    this.sender.flush();
    this.teardown(error);
    this.closer.close(false);
  }

  /** Ends in order, with the last stream. */
  finish(): void {
    this.teardown(undefined);
    this.closer.close(true);
  }

  /** Ends at once. */
  destroy(cause: Cause): void {
    this.teardown(cause);
    this.#socket.destroy();
  }

  /** Tells every stream that the connection is gone, and the owner. Once. */
  teardown(cause: Cause): void {
    if (this.#over) return;
    const streams = this.streams.values();
    this.#owner.onDying(streams);
    this.#over = true;
    this.reading.leave();
    this.#dropInput?.();
    this.streams.clear();
    for (const stream of streams) {
      stream.drop();
      stream.exchange.onLost(this.#owner.lossOf(stream, cause));
    }
    this.pings.fail();
    this.#owner.onOver(cause);
  }
}
