/** The server's end of an HTTP/2 connection: requests in, responses out (RFC 9113 8.1), and the orderly end (6.8). */
import { REFUSALS } from "../http1/refusal.ts";
import type { Socket } from "node:net";
import { MeshError, type Code } from "../../core/errors.ts";
import type { Cancel } from "../../core/clock.ts";
import type {
  BodyReceiver,
  RequestHead,
  ResponseHead,
  ServerConnection,
  ServerConnectionInfo,
  ServerHandler,
  ServerStream,
} from "../exchange.ts";
import type { Fields } from "../fields.ts";
import { Connection } from "./connection.ts";
import {
  ConnectionError,
  ErrorCode,
  errorName,
  FrameType,
  MAX_31,
} from "./frames.ts";
import { readRequestHead } from "./heads.ts";
import type { WireField } from "./hpack/names.ts";
import type { Http2Options } from "./limits.ts";
import type { Cause } from "./session.ts";
import { Stream, type StreamHost } from "./stream.ts";

/** RFC 6585 5; the codecs' own answers stand in one table (law 9). */
const TOO_LARGE: ResponseHead = {
  status: REFUSALS.head.status,
  fields: [],
  contentLength: 0,
};

/** What a connection error is in the words of the log. */
function refusalOf(code: number): Code {
  switch (code) {
    case ErrorCode.ENHANCE_YOUR_CALM:
      return "OVERLOADED";
    case ErrorCode.SETTINGS_TIMEOUT:
      return "REQUEST_STALLED";
    case ErrorCode.INTERNAL_ERROR:
      return "INTERNAL";
    default:
      return "BAD_REQUEST";
  }
}

/** Of what went wrong on our side, what the client may know (7). */
function resetCodeFor(error: MeshError, responded: boolean): number {
  if (error.unprocessed && !responded) return ErrorCode.REFUSED_STREAM;
  switch (error.code) {
    case "CLIENT_CLOSED":
    case "REQUEST_STALLED":
    case "REQUEST_TIMEOUT":
    case "ATTEMPT_TIMEOUT":
    case "IDLE_TIMEOUT":
      return ErrorCode.CANCEL;
    default:
      return ErrorCode.INTERNAL_ERROR;
  }
}

interface ServerHost extends StreamHost {
  readonly info: ServerConnectionInfo;
  refused(code: Code, detail: string): void;
  malformed(stream: Stream, code: number, detail: string): void;
  endWithTrailers(stream: Stream, fields: readonly WireField[]): void;
}

class ServerExchange extends Stream implements ServerStream {
  readonly head: RequestHead;
  readonly ended: boolean;
  readonly connection: ServerConnectionInfo;
  /** CONNECT in either form, unless it was refused: the two directions end one by one (8.5). */
  tunnel: boolean;
  private readonly server: ServerHost;
  private responded = false;
  /** What came before there was a receiver; bounded by the stream's window, of which nothing is given back. */
  private early: Buffer[] = [];
  private earlyTrailers: Fields | undefined;
  private failure: MeshError | undefined;

  constructor(
    server: ServerHost,
    id: number,
    now: number,
    head: RequestHead,
    ended: boolean,
  ) {
    super(server, id, now);
    this.server = server;
    this.head = head;
    this.ended = ended;
    this.connection = server.info;
    this.tunnel = head.method === "CONNECT";
    this.remoteEnded = ended;
    this.expected = this.tunnel || ended ? -1 : (head.contentLength ?? -1);
    this.paused = true;
  }

  receive(receiver: BodyReceiver): void {
    if (this.failure !== undefined) {
      this.receiver = receiver;
      this.deliverAbort(this.failure);
      return;
    }
    if (this.receiver !== undefined || (this.over && !this.remoteEnded)) return;
    this.receiver = receiver;
    const early = this.early;
    this.early = [];
    this.resume();
    for (const chunk of early) if (!this.failed()) this.deliver(chunk);
    if (this.remoteEnded && !this.ended && !this.failed())
      this.deliverEnd(this.earlyTrailers);
    if (this.wantsDrain && !this.over && this.queued === 0) {
      this.wantsDrain = false;
      this.onDrained();
    }
  }

  /** Broken off while `receive` was handing over what had come before. */
  private failed(): boolean {
    return this.over && this.receiver === undefined;
  }

  informational(head: ResponseHead): void {
    if (this.over || this.responded) return;
    this.server.sender.response(this.id, head, false);
  }

  respond(head: ResponseHead, ended: boolean): void {
    if (this.over || this.responded) return;
    this.responded = true;
    if (head.status >= 300) this.tunnel = false;
    this.server.sender.response(this.id, head, ended);
    if (!ended) return;
    this.ending = true;
    this.localEnded = true;
    this.settle();
  }

  abort(error: MeshError): void {
    if (this.over) return;
    this.receiver = undefined;
    this.server.reset(this, resetCodeFor(error, this.responded));
  }

  onFields(
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
  ): void {
    let flaw: string | undefined;
    if (!ends) flaw = "a second field section without END_STREAM (8.1)";
    else if (tooLarge) flaw = "the trailer section is over the limit";
    else if (this.tunnel && fields.length > 0)
      flaw = "a trailer section in a tunnel (8.5)";
    if (flaw === undefined) this.server.endWithTrailers(this, fields);
    else this.server.malformed(this, ErrorCode.PROTOCOL_ERROR, flaw);
  }

  onReset(code: number): void {
    this.lose(
      new MeshError(
        "CLIENT_CLOSED",
        `the caller reset the stream: ${errorName(code)}`,
        { source: "downstream" },
      ),
    );
  }

  onMalformed(detail: string): void {
    this.server.refused("BAD_REQUEST", detail);
    this.lose(new MeshError("BAD_REQUEST", detail, { source: "downstream" }));
  }

  /** The exchange failed: the receiver is told, now or when it comes. */
  lose(error: MeshError): void {
    this.early = [];
    this.failure = error;
    this.deliverAbort(error);
  }

  protected override deliver(chunk: Buffer): void {
    if (this.receiver === undefined) this.early.push(chunk);
    else super.deliver(chunk);
  }

  protected override deliverEnd(trailers: Fields | undefined): void {
    if (this.receiver === undefined) this.earlyTrailers = trailers;
    else super.deliverEnd(trailers);
  }
}

export type Http2ServerOptions = Http2Options & {
  readonly info: ServerConnectionInfo;
  /** What a sniffer has read already. */
  readonly firstBytes?: Buffer;
};

class Server extends Connection implements ServerConnection, ServerHost {
  readonly info: ServerConnectionInfo;
  private readonly handler: ServerHandler;
  private draining = false;
  private drainTimer: Cancel | undefined;
  private reading = true;

  constructor(
    socket: Socket,
    options: Http2ServerOptions,
    handler: ServerHandler,
  ) {
    super(socket, options, true);
    this.info = options.info;
    this.handler = handler;
    this.start();
  }

  get active(): number {
    return this.streams.size;
  }

  drain(): void {
    if (this.draining || this.over) return;
    this.draining = true;
    // 6.8: first say that streams will be refused, and only a round trip later which was the last one.
    this.sender.goaway(MAX_31, ErrorCode.NO_ERROR, "");
    const announceLast = (): void => this.announceLast();
    this.drainTimer = this.clock.after(this.limits.closeTimeout, announceLast);
    this.pings.send(this.sender).then(announceLast, announceLast);
  }

  destroy(): void {
    this.destroyWith(undefined);
  }

  refused(code: Code, detail: string): void {
    try {
      this.handler.refused?.(code, detail, this.info);
    } catch {
      // Telling is all that it is for.
    }
  }

  private announceLast(): void {
    this.drainTimer?.();
    if (this.over || this.lastServed !== MAX_31) return;
    this.lastServed = this.lastPeerId;
    this.sender.goaway(this.lastServed, ErrorCode.NO_ERROR, "");
    this.closeIfDrained();
  }

  private closeIfDrained(): void {
    if (this.lastServed === MAX_31 || this.streams.size > 0 || this.over)
      return;
    this.teardown(undefined);
    this.closer.close(true);
  }

  protected override onNewFields(
    id: number,
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
    flaw: string | undefined,
  ): void {
    if (id % 2 === 0)
      throw new ConnectionError(
        ErrorCode.PROTOCOL_ERROR,
        "a client may not open even streams (5.1.1)",
      );
    if (!this.isIdle(id)) {
      this.onLateFrame(id, FrameType.HEADERS);
      return;
    }
    if (id > this.lastPeerId + 2) this.closed.skip(this.lastPeerId + 1, id - 1);
    this.lastPeerId = id;
    if (id > this.lastServed) {
      this.count("stray");
      return;
    }
    if (this.streams.size >= this.limits.concurrentStreams) {
      this.count("reset");
      this.sender.reset(id, ErrorCode.REFUSED_STREAM);
      this.refused(
        "OVERLOADED",
        `more than ${this.limits.concurrentStreams} streams on a connection`,
      );
      return;
    }
    if (tooLarge) {
      this.refuseTooLarge(id, ends);
      return;
    }
    const head = flaw ?? readRequestHead(fields, ends);
    if (typeof head === "string") {
      this.count("reset");
      this.sender.reset(id, ErrorCode.PROTOCOL_ERROR);
      this.refused("BAD_REQUEST", head);
      return;
    }
    const stream = new ServerExchange(this, id, this.now, head, ends);
    this.streams.set(id, stream);
    try {
      this.handler.request(stream);
    } catch (thrown) {
      this.failed(stream, thrown);
    }
  }

  private refuseTooLarge(id: number, ends: boolean): void {
    this.count("reset");
    this.sender.response(id, TOO_LARGE, true);
    if (!ends) this.sender.reset(id, ErrorCode.NO_ERROR);
    this.refused(
      "HEADERS_TOO_LARGE",
      `a request head of more than ${this.limits.headerListBytes} octets or ${this.limits.headerFields} fields`,
    );
  }

  protected override isIdle(id: number): boolean {
    // The even ones would be pushes, which we never make (5.1.1).
    return id % 2 === 0 || id > this.lastPeerId;
  }

  /** A complete answer makes the rest of the request pointless, but for a tunnel (8.1). */
  override settle(stream: Stream): void {
    if (
      stream.localEnded &&
      !stream.remoteEnded &&
      !(stream instanceof ServerExchange && stream.tunnel)
    )
      this.reset(stream, ErrorCode.NO_ERROR);
    else super.settle(stream);
  }

  protected override onStreamOver(): void {
    if (this.draining) this.closeIfDrained();
  }

  protected override onPeerSettings(): void {
    // Nothing of a server's depends on them but what the sender already knows.
  }

  protected override onGoaway(): void {
    // The client opens no more streams; those under way go on (6.8).
  }

  protected override lossOf(_stream: Stream, cause: Cause): MeshError {
    return new MeshError(
      "CLIENT_CLOSED",
      cause === undefined
        ? "the caller's connection ended"
        : `the caller's connection ended: ${cause.message}`,
      { source: "downstream", cause },
    );
  }

  protected override onOver(cause: Cause): void {
    super.onOver(cause);
    this.drainTimer?.();
    // A peer that is sent away is told of, like every refusal (law 9).
    if (cause instanceof ConnectionError)
      this.refused(refusalOf(cause.code), cause.message);
  }

  /** A client that does not read its answers gets no more requests in. */
  protected override checkOutput(): void {
    if (
      this.reading &&
      this.sender.output.stuckOver(this.limits.outputBytesMax)
    ) {
      this.reading = false;
      this.socket.pause();
    }
  }

  protected override onOutputDrained(): void {
    if (this.reading) return;
    this.reading = true;
    this.socket.resume();
  }

  protected override onDefect(detail: string): void {
    this.refused("INTERNAL", detail);
  }
}

/** Serves one connection, whose first octets are the preface (3.4). */
export function serveHttp2(
  socket: Socket,
  options: Http2ServerOptions,
  handler: ServerHandler,
): ServerConnection {
  // Back into the socket's own queue, so that nothing is handled before the caller holds the connection.
  if (options.firstBytes !== undefined && options.firstBytes.length > 0)
    socket.unshift(options.firstBytes);
  return new Server(socket, options, handler);
}
