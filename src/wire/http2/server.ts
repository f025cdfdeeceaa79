/** The server's end of an HTTP/2 connection: requests in, responses out (RFC 9113 8.1), and the orderly end (6.8). */
import type { Socket } from "node:net";
import { afterArrivals, type Cancel } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Code } from "../../mesh/reasons.ts";
import type {
  RequestHead,
  ResponseHead,
  ServerConnection,
  ServerConnectionInfo,
  ServerHandler,
  WorkerPlace,
} from "../exchange.ts";
import { makeField } from "../fields.ts";
import { excess } from "../flood-guard.ts";
import { REFUSALS, type RefusalKind } from "../refusal.ts";
import {
  calmDown,
  ConnectionError,
  ErrorCode,
  FrameType,
  MAX_31,
  protocolError,
} from "./frames/frames.ts";
import type { WireField } from "./hpack/names.ts";
import { Incoming, type IncomingOwner } from "./incoming.ts";
import type { Http2Limit, Http2Options } from "./limits.ts";
import type { Flaw } from "./parse/flaws.ts";
import { ANSWERED, readRequestHead } from "./parse/request-head.ts";
import { ServerExchange, type ServerHost } from "./streams/server-exchange.ts";
import { Session, type Cause, type SessionOwner } from "./session.ts";
import { StallGuard, type Guarded, type Served } from "./stall-guard.ts";
import type { Output } from "./write/output.ts";
import type { Stream } from "./streams/stream.ts";

/** The codecs' own responses are in one table (law 9). */
function answerOf(kind: RefusalKind): ResponseHead {
  const { status, code } = REFUSALS[kind];
  return {
    status,
    fields: [makeField("x-wherry-reason", code)],
    contentLength: 0,
  };
}
const TOO_LARGE = answerOf("head");

/** Requests that are lost with their connection, beyond the limit of resets, and weigh as much as one connection that is ended for its frames. */
const LOST_PER_OFFENCE = 25;

/** What a connection error is in the words of the log. */
function refusalOf({ code, limit }: ConnectionError): Code {
  if (limit === "header_time") return "REQUEST_STALLED";
  if (limit === "write_time") return "RESPONSE_STALLED";
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

export type Http2ServerOptions = Http2Options & {
  readonly info: ServerConnectionInfo;
  /** Said to the peer where this process has several workers. */
  readonly place?: WorkerPlace;
  /** What a sniffer has read already. */
  readonly firstBytes?: Buffer;
};

class Server
  implements
    ServerConnection,
    ServerHost,
    SessionOwner,
    IncomingOwner,
    Guarded,
    Served
{
  readonly info: ServerConnectionInfo;
  readonly input: Incoming;
  readonly served = this;
  readonly #session: Session;
  readonly #stalls: StallGuard;
  readonly #handler: ServerHandler;
  #draining = false;
  #drainTimer: Cancel | undefined;
  /** Requests are read. */
  #accepting = true;

  constructor(
    socket: Socket,
    options: Http2ServerOptions,
    handler: ServerHandler,
  ) {
    this.info = options.info;
    this.#handler = handler;
    this.#session = new Session(socket, options, this);
    const { clock, deadlines, limits } = this.#session;
    this.input = new Incoming(this.#session, this, true);
    this.#stalls = new StallGuard(clock, deadlines, limits, this);
    this.input.start(options.place);
  }

  // --- ServerConnection ---

  get active(): number {
    return this.#session.streams.size;
  }

  shed(ms: number, most: number): number {
    return this.#session.over ? 0 : this.#stalls.shed(ms, most);
  }

  drain(idleFor = 0): void {
    const { sender, pings, clock, limits, over } = this.#session;
    if (this.#draining || over) return;
    this.#draining = true;
    // 6.8: first say that streams will be refused, and only a round trip later which was the last one. What has come by then is served.
    sender.goaway(MAX_31, ErrorCode.NO_ERROR, "");
    const within = Math.max(limits.closeTimeout, idleFor);
    this.#drainTimer = afterArrivals(clock, within, this.#announceLast);
    pings.send(sender).then(this.#announceLast, this.#announceLast);
  }

  destroy(): void {
    this.#session.destroy(undefined);
  }

  readonly #announceLast = (): void => {
    const session = this.#session;
    this.#drainTimer?.();
    if (session.over || session.lastServed !== MAX_31) return;
    session.lastServed = session.lastPeerId;
    session.sender.goaway(session.lastServed, ErrorCode.NO_ERROR, "");
    this.#closeIfDrained();
  };

  #closeIfDrained(): void {
    const { lastServed, streams, over } = this.#session;
    if (lastServed === MAX_31 || streams.size > 0 || over) return;
    this.#session.finish();
  }

  // --- ServerHost: what exchanges ask for ---

  notify(payload: Buffer): boolean {
    const { over, sender } = this.#session;
    if (over) return false;
    if (!sender.backlogged) sender.notice(payload);
    return true;
  }

  refused(code: Code, detail: string): void {
    try {
      this.#handler.refused?.(code, detail, this.info);
    } catch {
      // Telling is all that it is for.
    }
  }

  // --- IncomingOwner: what comes ---

  onNewFields(
    id: number,
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
    flaw: string | undefined,
  ): void {
    const session = this.#session;
    if (id % 2 === 0)
      throw protocolError("a client may not open even streams (5.1.1)");
    if (!this.isIdle(id)) {
      this.input.rules.lateFrame(id, FrameType.HEADERS);
      return;
    }
    if (id > session.lastPeerId + 2)
      session.closed.skip(session.lastPeerId + 1, id - 1);
    session.lastPeerId = id;
    if (id > session.lastServed) {
      session.count("stray_frames");
      return;
    }
    if (!this.#admits(id)) return;
    if (tooLarge) {
      const { headerListBytes, headerFields } = session.limits;
      session.limited("header_list");
      this.#answer(
        id,
        ends,
        TOO_LARGE,
        "HEADERS_TOO_LARGE",
        `a request head of more than ${headerListBytes} bytes or ${headerFields} fields`,
      );
      return;
    }
    const head = flaw ?? readRequestHead(fields, ends, this.info.claims);
    if (typeof head === "string") this.#refuse(id, ends, head);
    else this.#open(id, ends, head);
  }

  /** Whether there is room for another stream; where there is none, it is refused. */
  #admits(id: number): boolean {
    const { streams, limits, source, sender, now } = this.#session;
    const full = streams.size >= limits.concurrentStreams;
    if (!full && source.streams < source.mostStreams(now)) return true;
    this.#session.count("malformed");
    this.#session.limited("streams");
    sender.reset(id, ErrorCode.REFUSED_STREAM);
    this.refused(
      "OVERLOADED",
      full
        ? `more than ${limits.concurrentStreams} streams on a connection`
        : `more than ${Math.floor(source.mostStreams(now))} streams on all connections of one source`,
    );
    return false;
  }

  #open(id: number, ended: boolean, head: RequestHead): void {
    const session = this.#session;
    const exchange = new ServerExchange(
      session,
      this,
      id,
      session.now,
      head,
      ended,
    );
    const { stream } = exchange;
    session.streams.set(id, stream);
    session.source.streams += 1;
    try {
      this.#handler.request(exchange);
    } catch (thrown) {
      session.failed(stream, thrown);
    }
  }

  #refuse(id: number, ends: boolean, flaw: Flaw): void {
    const kind = ANSWERED.get(flaw);
    if (kind !== undefined) {
      this.#answer(id, ends, answerOf(kind), REFUSALS[kind].code, flaw);
      return;
    }
    this.#session.count("malformed");
    this.#session.sender.reset(id, ErrorCode.PROTOCOL_ERROR);
    this.refused("BAD_REQUEST", flaw);
  }

  /** Responds to a head that is not handed on. */
  #answer(
    id: number,
    ends: boolean,
    head: ResponseHead,
    code: Code,
    detail: string,
  ): void {
    const { sender } = this.#session;
    this.#session.count("malformed");
    sender.response(id, head, true);
    if (!ends) sender.reset(id, ErrorCode.NO_ERROR);
    this.refused(code, detail);
  }

  isIdle(id: number): boolean {
    // The even ones would be pushes, which we never make (5.1.1).
    return id % 2 === 0 || id > this.#session.lastPeerId;
  }

  onPeerSettings(): void {
    // Nothing of a server's depends on them but what the sender already knows.
  }

  onNotice(): void {
    // Clients have nothing to tell but in their requests.
  }

  onGoaway(): void {
    // The client opens no more streams; those in flight go on (6.8).
  }

  /** A client that does not read its responses gets no more requests in. */
  onRead(): void {
    const { sender, limits, reading } = this.#session;
    if (this.#accepting && sender.output.stuckOver(limits.outputBytesMax)) {
      this.#accepting = false;
      this.#session.limited("output");
      reading.stop();
    }
  }

  // --- SessionOwner: how it ends ---

  /** A complete response makes the rest of the request pointless, but for a tunnel (8.1). */
  onHalfEnded(stream: Stream): void {
    if (!stream.tunnel) this.#session.cut(stream, ErrorCode.NO_ERROR);
  }

  onRemoved(): void {
    this.#session.source.streams -= 1;
  }

  onStreamOver(): void {
    if (this.#draining) this.#closeIfDrained();
  }

  /** A connection that goes with its requests unanswered is a flood of resets without a frame. */
  onDying(streams: readonly Stream[]): void {
    const { source, limits, clock } = this.#session;
    const now = clock.now();
    let beyond = 0;
    for (const stream of streams) {
      source.streams -= 1;
      if (
        this.#session.isRapid(stream, now) &&
        excess(source, "resets", limits.resetsPerSecond, now) !== undefined
      )
        beyond += 1;
    }
    if (beyond > 0) source.offended(now, Math.ceil(beyond / LOST_PER_OFFENCE));
  }

  lossOf(_stream: Stream, cause: Cause): MeshError {
    return new MeshError(
      "CLIENT_CLOSED",
      cause === undefined
        ? "the caller's connection ended"
        : `the caller's connection ended: ${cause.message}`,
      { source: "downstream", cause },
    );
  }

  onOver(cause: Cause): void {
    this.input.stop();
    this.#stalls.stop();
    this.#drainTimer?.();
    // A peer that is sent away is reported, like every refusal (law 9).
    if (cause instanceof ConnectionError)
      this.refused(refusalOf(cause), cause.message);
  }

  onOutputDrained(): void {
    if (this.#accepting) return;
    this.#accepting = true;
    this.#session.reading.goOn();
  }

  onDefect(detail: string): void {
    this.refused("INTERNAL", detail);
  }

  // --- Guarded and Served: what may stand still ---

  get output(): Output {
    return this.#session.sender.output;
  }

  endStalled(limit: Http2Limit, detail: string): void {
    this.#session.fail(calmDown(limit, detail));
  }

  flushing(): readonly Stream[] {
    const { streams } = this.#session;
    return streams.size === 0
      ? []
      : streams.values().filter((it) => it.ending && it.queued > 0);
  }

  resetStalled(stream: Stream): void {
    this.#session.limited("write_time");
    this.refused("RESPONSE_STALLED", "the caller gave its response no window");
    this.#session.cut(stream, ErrorCode.CANCEL, "RESPONSE_STALLED");
  }

  get idleMark(): number | undefined {
    const { streams, lastPeerId } = this.#session;
    return streams.size > 0 || this.#draining ? undefined : lastPeerId;
  }

  endIdle(): void {
    this.#session.limited("idle");
    this.drain();
  }
}

/** Serves one connection, whose first bytes are the preface (3.4). */
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
