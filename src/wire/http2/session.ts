/**
 * The life of a connection and of its streams, whatever the frames say: how a stream ends (RFC 9113 5.1, 5.4.2), and how
 * the connection does (5.4.1), so that every stream is told once.
 */
import type { Socket } from "node:net";
import { UNBOUNDED, type Buffers } from "../buffers.ts";
import { onData } from "../socket-data.ts";
import type { Clock } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import { messageOf } from "../../core/errors.ts";
import { ClosedStreams } from "./closed-streams.ts";
import {
  ConnectionError,
  ErrorCode,
  errorName,
  MAX_31,
} from "./frames/frames.ts";
import {
  excess,
  lonelySource,
  type Nuisance,
  type Source,
} from "../flood-guard.ts";
import { readTrailers } from "./heads.ts";
import type { WireField } from "./hpack/names.ts";
import {
  resolveLimits,
  type Http2Limit,
  type Http2Limits,
  type Http2Options,
} from "./limits.ts";
import { Pings } from "./pings.ts";
import { ReceiveWindows } from "./receive-windows.ts";
import { Sender } from "./sender.ts";
import { SocketCloser } from "./socket-closer.ts";
import type { Stream, StreamHost } from "./stream.ts";
import { StreamTable } from "./stream-table.ts";

const LIMIT_OF: Readonly<
  Record<Exclude<Nuisance, "tiny_chunks">, keyof Http2Limits>
> = {
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

/** Why a connection ended; undefined where it ended in order, or the peer just closed it. */
export type Cause = Error | undefined;

export abstract class Session implements StreamHost {
  readonly sender: Sender;
  readonly windows: ReceiveWindows;
  readonly buffers: Buffers;
  protected readonly socket: Socket;
  protected readonly clock: Clock;
  protected readonly limits: Http2Limits;
  protected readonly streams: StreamTable<Stream> = new StreamTable();
  protected readonly closed: ClosedStreams = new ClosedStreams();
  protected readonly pings: Pings = new Pings();
  protected readonly closer: SocketCloser;
  /** Monotonic milliseconds of the last read event. */
  protected now: number;
  /** The highest stream that the peer opened. */
  protected lastPeerId = 0;
  /** What our last GOAWAY named; it may not rise again (6.8). */
  protected lastServed: number = MAX_31;
  /** Every stream has been told; nothing more is read. */
  protected over = false;
  /** Whoever is at the other end, with all its connections. */
  protected readonly source: Source;
  /** Reasons for which nothing is read. */
  private stops = 0;
  private waitsForRoom = false;
  private readonly onLimit: ((limit: Http2Limit) => void) | undefined;
  /** What comes after the end is read, for the sake of our last words, and not kept. */
  private readonly dropInput: () => void;
  private socketError: Error | undefined;

  constructor(socket: Socket, options: Http2Options) {
    this.socket = socket;
    this.clock = options.clock;
    this.limits = resolveLimits(options.limits);
    this.now = this.clock.now();
    this.buffers = options.buffers ?? UNBOUNDED;
    this.sender = new Sender(socket, this.limits, this.buffers, () => {
      this.closer.drained();
      if (!this.over) this.onOutputDrained();
    });
    this.closer = new SocketCloser(
      socket,
      this.sender,
      this.clock,
      this.limits.closeTimeout,
    );
    this.windows = new ReceiveWindows(
      this.limits,
      this.sender,
      this.buffers,
      () => this.limited("held"),
    );
    this.source = options.source ?? lonelySource();
    this.onLimit = options.onLimit;
    socket.setNoDelay(true);
    this.dropInput = onData(
      socket,
      (chunk) => this.onChunk(chunk),
      this.buffers,
    );
    socket.on("error", (error) => (this.socketError = error));
    socket.on("end", () => {
      this.teardown(undefined);
      this.closer.close(false);
    });
    socket.on("close", () => this.onSocketClosed());
  }

  protected abstract onChunk(chunk: Buffer): void;
  /** A stream has left the connection, and has been told. */
  protected abstract onStreamOver(): void;
  /** What a stream is told when the connection dies. */
  protected abstract lossOf(stream: Stream, cause: Cause): MeshError;
  /** Nothing more will come; every stream has been told. */
  protected abstract onOver(cause: Cause): void;
  /** The socket has taken everything after it had been busy. */
  protected abstract onOutputDrained(): void;
  /** A defect of ours, caught. */
  protected abstract onDefect(detail: string): void;

  /** A limit acted. */
  limited(limit: Http2Limit): void {
    this.onLimit?.(limit);
  }

  /** One more of what costs the peer nothing; throws above the limit. */
  protected count(kind: Exclude<Nuisance, "tiny_chunks">): void {
    const name = LIMIT_OF[kind];
    const most = excess(this.source, kind, this.limits[name], this.now);
    if (most === undefined) return;
    throw new ConnectionError(
      ErrorCode.ENHANCE_YOUR_CALM,
      `more than ${most} in a second: ${name}`,
      kind,
    );
  }

  // --- when nothing is read ---

  protected stopReading(): void {
    if (++this.stops === 1) this.socket.pause();
  }

  protected readOn(): void {
    if (--this.stops === 0 && !this.over) this.socket.resume();
  }

  /** Where the proxy holds as much as it may and some of it came on this connection, nothing more is read of it until there is room. */
  protected checkRoom(holds: boolean): void {
    if (!holds || !this.buffers.crowded || this.waitsForRoom) return;
    this.waitsForRoom = true;
    this.stopReading();
    this.buffers.whenRoom(() => {
      this.waitsForRoom = false;
      this.readOn();
    });
  }

  // --- the end of streams ---

  /** A stream error that the peer caused (5.4.2): the stream is told, reset, and counted. */
  malformed(stream: Stream, code: number, detail: string): void {
    this.count("resets");
    if (stream.over) return;
    this.sender.reset(stream.id, code);
    this.remove(stream);
    stream.onMalformed(detail);
    this.onStreamOver();
  }

  /** Our own end of a stream, which its user knows of. */
  reset(stream: Stream, code: number): void {
    if (stream.over) return;
    this.sender.reset(stream.id, code);
    this.remove(stream);
    this.onStreamOver();
  }

  settle(stream: Stream): void {
    if (stream.over || !stream.localEnded || !stream.remoteEnded) return;
    this.closed.byPeer(stream.id);
    this.remove(stream);
    this.onStreamOver();
  }

  /** Takes the stream out; `onStreamOver` comes when it has been told. */
  protected remove(stream: Stream): void {
    stream.drop();
    this.streams.delete(stream.id);
    this.windows.released(stream);
  }

  failed(stream: Stream, thrown: unknown): void {
    this.onDefect(messageOf(thrown));
    if (stream.over) return;
    this.sender.reset(stream.id, ErrorCode.INTERNAL_ERROR);
    this.remove(stream);
    stream.deliverAbort(
      new MeshError("INTERNAL", messageOf(thrown), {
        source: "proxy",
        cause: thrown,
      }),
    );
    this.onStreamOver();
  }

  /** Reads the fields as a trailer section and ends the peer's half. */
  endWithTrailers(stream: Stream, fields: readonly WireField[]): void {
    const trailers = readTrailers(fields);
    const flaw =
      typeof trailers === "string" ? trailers : stream.onEnd(trailers);
    if (flaw !== undefined)
      this.malformed(stream, ErrorCode.PROTOCOL_ERROR, flaw);
  }

  // --- the end of the connection ---

  /** A connection error: GOAWAY, and the end (5.4.1). */
  protected fail(error: ConnectionError): void {
    if (this.over) return;
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
    // Before the streams are told: what is handed over now may be processed.
    this.sender.flush();
    this.teardown(error);
    this.closer.close(false);
  }

  /** Tells every stream that the connection is gone, and the owner. Once. */
  protected teardown(cause: Cause): void {
    if (this.over) return;
    this.over = true;
    this.dropInput();
    const streams = this.streams.values();
    this.streams.clear();
    for (const stream of streams) {
      stream.drop();
      stream.deliverAbort(this.lossOf(stream, cause));
    }
    this.pings.fail();
    this.onOver(cause);
  }

  private onSocketClosed(): void {
    this.teardown(this.socketError);
    this.closer.closed();
    this.sender.output.close();
  }

  /** Ends at once. */
  protected destroyWith(cause: Cause): void {
    this.teardown(cause);
    this.socket.destroy();
  }
}
