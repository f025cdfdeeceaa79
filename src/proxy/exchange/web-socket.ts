/**
 * A WebSocket on its way through the proxy: every byte passes as it is, and where a frame ends is known in both directions, so that the
 * proxy can end the dialogue by a Close frame between two frames (RFC 6455 5.5.1) and not by breaking the connection.
 *
 * ```
 *   caller ─data─▶  frames, masked   ─▶ relay ─▶ application        open ─conclude─▶ closing ─▶ over
 *   caller ◀─write─ frames, unmasked ◀─ relay ◀─ application             Close each way, then FIN; after CLOSE_GRACE: broken off
 * ```
 * Where one side says Close or FIN of itself, the other has to follow: neither may hold the exchange for both.
 */
import type { Timed } from "../../core/deadlines.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Code } from "../../mesh/reasons.ts";
import type {
  RequestHead,
  ResponseHead,
  ServerConnectionInfo,
  ServerStream,
} from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import {
  CloseCode,
  closeFrame,
  FrameTracker,
} from "../../wire/websocket/frames.ts";
import type { RequestBodyReceiver } from "./body-filter.ts";
import type { RelayHost } from "./relay-host.ts";
import type { RequestRecord } from "./request-record.ts";

/** Milliseconds in which the frames in flight end and both sides go; then the connection is broken off. */
export const CLOSE_GRACE = 3000;

/** Reasons that are not the caller's fault: it may come again. */
const AWAY: ReadonlySet<Code> = new Set<Code>(["DRAINING", "IDLE_TIMEOUT"]);

interface Sink {
  write(chunk: Buffer): boolean;
  end(): void;
}

/** One direction. */
class Direction {
  readonly #masked: boolean;
  readonly #frames = new FrameTracker();
  #sink: Sink | undefined;
  #last: { readonly code: number; readonly reason: string } | undefined;
  /** Its end has been passed on, the sender's or ours. */
  over = false;

  constructor(masked: boolean) {
    this.#masked = masked;
  }

  /** The sender has said its last word. */
  get closed(): boolean {
    return this.#frames.closed;
  }

  to(sink: Sink): void {
    this.#sink = sink;
  }

  /** False: wait for `drained`. What comes behind our Close is dropped. */
  write(chunk: Buffer): boolean {
    const sink = this.#sink;
    if (this.over || sink === undefined) return true;
    if (this.#last === undefined) {
      this.#frames.pass(chunk);
      return sink.write(chunk);
    }
    const end = this.#frames.next(chunk, 0);
    const room = sink.write(end < 0 ? chunk : chunk.subarray(0, end));
    if (end < 0) return room;
    this.#close();
    return true;
  }

  end(): void {
    if (this.over) return;
    this.over = true;
    this.#sink?.end();
  }

  /** A Close as soon as no frame is on its way, and then the end. True where that is now. */
  conclude(code: number, reason: string): boolean {
    this.#last = { code, reason };
    if (!this.over && this.#frames.between) this.#close();
    return this.over;
  }

  #close(): void {
    const last = this.#last;
    // A side that has said Close says nothing more.
    if (last !== undefined && !this.#frames.closed)
      this.#sink?.write(closeFrame(last.code, last.reason, this.#masked));
    this.end();
  }
}

/** To the relay it is a caller's stream as any other, but that it can be concluded. */
export class WebSocketStream implements ServerStream, Timed {
  readonly head: RequestHead;
  readonly ended = false;
  readonly connection: ServerConnectionInfo;
  dueAt = 0;
  dueSlot: number | undefined;
  readonly #host: Pick<RelayHost, "clock" | "deadlines" | "limits">;
  readonly #stream: ServerStream;
  readonly #record: Pick<RequestRecord, "opened" | "concluded">;
  /** The caller may learn the reason. */
  readonly #inside: boolean;
  readonly #toCaller: Direction;
  readonly #toApplication = new Direction(true);
  #relay: RequestBodyReceiver | undefined;
  #opened = false;
  #error: MeshError | undefined;
  /** Why it is broken off where a side does not follow the other, which has left. */
  #unfollowed: MeshError | undefined;
  /** Both have gone of themselves. */
  #callerEnded = false;
  #relayEnded = false;

  constructor(
    host: Pick<RelayHost, "clock" | "deadlines" | "limits">,
    stream: ServerStream,
    record: Pick<RequestRecord, "opened" | "concluded">,
    inside: boolean,
  ) {
    this.head = stream.head;
    this.connection = stream.connection;
    this.#host = host;
    this.#stream = stream;
    this.#record = record;
    this.#inside = inside;
    this.#toCaller = new Direction(false);
    this.#toCaller.to(stream);
  }

  /** `relay`: it, or a filter before it. */
  receive(relay: RequestBodyReceiver): void {
    this.#relay = relay;
    this.#toApplication.to({
      write: (chunk) => {
        relay.data(chunk);
        return true;
      },
      end: () => relay.end(undefined),
    });
    this.#stream.receive({
      data: (chunk) => {
        this.#toApplication.write(chunk);
        if (this.#toApplication.closed) this.#callerLeaves();
      },
      end: () => {
        this.#toApplication.end();
        this.#callerEnded = true;
        this.#callerLeaves();
        this.#settle();
      },
      abort: (error) => {
        this.#callerEnded = true;
        this.#relayEnded = true;
        this.#settle();
        relay.abort(error);
      },
      drained: () => relay.drained(),
    });
  }

  informational(head: ResponseHead): void {
    this.#stream.informational(head);
  }

  respond(head: ResponseHead, ended: boolean): void {
    this.#opened = head.status === 101;
    if (this.#opened) this.#record.opened(this.#host.clock.now());
    this.#stream.respond(head, ended);
    if (this.#callerEnded) this.#callerLeaves();
  }

  write(chunk: Buffer): boolean {
    if (!this.#opened) return this.#stream.write(chunk);
    const room = this.#toCaller.write(chunk);
    if (this.#toCaller.closed) this.#applicationLeaves();
    return room;
  }

  end(trailers?: Fields): void {
    if (!this.#opened) {
      this.#stream.end(trailers);
      return;
    }
    this.#toCaller.end();
    this.#relayEnded = true;
    this.#applicationLeaves();
    this.#settle();
  }

  #callerLeaves(): void {
    this.#within(
      CLOSE_GRACE,
      "CLIENT_CLOSED",
      "the caller closed its WebSocket, and the application did not",
    );
  }

  /** The caller may have much to read before it comes to the end. */
  #applicationLeaves(): void {
    this.#within(
      this.#host.limits.takeTimeout,
      "RESPONSE_STALLED",
      "the application closed its WebSocket, and the caller did not",
    );
  }

  #within(ms: number, code: Code, detail: string): void {
    if (!this.#opened || this.#error !== undefined) return;
    if (this.#unfollowed?.code === code) return;
    const { clock, deadlines } = this.#host;
    const at = clock.now() + ms;
    if (this.dueSlot !== undefined && this.dueAt <= at) return;
    this.#unfollowed = new MeshError(code, detail, { source: "downstream" });
    deadlines.set(this, at);
  }

  abort(error: MeshError): void {
    this.#host.deadlines.clear(this);
    // The other end is cut off. This end hears why, and goes within the grace.
    if (this.#opened && error.code === "REVOKED" && this.#parts(error)) return;
    this.#stream.abort(error);
  }

  /** False in the midst of a frame, whose rest will not come. */
  #parts(error: MeshError): boolean {
    if (this.#error !== undefined || this.#toCaller.over) return false;
    const reason = this.#inside ? error.code : "";
    const { POLICY_VIOLATION } = CloseCode;
    if (!this.#toCaller.conclude(POLICY_VIOLATION, reason)) return false;
    this.#error = error;
    this.#relayEnded = true;
    const { clock, deadlines } = this.#host;
    deadlines.set(this, clock.now() + CLOSE_GRACE);
    this.#stream.resume();
    this.#settle();
    return true;
  }

  /** False where the response has opened the dialogue. */
  retract(): boolean {
    return !this.#opened && (this.#stream.retract?.() ?? false);
  }

  pause(): void {
    // What is dropped need not wait, and the caller's end is to be heard.
    if (!this.#toApplication.over) this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  conclude(error: MeshError): boolean {
    if (!this.#opened) return false;
    if (this.#error !== undefined) return true;
    this.#error = error;
    this.#record.concluded(error);
    const { clock, deadlines } = this.#host;
    deadlines.set(this, clock.now() + CLOSE_GRACE);
    const code = AWAY.has(error.code)
      ? CloseCode.GOING_AWAY
      : CloseCode.POLICY_VIOLATION;
    this.#toCaller.conclude(code, this.#inside ? error.code : "");
    this.#toApplication.conclude(code, error.code);
    if (this.#toApplication.over) this.#stream.resume();
    return true;
  }

  /** They have not gone within the grace. */
  due(): void {
    const error = this.#error ?? this.#unfollowed;
    if (error === undefined) return;
    this.#relay?.refused(error);
    this.#stream.abort(error);
  }

  #settle(): void {
    if (this.#callerEnded && this.#relayEnded) this.#host.deadlines.clear(this);
  }
}
