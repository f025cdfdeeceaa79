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
} from "./client-exchange.ts";
import { lonelySource } from "../flood-guard.ts";
import { Connection } from "./connection.ts";
import {
  ConnectionError,
  ErrorCode,
  errorName,
  FrameType,
  MAX_31,
} from "./frames/frames.ts";
import type { Http2Options } from "./limits.ts";
import type { Cause } from "./session.ts";
import type { Stream } from "./stream.ts";

/** Streams at once before the peer has said how many it takes. */
const BEFORE_SETTINGS = 100;

/** One connection carries what an upstream says to all callers: it may do so many times what one caller may. */
const UPSTREAM_SHARE = 5;

class Client extends Connection implements ClientConnection, ClientHost {
  readonly protocol = "h2";
  readonly keepAlive = undefined;
  private readonly observer: ClientConnectionObserver;
  private nextId = 1;
  /** No new streams. */
  private draining = false;
  private settled = false;
  /** `capacity` was 0 when somebody may have looked. */
  private full = false;
  /** Given to `destroy`: what the streams are told. */
  private reason: MeshError | undefined;

  constructor(
    socket: Socket,
    options: Http2Options,
    observer: ClientConnectionObserver,
  ) {
    super(
      socket,
      { ...options, source: options.source ?? lonelySource(UPSTREAM_SHARE) },
      false,
    );
    this.observer = observer;
    // The preface goes out with our SETTINGS in one write.
    this.sender.preface();
    this.start();
  }

  get active(): number {
    return this.streams.size;
  }

  get interimLimit(): number {
    return this.limits.informationalResponses;
  }

  get heardAt(): number {
    return this.now;
  }

  get capacity(): number {
    const room = this.room();
    if (room === 0) this.full = true;
    return room;
  }

  private room(): number {
    if (
      this.draining ||
      this.over ||
      this.sender.output.stuckOver(this.limits.outputBytesMax)
    )
      return 0;
    const limit = this.settled
      ? (this.peer.concurrentStreams ?? this.limits.concurrentStreams)
      : BEFORE_SETTINGS;
    const ids = (MAX_31 - this.nextId) / 2 + 1;
    return Math.max(0, Math.min(limit - this.streams.size, ids));
  }

  request(
    head: RequestHead,
    ended: boolean,
    receiver: ResponseReceiver,
  ): ClientStream {
    const refusal = this.refusal(head);
    if (refusal !== undefined) return stillborn(receiver, refusal);
    const id = this.nextId;
    this.nextId += 2;
    const stream = new ClientExchange(
      this,
      id,
      this.now,
      head.method,
      receiver,
    );
    this.streams.set(id, stream);
    this.sender.request(id, head, ended);
    if (ended) {
      stream.ending = true;
      stream.sentEnd();
    }
    if (this.nextId > MAX_31) {
      // 5.1.1: identifiers are used up; another connection must take over.
      this.draining = true;
      setImmediate(() => this.tell(() => this.observer.draining()));
    }
    return stream;
  }

  private refusal(head: RequestHead): MeshError | undefined {
    if (this.over || this.draining || this.nextId > MAX_31)
      return new MeshError(
        "STREAM_REFUSED",
        "the connection takes no more requests",
        { source: "upstream", unprocessed: true },
      );
    if (
      head.protocol !== undefined &&
      this.settled &&
      !this.peer.connectProtocol
    )
      return new MeshError(
        "UNSUPPORTED",
        "the peer does not take extended CONNECT (RFC 8441)",
        { source: "upstream", unprocessed: true },
      );
    return undefined;
  }

  ping(): Promise<void> {
    if (this.over)
      return Promise.reject(
        new MeshError("UPSTREAM_RESET", "the connection has ended", {
          source: "upstream",
        }),
      );
    return this.pings.send(this.sender);
  }

  drain(): void {
    if (this.over) return;
    this.draining = true;
    this.closeIfDrained();
  }

  destroy(error?: MeshError): void {
    this.reason = error;
    this.destroyWith(error);
  }

  private closeIfDrained(): void {
    if (!this.draining || this.streams.size > 0 || this.over) return;
    this.sender.goaway(0, ErrorCode.NO_ERROR, "");
    this.sender.flush();
    this.teardown(undefined);
    this.closer.close(true);
  }

  /** Tells the owner; a defect of its own must not end the process. */
  private tell(what: () => void): void {
    try {
      what();
    } catch {
      // The owner's pool is its own affair.
    }
  }

  private tellAvailable(): void {
    if (!this.full || this.room() === 0) return;
    this.full = false;
    this.tell(() => this.observer.available());
  }

  protected override onNewFields(id: number): void {
    this.onLateFrame(id, FrameType.HEADERS);
  }

  protected override isIdle(id: number): boolean {
    return id % 2 === 0 || id >= this.nextId;
  }

  protected override onPeerSettings(): void {
    this.settled = true;
    const { place } = this.peer;
    if (place !== undefined) this.tell(() => this.observer.introduced?.(place));
    this.tellAvailable();
  }

  protected override onGoaway(lastId: number, code: number): void {
    const first = !this.draining;
    this.draining = true;
    // 6.8: what is above was not and will not be processed.
    for (const stream of this.streams.values()) {
      if (stream.id <= lastId || stream.over) continue;
      this.remove(stream);
      stream.deliverAbort(
        new MeshError(
          "STREAM_REFUSED",
          `the peer is going away and did not process the stream: ${errorName(code)}`,
          { source: "upstream", unprocessed: true },
        ),
      );
    }
    if (first) this.tell(() => this.observer.draining());
    this.closeIfDrained();
  }

  protected override onNotice(payload: Buffer): void {
    this.tell(() => this.observer.noticed?.(payload));
  }

  protected override onStreamOver(): void {
    if (this.draining) this.closeIfDrained();
    else if (this.full) this.tellAvailable();
  }

  protected override lossOf(stream: Stream, cause: Cause): MeshError {
    if (this.reason !== undefined) return this.reason;
    const unprocessed =
      stream instanceof ClientExchange &&
      stream.position >= this.sender.output.handedOver;
    if (cause instanceof ConnectionError)
      return new MeshError("UPSTREAM_PROTOCOL", cause.message, {
        source: "upstream",
        unprocessed,
        cause,
      });
    return new MeshError(
      "UPSTREAM_RESET",
      cause === undefined
        ? "the connection to the endpoint ended"
        : `the connection to the endpoint ended: ${cause.message}`,
      { source: "upstream", unprocessed, cause },
    );
  }

  protected override onOver(cause: Cause): void {
    super.onOver(cause);
    let error: MeshError | undefined;
    if (cause instanceof MeshError) error = cause;
    else if (cause !== undefined)
      error = new MeshError(
        cause instanceof ConnectionError
          ? "UPSTREAM_PROTOCOL"
          : "UPSTREAM_RESET",
        cause.message,
        { source: "upstream", cause },
      );
    // Streams were told that what is still here is unprocessed: it must not leave any more.
    this.sender.output.discard();
    this.tell(() => this.observer.closed(error));
  }

  protected override onOutputDrained(): void {
    this.tellAvailable();
  }

  protected override onDefect(): void {
    // The stream's receiver is told, and it is the one that threw.
  }

  override flushing(): readonly Stream[] {
    // Whoever made a request waits for its answer, and looks after its own time.
    return [];
  }

  override readonly idleMark = undefined;

  override resetStalled(): void {
    // None is flushing.
  }

  override endIdle(): void {
    // The pool decides that.
  }
}

/** Speaks HTTP/2 on a socket that is connected, and over TLS has agreed on `h2`. */
export function connectHttp2(
  socket: Socket,
  options: Http2Options,
  observer: ClientConnectionObserver,
): ClientConnection {
  return new Client(socket, options, observer);
}
