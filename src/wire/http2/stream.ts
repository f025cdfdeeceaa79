/**
 * One stream of a connection, as far as both ends treat it alike: its state, the sending half, the windows. Its states are those
 * of RFC 9113 5.1; one that is idle has no object here, and none is ever reserved, as nobody may push.
 *
 * ```
 *                     ┌─ END_STREAM sent ────▶ half-closed (local) ── END_STREAM received ─┐
 *   idle ─HEADERS─▶ open                                                                   ├─▶ closed
 *                     └─ END_STREAM received ▶ half-closed (remote) ── END_STREAM sent ────┘
 *                     RST_STREAM sent or received, GOAWAY below it, the connection's end ────▶ closed, from any of them
 * ```
 */
import type { MeshError } from "../../mesh/errors.ts";
import type { Buffers } from "../buffers.ts";
import type { ChunkQueue } from "../chunk-queue.ts";
import type { BodyReceiver, BodySink } from "../exchange.ts";
import type { Fields } from "../fields.ts";
import type { WireField } from "./hpack/names.ts";
import type { Sender } from "./sender.ts";
import type { ReceiveWindows } from "./receive-windows.ts";

/** As bits: both halves may have ended a moment before the connection lets go of the stream, which is when it is closed. */
export const State = {
  OPEN: 0,
  HALF_CLOSED_LOCAL: 1,
  HALF_CLOSED_REMOTE: 2,
  CLOSED: 4,
} as const;

/** What a stream needs of its connection. */
export interface StreamHost {
  readonly buffers: Buffers;
  readonly sender: Sender;
  readonly windows: ReceiveWindows;
  /** RST_STREAM, and the end of the stream. */
  reset(stream: Stream, code: number): void;
  /** A receiver or handler threw: a defect of ours, which must not take the process down. */
  failed(stream: Stream, thrown: unknown): void;
  /** One half ended; the stream may be over. */
  settle(stream: Stream): void;
}

export abstract class Stream implements BodySink {
  readonly id: number;
  protected readonly host: StreamHost;
  /** Bits of `State`. */
  private state: number = State.OPEN;
  /** When it was opened, monotonic milliseconds modulo 2^32. */
  readonly openedAt: number;

  /** What the peer lets us send; below zero after it lowered its initial window (6.9.2). */
  sendWindow: number;
  /** What is not yet framed, where there was any; of the first chunk, `queueAt` octets have gone. */
  queue: ChunkQueue | undefined;
  queueAt = 0;
  queued = 0;
  /** Stands in the sender's ring. */
  waiting = false;
  /** `end` was called. */
  ending = false;
  trailers: Fields | undefined;
  /** `write` said false, so `drained` is owed. */
  wantsDrain = false;

  /** What the peer may still send. */
  receiveWindow: number;
  /** What the window is when all is credited. */
  windowSize: number;
  /** Octets received and not yet given back. */
  uncredited = 0;
  /** Of these, what came while the stream was paused. */
  held = 0;
  /** When window was given back last, monotonic milliseconds. */
  creditedAt: number;
  /** No window is given: the receiver asked for a pause, or there is none yet. */
  paused = false;
  /** Octets that content-length leaves to come; -1 where none was declared. */
  expected = -1;
  receiver: BodyReceiver | undefined;
  /** Content of the present read that is not passed on yet. */
  private gathered: Buffer | undefined;
  private gatheredMore: Buffer[] | undefined;

  constructor(host: StreamHost, id: number, now: number) {
    this.host = host;
    this.id = id;
    this.sendWindow = host.sender.initialWindow;
    this.receiveWindow = this.windowSize = host.windows.initial;
    this.creditedAt = now;
    this.openedAt = now | 0;
  }

  /** Closed: no frame of it is sent or expected any more. */
  get over(): boolean {
    return this.state >= State.CLOSED;
  }
  /** END_STREAM was sent. */
  get localEnded(): boolean {
    return (this.state & State.HALF_CLOSED_LOCAL) !== 0;
  }
  /** END_STREAM was received. */
  get remoteEnded(): boolean {
    return (this.state & State.HALF_CLOSED_REMOTE) !== 0;
  }

  sentEnd(): void {
    this.state |= State.HALF_CLOSED_LOCAL;
  }
  receivedEnd(): void {
    this.state |= State.HALF_CLOSED_REMOTE;
  }

  /** A field block that belongs to this stream. `tooLarge`: fields are missing. */
  abstract onFields(
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
  ): void;
  /** RST_STREAM of the peer. */
  abstract onReset(code: number): void;
  /** The peer's half of the exchange breaks the rules; the stream is being reset. */
  abstract onMalformed(detail: string): void;

  write(chunk: Buffer): boolean {
    if (this.over || this.ending || chunk.length === 0)
      return this.over || !this.wantsDrain;
    return this.host.sender.write(this, chunk);
  }

  end(trailers?: Fields): void {
    if (this.over || this.ending) return;
    this.ending = true;
    this.host.sender.end(this, trailers);
  }

  abstract abort(error: MeshError): void;

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.host.windows.resumed(this);
  }

  /** Keeps a small piece of content until `takeGathered`; true where it is the first one. */
  gather(chunk: Buffer): boolean {
    if (this.gathered === undefined) {
      this.gathered = chunk;
      return true;
    }
    (this.gatheredMore ??= [this.gathered]).push(chunk);
    return false;
  }

  /** All that waits, in one piece. */
  takeGathered(): Buffer | undefined {
    const { gathered, gatheredMore } = this;
    if (gathered === undefined) return undefined;
    this.gathered = undefined;
    if (gatheredMore === undefined) return gathered;
    this.gatheredMore = undefined;
    return Buffer.concat(gatheredMore);
  }

  /** Content of the peer's. Returns why it is malformed, where it is (8.1.1). */
  onData(chunk: Buffer): string | undefined {
    if (this.expected >= 0) {
      this.expected -= chunk.length;
      if (this.expected < 0) {
        this.expected = -1;
        return "more content than content-length says";
      }
    }
    this.deliver(chunk);
    return undefined;
  }

  /** The peer's half is complete. Returns why it is malformed, where it is. */
  onEnd(trailers: Fields | undefined): string | undefined {
    if (this.expected > 0) return "less content than content-length says";
    this.receivedEnd();
    this.deliverEnd(trailers);
    if (!this.over) this.host.settle(this);
    return undefined;
  }

  /** Our half has ended: the host decides whether the stream is over. */
  settle(): void {
    this.host.settle(this);
  }

  /** Room in the queue again after `write` said false. */
  onDrained(): void {
    const { receiver } = this;
    if (receiver === undefined) {
      // Nobody to tell yet: it is said when a receiver comes.
      this.wantsDrain = true;
      return;
    }
    try {
      receiver.drained();
    } catch (thrown) {
      this.host.failed(this, thrown);
    }
  }

  protected deliver(chunk: Buffer): void {
    try {
      this.receiver?.data(chunk);
    } catch (thrown) {
      this.host.failed(this, thrown);
    }
  }

  protected deliverEnd(trailers: Fields | undefined): void {
    try {
      this.receiver?.end(trailers);
    } catch (thrown) {
      this.host.failed(this, thrown);
    }
  }

  /** Tells the receiver that the exchange failed; once, and only after the stream is over. */
  deliverAbort(error: MeshError): void {
    const { receiver } = this;
    this.receiver = undefined;
    try {
      receiver?.abort(error);
    } catch {
      // The stream is over already; there is nothing left to break off.
    }
  }

  /** The connection lets go of it: what was to be sent is forgotten. */
  drop(): void {
    this.state |= State.CLOSED;
    this.host.sender.drop(this);
    this.wantsDrain = false;
    this.gathered = undefined;
    this.gatheredMore = undefined;
  }
}
