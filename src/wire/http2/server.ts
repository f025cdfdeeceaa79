/** The server's end of an HTTP/2 connection: requests in, responses out (RFC 9113 8.1), and the orderly end (6.8). */
import type { Socket } from "node:net";
import type { Cancel } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Code } from "../../mesh/codes.ts";
import type {
  ResponseHead,
  ServerConnection,
  ServerConnectionInfo,
  ServerHandler,
  WorkerPlace,
} from "../exchange.ts";
import { makeField } from "../fields.ts";
import { excess } from "../flood-guard.ts";
import { REFUSALS, type RefusalKind } from "../refusal.ts";
import { Connection } from "./connection.ts";
import {
  ConnectionError,
  ErrorCode,
  FrameType,
  MAX_31,
} from "./frames/frames.ts";
import { ANSWERED, readRequestHead } from "./heads.ts";
import type { WireField } from "./hpack/names.ts";
import type { Http2Options } from "./limits.ts";
import { ServerExchange, type ServerHost } from "./server-exchange.ts";
import type { Cause } from "./session.ts";
import type { Stream } from "./stream.ts";

/** The codecs' own answers stand in one table (law 9). */
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

class Server extends Connection implements ServerConnection, ServerHost {
  readonly info: ServerConnectionInfo;
  private readonly handler: ServerHandler;
  private draining = false;
  private drainTimer: Cancel | undefined;
  /** Requests are read. */
  private accepting = true;

  constructor(
    socket: Socket,
    options: Http2ServerOptions,
    handler: ServerHandler,
  ) {
    super(socket, options, true);
    this.info = options.info;
    this.handler = handler;
    this.start(options.place);
  }

  get active(): number {
    return this.streams.size;
  }

  notify(payload: Buffer): boolean {
    if (this.over) return false;
    if (!this.sender.backlogged) this.sender.notice(payload);
    return true;
  }

  shed(ms: number, most: number): number {
    return this.over ? 0 : this.stalls.shed(ms, most);
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
      this.count("stray_frames");
      return;
    }
    const { source } = this;
    const full = this.streams.size >= this.limits.concurrentStreams;
    if (full || source.streams >= source.mostStreams) {
      this.count("malformed");
      this.limited("streams");
      this.sender.reset(id, ErrorCode.REFUSED_STREAM);
      this.refused(
        "OVERLOADED",
        full
          ? `more than ${this.limits.concurrentStreams} streams on a connection`
          : `more than ${source.mostStreams} streams on all connections of one source`,
      );
      return;
    }
    if (tooLarge) {
      this.limited("header_list");
      this.answer(
        id,
        ends,
        TOO_LARGE,
        "HEADERS_TOO_LARGE",
        `a request head of more than ${this.limits.headerListBytes} octets or ${this.limits.headerFields} fields`,
      );
      return;
    }
    const head = flaw ?? readRequestHead(fields, ends, this.info.claims);
    if (typeof head === "string") {
      const kind = ANSWERED.get(head);
      if (kind !== undefined) {
        this.answer(id, ends, answerOf(kind), REFUSALS[kind].code, head);
        return;
      }
      this.count("malformed");
      this.sender.reset(id, ErrorCode.PROTOCOL_ERROR);
      this.refused("BAD_REQUEST", head);
      return;
    }
    const stream = new ServerExchange(this, id, this.now, head, ends);
    this.streams.set(id, stream);
    source.streams += 1;
    try {
      this.handler.request(stream);
    } catch (thrown) {
      this.failed(stream, thrown);
    }
  }

  /** Answers a head that is not handed on. */
  private answer(
    id: number,
    ends: boolean,
    head: ResponseHead,
    code: Code,
    detail: string,
  ): void {
    this.count("malformed");
    this.sender.response(id, head, true);
    if (!ends) this.sender.reset(id, ErrorCode.NO_ERROR);
    this.refused(code, detail);
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

  protected override remove(stream: Stream): void {
    super.remove(stream);
    this.source.streams -= 1;
  }

  /** A connection that goes with its requests unanswered is a flood of resets without a frame. */
  protected override teardown(cause: Cause): void {
    if (this.over) return;
    const now = this.clock.now();
    let beyond = 0;
    for (const stream of this.streams.values()) {
      this.source.streams -= 1;
      if (
        this.isRapid(stream, now) &&
        excess(this.source, "resets", this.limits.resetsPerSecond, now) !==
          undefined
      )
        beyond += 1;
    }
    if (beyond > 0)
      this.source.offended(now, Math.ceil(beyond / LOST_PER_OFFENCE));
    super.teardown(cause);
  }

  protected override onStreamOver(): void {
    if (this.draining) this.closeIfDrained();
  }

  protected override onPeerSettings(): void {
    // Nothing of a server's depends on them but what the sender already knows.
  }

  protected override onNotice(): void {
    // Clients have nothing to tell but in their requests.
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
      this.refused(refusalOf(cause), cause.message);
  }

  /** A client that does not read its answers gets no more requests in. */
  protected override checkOutput(): void {
    if (
      this.accepting &&
      this.sender.output.stuckOver(this.limits.outputBytesMax)
    ) {
      this.accepting = false;
      this.limited("output");
      this.stopReading();
    }
  }

  protected override onOutputDrained(): void {
    if (this.accepting) return;
    this.accepting = true;
    this.readOn();
  }

  protected override onDefect(detail: string): void {
    this.refused("INTERNAL", detail);
  }

  override flushing(): readonly Stream[] {
    return this.streams.size === 0
      ? []
      : this.streams.values().filter((it) => it.ending && it.queued > 0);
  }

  override resetStalled(stream: Stream): void {
    this.limited("write_time");
    this.refused("RESPONSE_STALLED", "the caller gave its answer no window");
    this.reset(stream, ErrorCode.CANCEL);
  }

  override get idleMark(): number | undefined {
    return this.streams.size > 0 || this.draining ? undefined : this.lastPeerId;
  }

  override endIdle(): void {
    this.limited("idle");
    this.drain();
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
