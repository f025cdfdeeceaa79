/**
 * One stream of a connection, the same at both ends: its state, the sending half, the windows. Its states are those of RFC 9113 5.1;
 * one that is idle has no object here, and none is ever reserved, as nobody may push.
 *
 * ```
 *                     ┌─ END_STREAM sent ────▶ half-closed (local) ── END_STREAM received ─┐
 *   idle ─HEADERS─▶ open                                                                   ├─▶ closed
 *                     └─ END_STREAM received ▶ half-closed (remote) ── END_STREAM sent ────┘
 *                     RST_STREAM sent or received, GOAWAY below it, the connection's end ────▶ closed, from any of them
 * ```
 */
import type { MeshError } from "../../../mesh/errors.ts";
import type { Buffers } from "../../buffers.ts";
import type { ChunkQueue } from "../../chunk-queue.ts";
import type { BodyReceiver } from "../../exchange.ts";
import type { Fields } from "../../fields.ts";
import type { WireField } from "../hpack/names.ts";
import type { SendingHalf } from "../write/data-sender.ts";
import type { Sender } from "../write/sender.ts";
import type { ReceiveWindows, ReceivingHalf } from "./receive-windows.ts";

/** As bits: both halves may have ended a moment before the connection lets go of the stream, which is when it is closed. */
const State = {
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
  /** The peer broke the rules of a message: the stream hears of it, and is reset. */
  malformed(stream: Stream, code: number, detail: string): void;
  /** Reads the fields as a trailer section and ends the peer's half. */
  endWithTrailers(stream: Stream, fields: readonly WireField[]): void;
}

/** The request and the response that a stream carries: what one end makes of what comes. */
export interface Exchange {
  /** A field block that belongs to this stream. `tooLarge`: fields are missing. */
  onFields(
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
  ): void;
  /** Content that comes while there is no receiver. */
  onEarlyData(chunk: Buffer): void;
  /** The end, while there is no receiver. */
  onEarlyEnd(trailers: Fields | undefined): void;
  /** RST_STREAM of the peer. */
  onReset(code: number): void;
  /** The peer's half breaks the rules; the stream is being reset. */
  onMalformed(detail: string): void;
  /** The connection is gone, or a defect of ours ended the stream. */
  onLost(error: MeshError): void;
  /** The connection has let go of the stream. */
  onDropped(): void;
}

export class Stream implements SendingHalf, ReceivingHalf {
  readonly id: number;
  readonly exchange: Exchange;
  readonly #host: StreamHost;
  /** Bits of `State`. */
  #state: number = State.OPEN;
  /** When it was opened, monotonic milliseconds modulo 2^32. */
  readonly openedAt: number;
  /** What the connection had written when it was opened; see `Output.position`. */
  readonly position: number;
  /** CONNECT in either form, unless it was refused: the two directions end one by one (8.5). */
  tunnel = false;

  sendWindow: number;
  queue: ChunkQueue | undefined;
  queueAt = 0;
  queued = 0;
  waiting = false;
  ending = false;
  trailers: Fields | undefined;
  wantsDrain = false;

  receiveWindow: number;
  windowSize: number;
  uncredited = 0;
  held = 0;
  creditedAt: number;
  paused = false;

  /** No content may come: the head of the response has not. */
  awaitsHead = false;
  /** Bytes that content-length leaves to come; -1 where none was declared. */
  expected = -1;
  receiver: BodyReceiver | undefined;
  /** Content of the present read that is not passed on yet. */
  #gathered: Buffer | undefined;
  #gatheredMore: Buffer[] | undefined;

  constructor(host: StreamHost, id: number, now: number, exchange: Exchange) {
    this.#host = host;
    this.id = id;
    this.exchange = exchange;
    this.sendWindow = host.sender.data.initialWindow;
    this.receiveWindow = this.windowSize = host.windows.initial;
    this.creditedAt = now;
    this.openedAt = now | 0;
    this.position = host.sender.output.position;
  }

  /** Closed: no frame of it is sent or expected any more. */
  get over(): boolean {
    return this.#state >= State.CLOSED;
  }
  /** END_STREAM was sent. */
  get localEnded(): boolean {
    return (this.#state & State.HALF_CLOSED_LOCAL) !== 0;
  }
  /** END_STREAM was received. */
  get remoteEnded(): boolean {
    return (this.#state & State.HALF_CLOSED_REMOTE) !== 0;
  }

  sentEnd(): void {
    this.#state |= State.HALF_CLOSED_LOCAL;
  }
  receivedEnd(): void {
    this.#state |= State.HALF_CLOSED_REMOTE;
  }

  write(chunk: Buffer): boolean {
    if (this.over || this.ending || chunk.length === 0)
      return this.over || !this.wantsDrain;
    return this.#host.sender.data.write(this, chunk);
  }

  end(trailers?: Fields): void {
    if (this.over || this.ending) return;
    this.ending = true;
    this.#host.sender.data.end(this, trailers);
  }

  /** The head that was sent is the whole message. */
  endedWithHead(): void {
    this.ending = true;
    this.sentEnd();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#host.windows.resumed(this);
  }

  /** Keeps a small piece of content until `takeGathered`; true where it is the first one. */
  gather(chunk: Buffer): boolean {
    if (this.#gathered === undefined) {
      this.#gathered = chunk;
      return true;
    }
    (this.#gatheredMore ??= [this.#gathered]).push(chunk);
    return false;
  }

  /** All that waits, in one piece. */
  takeGathered(): Buffer | undefined {
    const gathered = this.#gathered;
    if (gathered === undefined) return undefined;
    this.#gathered = undefined;
    const more = this.#gatheredMore;
    if (more === undefined) return gathered;
    this.#gatheredMore = undefined;
    return Buffer.concat(more);
  }

  /** Content of the peer's. Returns why it is malformed, where it is (8.1.1). */
  onData(chunk: Buffer): string | undefined {
    if (this.awaitsHead) return "content before the response's head (8.1)";
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
    if (this.awaitsHead) return "the end before the response's head (8.1)";
    if (this.expected > 0) return "less content than content-length says";
    this.receivedEnd();
    this.deliverEnd(trailers);
    if (!this.over) this.settle();
    return undefined;
  }

  /** One half has ended: the connection decides whether the stream is over. */
  settle(): void {
    this.#host.settle(this);
  }

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
      this.#host.failed(this, thrown);
    }
  }

  deliver(chunk: Buffer): void {
    const { receiver } = this;
    if (receiver === undefined) {
      this.exchange.onEarlyData(chunk);
      return;
    }
    try {
      receiver.data(chunk);
    } catch (thrown) {
      this.#host.failed(this, thrown);
    }
  }

  deliverEnd(trailers: Fields | undefined): void {
    const { receiver } = this;
    if (receiver === undefined) {
      this.exchange.onEarlyEnd(trailers);
      return;
    }
    try {
      receiver.end(trailers);
    } catch (thrown) {
      this.#host.failed(this, thrown);
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
    this.#state |= State.CLOSED;
    this.#host.sender.data.drop(this);
    this.wantsDrain = false;
    this.#gathered = undefined;
    this.#gatheredMore = undefined;
    this.exchange.onDropped();
  }
}
