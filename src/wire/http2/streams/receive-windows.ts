/**
 * The windows that we give: a stream's grows while its content is taken quickly and falls back when it is not, so that
 * stalled streams hold little; the connection's is given back at once, so that a stalled stream does not stop the others: as long as
 * all that the proxy holds is within its bound, and what this connection's paused streams took within theirs.
 */
import type { Buffers } from "../../buffers.ts";
import {
  ConnectionError,
  DEFAULT_WINDOW,
  ErrorCode,
} from "../frames/frames.ts";
import type { Http2Limits } from "../limits.ts";
import type { Sender } from "../write/sender.ts";
import { LongWay } from "./long-way.ts";

/** Half a window taken within so many milliseconds means that the window may be what holds the stream back. */
const QUICK = 100;
/** Part of a stream's window that is given back at once. A peer's frames may lack a few bytes of a whole half, which then wait for the next round trip. */
const HALF = 7 / 16;
/** Bytes that are given back at once however large the window is: a far peer would stand still for what a half lacks. */
const MUCH = 131_072;

/** The receiving half of a stream, as far as its window goes. Its fields are the windows' to write, but for `paused`. */
export interface ReceivingHalf {
  readonly id: number;
  /** What the peer may still send. */
  receiveWindow: number;
  /** What the window is when all is credited. */
  windowSize: number;
  /** Bytes received and not yet given back. */
  uncredited: number;
  /** Part of these: what came while the stream was paused. */
  held: number;
  /** When window was given back last, monotonic milliseconds. */
  creditedAt: number;
  /** No window is given: the receiver asked for a pause, or there is none yet. */
  readonly paused: boolean;
  readonly remoteEnded: boolean;
  readonly over: boolean;
}

export class ReceiveWindows {
  /** What a new stream may send: ours once the peer acknowledged it (RFC 9113 6.9.2). */
  initial: number = DEFAULT_WINDOW;
  readonly #limits: Http2Limits;
  readonly #sender: Sender;
  readonly #buffers: Buffers;
  /** The connection's window is withheld, as paused streams hold too much. */
  readonly #onWithheld: () => void;
  #withheld = false;
  /** `whenRoom` will call. */
  #awaitsRoom = false;
  /** A connection's window cannot be lowered (6.9.2). */
  #size: number;
  /** What a stream's may grow to: more, as the connection's grows. */
  #streamMax: number;
  readonly #way = new LongWay();
  /** It is given back in so many parts: by halves; by quarters on a long way, where a peer would stand still for what a half lacks. */
  #parts = 2;
  #window: number;
  #uncredited = 0;
  /** Bytes that paused streams took in. */
  held = 0;
  /** Bytes by which windows of streams have grown. */
  #grown = 0;

  constructor(
    limits: Http2Limits,
    sender: Sender,
    buffers: Buffers,
    onWithheld: () => void,
  ) {
    this.#limits = limits;
    this.#sender = sender;
    this.#buffers = buffers;
    this.#onWithheld = onWithheld;
    this.#size = this.#window = Math.max(
      limits.connectionWindow,
      DEFAULT_WINDOW,
    );
    this.#streamMax = limits.streamWindowMax;
  }

  /** Raises the connection's window from its default. */
  open(): void {
    if (this.#size > DEFAULT_WINDOW)
      this.#sender.windowUpdate(0, this.#size - DEFAULT_WINDOW);
  }

  /** The peer acknowledged our SETTINGS: its windows changed by the difference. */
  acknowledged(streams: Iterable<ReceivingHalf>): void {
    const change = this.#limits.streamWindow - this.initial;
    if (change === 0) return;
    this.initial = this.#limits.streamWindow;
    for (const stream of streams) {
      stream.receiveWindow += change;
      stream.windowSize += change;
    }
  }

  /** A DATA frame of `length` bytes came at `now`, for `stream` or for none that is open. False where it is over the stream's window. */
  received(
    stream: ReceivingHalf | undefined,
    length: number,
    now: number,
  ): boolean {
    this.#window -= length;
    this.#way.came(length, now);
    if (this.#window < 0)
      throw new ConnectionError(
        ErrorCode.FLOW_CONTROL_ERROR,
        "DATA beyond the connection's window (6.9)",
      );
    this.#uncredited += length;
    if (stream !== undefined) {
      stream.receiveWindow -= length;
      stream.uncredited += length;
      if (stream.paused) {
        stream.held += length;
        this.held += length;
      }
    }
    this.#creditConnection();
    return stream === undefined || stream.receiveWindow >= 0;
  }

  /** What came was passed on: gives window back in halves, and large ones in smaller parts. */
  passed(stream: ReceivingHalf, now: number): void {
    if (stream.paused || stream.remoteEnded || stream.over || !isMuch(stream))
      return;
    let increment = stream.uncredited;
    const { windowGrowth } = this.#limits;
    const most = this.#streamMax;
    if (
      now - stream.creditedAt < QUICK &&
      stream.windowSize < most &&
      this.#buffers.roomy
    ) {
      const growth = Math.min(
        stream.windowSize,
        most - stream.windowSize,
        windowGrowth - this.#grown,
      );
      if (growth > 0) {
        increment += growth;
        stream.windowSize += growth;
        this.#grown += growth;
      }
    }
    stream.creditedAt = now;
    this.#credit(stream, increment);
  }

  /** The receiver takes content again: the window falls back to what it started with, as it proved too large. */
  resumed(stream: ReceivingHalf): void {
    this.held -= stream.held;
    stream.held = 0;
    this.#creditConnection();
    if (stream.over || stream.remoteEnded) return;
    const surplus = Math.min(
      Math.max(0, stream.windowSize - this.initial),
      stream.uncredited,
    );
    if (surplus > 0) {
      stream.windowSize -= surplus;
      this.#grown -= surplus;
      stream.uncredited -= surplus;
    }
    // Not quick: the time of the pause lies between.
    stream.creditedAt = Number.NEGATIVE_INFINITY;
    if (isMuch(stream)) this.#credit(stream, stream.uncredited);
  }

  /** The stream is over. */
  released(stream: ReceivingHalf): void {
    this.held -= stream.held;
    stream.held = 0;
    this.#grown -= Math.max(0, stream.windowSize - this.initial);
    this.#creditConnection();
  }

  #credit(stream: ReceivingHalf, increment: number): void {
    stream.uncredited = 0;
    stream.receiveWindow += increment;
    this.#sender.windowUpdate(stream.id, increment);
  }

  #creditConnection(): void {
    if (this.#uncredited * this.#parts < this.#size) return;
    const { crowded } = this.#buffers;
    if (this.held > this.#limits.heldBytes || (crowded && this.held > 0)) {
      if (!this.#withheld) this.#onWithheld();
      this.#withheld = true;
      // This connection would not hear of what others let go of.
      if (crowded) this.#awaitRoom();
      return;
    }
    this.#withheld = false;
    const increment = this.#uncredited + this.#growth();
    this.#way.given(this.#window);
    this.#window += increment;
    this.#sender.windowUpdate(0, increment);
    this.#uncredited = 0;
  }

  #awaitRoom(): void {
    if (this.#awaitsRoom) return;
    this.#awaitsRoom = true;
    this.#buffers.whenRoom(() => {
      this.#awaitsRoom = false;
      this.#creditConnection();
    });
  }

  /** By how much the connection's window grows now: for a peer that is far away. */
  #growth(): number {
    if (!this.#way.isLong || !this.#buffers.roomy) return 0;
    const { connectionWindowMax } = this.#limits;
    const growth = Math.min(this.#size, connectionWindowMax - this.#size);
    if (growth <= 0) return 0;
    this.#streamMax += Math.floor(this.#streamMax * (growth / this.#size));
    this.#size += growth;
    this.#parts = 4;
    this.#way.reset();
    return growth;
  }
}

function isMuch({ uncredited, windowSize }: ReceivingHalf): boolean {
  return uncredited >= Math.min(windowSize * HALF, MUCH);
}
