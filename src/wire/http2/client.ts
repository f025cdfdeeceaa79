/** The client's end of an HTTP/2 connection: requests out, responses in (RFC 9113 8.1), and what the peer left unprocessed (8.7). */
import type { Socket } from "node:net";
import { MeshError } from "../../core/errors.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
  ClientStream,
  RequestHead,
  ResponseReceiver,
} from "../exchange.ts";
import { Connection } from "./connection.ts";
import {
  ConnectionError,
  ErrorCode,
  errorName,
  FrameType,
  MAX_31,
} from "./frames.ts";
import { readResponseHead } from "./heads.ts";
import type { WireField } from "./hpack/names.ts";
import type { Http2Options } from "./limits.ts";
import type { Cause } from "./session.ts";
import { Stream, type StreamHost } from "./stream.ts";

/** Streams at once before the peer has said how many it takes. */
const BEFORE_SETTINGS = 100;

interface ClientHost extends StreamHost {
  malformed(stream: Stream, code: number, detail: string): void;
  endWithTrailers(stream: Stream, fields: readonly WireField[]): void;
}

class ClientExchange extends Stream implements ClientStream {
  /** Where the request's HEADERS begin in all that the connection has written. */
  readonly position: number;
  private readonly client: ClientHost;
  private readonly method: string;
  private responses: ResponseReceiver | undefined;
  /** The final head has come. */
  responded = false;

  constructor(
    client: ClientHost,
    id: number,
    now: number,
    method: string,
    receiver: ResponseReceiver,
  ) {
    super(client, id, now);
    this.client = client;
    this.method = method;
    this.receiver = this.responses = receiver;
    this.position = client.sender.output.position;
  }

  abort(_error: MeshError): void {
    if (this.over) return;
    this.receiver = this.responses = undefined;
    this.client.reset(this, ErrorCode.CANCEL);
  }

  onFields(
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
  ): void {
    if (tooLarge) this.reject("the response's head is over the limit");
    else if (!this.responded) this.onHead(fields, ends);
    else if (!ends)
      this.reject("a second field section without END_STREAM (8.1)");
    else this.client.endWithTrailers(this, fields);
  }

  private onHead(fields: readonly WireField[], ends: boolean): void {
    const head = readResponseHead(fields);
    if (typeof head === "string") {
      this.reject(head);
      return;
    }
    const { status, contentLength } = head;
    const { responses } = this;
    if (status < 200) {
      if (ends) this.reject("an interim response with END_STREAM (8.1)");
      else this.guarded(() => responses?.informational(head));
      return;
    }
    this.responded = true;
    // No content follows whatever content-length says (RFC 9110 6.4.1, 8.6).
    if (this.method === "HEAD" || status === 204 || status === 304)
      this.expected = 0;
    else if (this.method !== "CONNECT") this.expected = contentLength ?? -1;
    if (ends && this.expected > 0) {
      this.reject("content-length without content");
      return;
    }
    if (ends) this.remoteEnded = true;
    this.guarded(() => responses?.head(head, ends));
    if (ends && !this.over) this.settle();
  }

  private guarded(tell: () => void): void {
    try {
      tell();
    } catch (thrown) {
      this.client.failed(this, thrown);
    }
  }

  override onData(chunk: Buffer): string | undefined {
    if (!this.responded) return "content before the response's head (8.1)";
    return super.onData(chunk);
  }

  private reject(detail: string): void {
    this.client.malformed(this, ErrorCode.PROTOCOL_ERROR, detail);
  }

  onReset(code: number): void {
    // 8.1: a server may end a stream so when it has answered and does not want the rest of the request.
    if (
      this.remoteEnded &&
      (code === ErrorCode.NO_ERROR || code === ErrorCode.CANCEL)
    )
      return;
    if (code === ErrorCode.REFUSED_STREAM && !this.responded)
      this.deliverAbort(
        new MeshError("STREAM_REFUSED", "the peer refused the stream", {
          source: "upstream",
          unprocessed: true,
        }),
      );
    else
      this.deliverAbort(
        new MeshError(
          "UPSTREAM_RESET",
          `the peer reset the stream: ${errorName(code)}`,
          { source: "upstream" },
        ),
      );
  }

  onMalformed(detail: string): void {
    this.deliverAbort(
      new MeshError("UPSTREAM_PROTOCOL", detail, { source: "upstream" }),
    );
  }
}

/** A stream that was never opened: its receiver is told, but not from within `request`. */
function stillborn(receiver: ResponseReceiver, error: MeshError): ClientStream {
  let aborted = false;
  setImmediate(() => {
    if (!aborted) receiver.abort(error);
  });
  return {
    write: () => true,
    end: () => undefined,
    abort: () => void (aborted = true),
    pause: () => undefined,
    resume: () => undefined,
  };
}

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
    super(socket, options, false);
    this.observer = observer;
    // The preface goes out with our SETTINGS in one write.
    this.sender.preface();
    this.start();
  }

  get active(): number {
    return this.streams.size;
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
      stream.localEnded = true;
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
}

/** Speaks HTTP/2 on a socket that is connected, and over TLS has agreed on `h2`. */
export function connectHttp2(
  socket: Socket,
  options: Http2Options,
  observer: ClientConnectionObserver,
): ClientConnection {
  return new Client(socket, options, observer);
}
