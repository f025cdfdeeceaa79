/** One request that a client made, and the way to answer it (RFC 9113 8.1). */
import { MeshError } from "../../mesh/errors.ts";
import type { Code } from "../../mesh/codes.ts";
import { ChunkQueue } from "../chunk-queue.ts";
import type {
  BodyReceiver,
  Notifier,
  RequestHead,
  ResponseHead,
  ServerConnectionInfo,
  ServerStream,
} from "../exchange.ts";
import type { Fields } from "../fields.ts";
import { ErrorCode, errorName } from "./frames/frames.ts";
import type { WireField } from "./hpack/names.ts";
import { Stream, type StreamHost } from "./stream.ts";

/** Of what went wrong on our side, what the client may know (7). Of refusals by policy: it changed while the stream was open. */
function resetCodeFor(error: MeshError, responded: boolean): number {
  if (error.unprocessed && !responded) return ErrorCode.REFUSED_STREAM;
  switch (error.code) {
    case "CLIENT_CLOSED":
    case "REQUEST_STALLED":
    case "RESPONSE_STALLED":
    case "REQUEST_TIMEOUT":
    case "DEADLINE_EXCEEDED":
    case "ATTEMPT_TIMEOUT":
    case "IDLE_TIMEOUT":
    case "DENIED":
    case "NOT_ALLOWED":
    case "MTLS_REQUIRED":
    case "TUNNEL_REFUSED":
      return ErrorCode.CANCEL;
    // The next sidecar tells its caller so, if it has told nothing yet.
    case "UPSTREAM_PROTOCOL":
      return ErrorCode.PROTOCOL_ERROR;
    default:
      return ErrorCode.INTERNAL_ERROR;
  }
}

/** What an exchange needs of its connection. */
export interface ServerHost extends StreamHost, Notifier {
  readonly info: ServerConnectionInfo;
  refused(code: Code, detail: string): void;
  malformed(stream: Stream, code: number, detail: string): void;
  endWithTrailers(stream: Stream, fields: readonly WireField[]): void;
}

export class ServerExchange extends Stream implements ServerStream {
  readonly head: RequestHead;
  readonly ended: boolean;
  readonly connection: ServerConnectionInfo;
  /** CONNECT in either form, unless it was refused: the two directions end one by one (8.5). */
  tunnel: boolean;
  private readonly server: ServerHost;
  private responded = false;
  /** What came before there was a receiver; bounded by the stream's window, of which nothing is given back. */
  private early: ChunkQueue | undefined;
  private earlyBytes = 0;
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
    if (ended) this.receivedEnd();
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
    const early = this.early?.chunks ?? [];
    this.forgetEarly();
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
    // A caller that does not read need not be kept informed.
    const { sender } = this.server;
    if (this.over || this.responded || sender.backlogged) return;
    sender.response(this.id, head, false);
  }

  get notifier(): Notifier {
    return this.server;
  }

  respond(head: ResponseHead, ended: boolean): void {
    if (this.over || this.responded) return;
    this.responded = true;
    if (head.status >= 300) this.tunnel = false;
    this.server.sender.response(this.id, head, ended);
    if (!ended) return;
    this.ending = true;
    this.sentEnd();
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
    this.forgetEarly();
    this.failure = error;
    this.deliverAbort(error);
  }

  protected override deliver(chunk: Buffer): void {
    if (this.receiver !== undefined) {
      super.deliver(chunk);
      return;
    }
    const { buffers } = this.server;
    (this.early ??= new ChunkQueue()).push(chunk, buffers.waste);
    this.earlyBytes += chunk.length;
    buffers.change(chunk.length);
  }

  private forgetEarly(): void {
    this.early = undefined;
    this.uncountEarly();
  }

  private uncountEarly(): void {
    if (this.earlyBytes > 0) this.server.buffers.change(-this.earlyBytes);
    this.earlyBytes = 0;
  }

  override drop(): void {
    super.drop();
    this.uncountEarly();
  }

  protected override deliverEnd(trailers: Fields | undefined): void {
    if (this.receiver === undefined) this.earlyTrailers = trailers;
    else super.deliverEnd(trailers);
  }
}
