/** The client's end of an HTTP/2 connection: requests out, responses in (RFC 9113 8.1), and what the peer left unprocessed (8.7). */
import type { Socket } from "node:net";
import { MeshError } from "../../mesh/errors.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
  ClientStream,
  RequestHead,
  ResponseReceiver,
} from "../exchange.ts";
import {
  ClientExchange,
  stillborn,
  type ClientHost,
} from "./streams/client-exchange.ts";
import { LateRequest } from "./streams/late-request.ts";
import { acknowledgedAgo } from "../acknowledged.ts";
import { LonelySource } from "../flood-guard.ts";
import { lossOfConnection } from "../machine-error.ts";
import {
  calmDown,
  ConnectionError,
  ErrorCode,
  errorName,
  FrameType,
  MAX_31,
} from "./frames/frames.ts";
import { Incoming, type IncomingOwner } from "./incoming.ts";
import type { Http2Limit, Http2Options } from "./limits.ts";
import { Session, type Cause, type SessionOwner } from "./session.ts";
import { StallGuard, type Guarded } from "./stall-guard.ts";
import type { Output } from "./write/output.ts";
import type { Stream } from "./streams/stream.ts";

/** Streams at once before the peer has said how many it takes. */
const BEFORE_SETTINGS = 100;

/** One connection carries what an upstream says to all callers: it may do so many times what one caller may. */
const UPSTREAM_SHARE = 5;

export type Http2ClientOptions = Http2Options & {
  /** The identifier of the first stream, an odd number; 1 where absent. */
  readonly firstId?: number | undefined;
};

class Client
  implements ClientConnection, ClientHost, SessionOwner, IncomingOwner, Guarded
{
  readonly protocol = "h2";
  readonly keepAlive = undefined;
  readonly input: Incoming;
  readonly #socket: Socket;
  readonly #session: Session;
  readonly #stalls: StallGuard;
  readonly #observer: ClientConnectionObserver;
  #nextId: number;
  /** No new streams. */
  #draining = false;
  #settled = false;
  /** Requests that wait for the peer's SETTINGS. */
  readonly #late: LateRequest[] = [];
  /** `capacity` was 0 when somebody may have looked. */
  #full = false;
  /** Given to `destroy`: what the streams get. */
  #reason: MeshError | undefined;

  constructor(
    socket: Socket,
    options: Http2ClientOptions,
    observer: ClientConnectionObserver,
  ) {
    this.#socket = socket;
    this.#nextId = options.firstId ?? 1;
    this.#observer = observer;
    this.#session = new Session(
      socket,
      {
        ...options,
        source: options.source ?? new LonelySource(UPSTREAM_SHARE),
      },
      this,
    );
    const { clock, deadlines, limits, sender } = this.#session;
    this.input = new Incoming(this.#session, this, false);
    this.#stalls = new StallGuard(clock, deadlines, limits, this);
    // The preface goes out with our SETTINGS in one write.
    sender.preface();
    this.input.start();
  }

  // --- ClientConnection ---

  get active(): number {
    return this.#session.streams.size;
  }

  get heardAt(): number {
    return this.#session.now;
  }

  get draining(): boolean {
    return this.#draining;
  }

  get deaf(): boolean {
    return this.#session.reading.stopped;
  }

  get pendingWrite(): number | undefined {
    return this.output.pendingWrite;
  }

  acknowledgedAgo(): number | undefined {
    return acknowledgedAgo(this.#socket);
  }

  get capacity(): number {
    const room = this.#room();
    if (room === 0) this.#full = true;
    return room;
  }

  #room(): number {
    const { over, sender, limits, streams } = this.#session;
    if (
      this.#draining ||
      over ||
      sender.output.stuckOver(limits.outputBytesMax)
    )
      return 0;
    const limit = this.#settled
      ? (this.input.peer.concurrentStreams ?? limits.concurrentStreams)
      : BEFORE_SETTINGS;
    const ids = (MAX_31 - this.#nextId) / 2 + 1;
    return Math.max(0, Math.min(limit - streams.size, ids));
  }

  request(
    head: RequestHead,
    ended: boolean,
    receiver: ResponseReceiver,
  ): ClientStream {
    const refusal = this.#refusal(head);
    if (refusal !== undefined) return stillborn(receiver, refusal);
    if (head.protocol !== undefined && !this.#settled)
      return this.#later(head, ended, receiver);
    const session = this.#session;
    const id = this.#nextId;
    this.#nextId += 2;
    const exchange = new ClientExchange(
      session,
      this,
      id,
      session.now,
      head,
      receiver,
    );
    session.streams.set(id, exchange.stream);
    session.sender.request(id, head, ended);
    if (ended) exchange.stream.endedWithHead();
    if (this.#nextId > MAX_31) {
      // 5.1.1: identifiers are used up; another connection must take over.
      this.#draining = true;
      setImmediate(() => this.#tell(() => this.#observer.draining()));
    }
    return exchange;
  }

  #refusal(head: RequestHead): MeshError | undefined {
    if (this.#session.over || this.#draining || this.#nextId > MAX_31)
      return new MeshError(
        "STREAM_REFUSED",
        "the connection takes no more requests",
        { source: "upstream", unprocessed: true },
      );
    if (
      head.protocol !== undefined &&
      this.#settled &&
      !this.input.peer.connectProtocol
    )
      return new MeshError(
        "UNSUPPORTED",
        "the endpoint does not take WebSocket over HTTP/2 (RFC 8441); a sidecar does from the version on that carries it",
        { source: "upstream", unprocessed: true },
      );
    return undefined;
  }

  /** RFC 8441 3: nobody asks before the peer has said that it understands. */
  #later(
    head: RequestHead,
    ended: boolean,
    receiver: ResponseReceiver,
  ): ClientStream {
    const late = new LateRequest(receiver, () =>
      this.request(head, ended, receiver),
    );
    this.#late.push(late);
    return late;
  }

  ping(): Promise<void> {
    const { over, pings, sender } = this.#session;
    if (over)
      return Promise.reject(
        new MeshError("UPSTREAM_RESET", "the connection has ended", {
          source: "upstream",
        }),
      );
    return pings.send(sender);
  }

  drain(): void {
    if (this.#session.over) return;
    this.#draining = true;
    this.#closeIfDrained();
  }

  destroy(error?: MeshError): void {
    this.#reason = error;
    this.#session.destroy(error);
  }

  #closeIfDrained(): void {
    const { streams, over, sender } = this.#session;
    if (!this.#draining || streams.size > 0 || over) return;
    sender.goaway(0, ErrorCode.NO_ERROR, "");
    sender.flush();
    this.#session.finish();
  }

  /** Tells the owner; a defect of its own must not end the process. */
  #tell(what: () => void): void {
    try {
      what();
    } catch {
      // The owner's pool is its own affair.
    }
  }

  #tellAvailable(): void {
    if (!this.#full || this.#room() === 0) return;
    this.#full = false;
    this.#tell(() => this.#observer.available());
  }

  // --- ClientHost: what exchanges ask for ---

  get interimLimit(): number {
    return this.#session.limits.informationalResponses;
  }

  limited(limit: Http2Limit): void {
    this.#session.limited(limit);
  }

  // --- IncomingOwner: what comes ---

  onNewFields(id: number): void {
    this.input.rules.lateFrame(id, FrameType.HEADERS);
  }

  isIdle(id: number): boolean {
    return id % 2 === 0 || id >= this.#nextId;
  }

  onPeerSettings(): void {
    this.#settled = true;
    const { place } = this.input.peer;
    for (const late of this.#late.splice(0)) late.open();
    if (place !== undefined)
      this.#tell(() => this.#observer.introduced?.(place));
    this.#tellAvailable();
  }

  onGoaway(lastId: number, code: number): void {
    const session = this.#session;
    const first = !this.#draining;
    this.#draining = true;
    // 6.8: what is above was not and will not be processed.
    for (const stream of session.streams.values()) {
      if (stream.id <= lastId || stream.over) continue;
      session.remove(stream);
      stream.deliverAbort(
        new MeshError(
          "STREAM_REFUSED",
          `the peer is going away and did not process the stream: ${errorName(code)}`,
          { source: "upstream", unprocessed: true },
        ),
      );
    }
    if (first) this.#tell(() => this.#observer.draining());
    this.#closeIfDrained();
  }

  onNotice(payload: Buffer): void {
    this.#tell(() => this.#observer.noticed?.(payload));
  }

  /** What the peer makes us say is bounded: it must read, too. */
  onRead(): void {
    const { sender, limits } = this.#session;
    if (sender.output.stuckOver(limits.outputBytesMax * 4))
      this.#session.fail(
        calmDown("output", "the peer does not read what it makes us send"),
      );
  }

  // --- SessionOwner: how it ends ---

  onHalfEnded(): void {
    // The answer is yet to come.
  }

  onRemoved(): void {
    // Nobody counts them.
  }

  onDying(): void {
    // Every stream hears it by itself.
  }

  onStreamOver(): void {
    if (this.#draining) this.#closeIfDrained();
    else if (this.#full) this.#tellAvailable();
  }

  lossOf(stream: Stream, cause: Cause): MeshError {
    const unprocessed = stream.position >= this.output.handedOver;
    const reason = this.#reason;
    if (reason !== undefined)
      return unprocessed && !reason.unprocessed
        ? new MeshError(reason.code, reason.message, {
            source: reason.source,
            unprocessed,
            cause: reason,
          })
        : reason;
    if (cause instanceof ConnectionError)
      return new MeshError("UPSTREAM_PROTOCOL", cause.message, {
        source: "upstream",
        unprocessed,
        cause,
      });
    return lossOfConnection(
      cause === undefined
        ? "the connection to the endpoint ended"
        : `the connection to the endpoint ended: ${cause.message}`,
      unprocessed,
      cause,
    );
  }

  onOver(cause: Cause): void {
    this.input.stop();
    this.#stalls.stop();
    // Each finds that the connection is over, and says so.
    for (const late of this.#late.splice(0)) late.open();
    let error: MeshError | undefined;
    if (cause instanceof MeshError) error = cause;
    else if (cause instanceof ConnectionError)
      error = new MeshError("UPSTREAM_PROTOCOL", cause.message, { cause });
    else if (cause !== undefined)
      error = lossOfConnection(cause.message, false, cause);
    // Streams were told that what is still here is unprocessed: it must not leave any more.
    this.output.discard();
    this.#tell(() => this.#observer.closed(error));
  }

  onOutputDrained(): void {
    this.#tellAvailable();
  }

  onDefect(): void {
    // The stream's receiver hears of it, and it is the one that threw.
  }

  // --- Guarded: what may stand still ---

  get output(): Output {
    return this.#session.sender.output;
  }

  endStalled(limit: Http2Limit, detail: string): void {
    this.#session.fail(calmDown(limit, detail));
  }
}

/** Speaks HTTP/2 on a socket that is connected, and over TLS has agreed on `h2`. */
export function connectHttp2(
  socket: Socket,
  options: Http2ClientOptions,
  observer: ClientConnectionObserver,
): ClientConnection {
  return new Client(socket, options, observer);
}
