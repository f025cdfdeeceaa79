/** One request that a client made, and the way to answer it (RFC 9113 8.1). */
import { MeshError } from "../../../mesh/errors.ts";
import { REASONS, type Code } from "../../../mesh/reasons.ts";
import { ChunkQueue } from "../../chunk-queue.ts";
import type {
  BodyReceiver,
  Notifier,
  RequestHead,
  ResponseHead,
  ServerConnectionInfo,
  ServerStream,
} from "../../exchange.ts";
import type { Fields } from "../../fields.ts";
import { ErrorCode, errorName } from "../frames/frames.ts";
import type { WireField } from "../hpack/names.ts";
import {
  answerTo,
  isDialogue,
  opensDialogue,
} from "../../websocket/handshake.ts";
import { Stream, type Exchange, type StreamHost } from "./stream.ts";

/** What the client may know of what went wrong on our side (7). */
function resetCodeFor(error: MeshError, responded: boolean): number {
  return error.unprocessed && !responded
    ? ErrorCode.REFUSED_STREAM
    : ErrorCode[REASONS[error.code].reset];
}

/** What an exchange needs of the server whose connection it came on. */
export interface ServerHost extends Notifier {
  readonly info: ServerConnectionInfo;
  refused(code: Code, detail: string): void;
}

export class ServerExchange implements ServerStream, Exchange {
  readonly stream: Stream;
  readonly head: RequestHead;
  readonly ended: boolean;
  readonly connection: ServerConnectionInfo;
  readonly #host: StreamHost;
  readonly #server: ServerHost;
  #responded = false;
  /** 100 (Continue) was sent. */
  #continued = false;
  /** What came before there was a receiver; bounded by the stream's window, of which nothing is given back. */
  #early: ChunkQueue | undefined;
  #earlyBytes = 0;
  #earlyTrailers: Fields | undefined;
  #failure: MeshError | undefined;

  constructor(
    host: StreamHost,
    server: ServerHost,
    id: number,
    now: number,
    head: RequestHead,
    ended: boolean,
  ) {
    this.#host = host;
    this.#server = server;
    this.head = head;
    this.ended = ended;
    this.connection = server.info;
    const stream = new Stream(host, id, now, this);
    this.stream = stream;
    stream.tunnel = isDialogue(head);
    if (ended) stream.receivedEnd();
    stream.expected = stream.tunnel || ended ? -1 : (head.contentLength ?? -1);
    stream.paused = true;
  }

  write(chunk: Buffer): boolean {
    return this.stream.write(chunk);
  }

  end(trailers?: Fields): void {
    this.stream.end(trailers);
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  receive(receiver: BodyReceiver): void {
    const { stream } = this;
    if (this.#failure !== undefined) {
      stream.receiver = receiver;
      stream.deliverAbort(this.#failure);
      return;
    }
    if (stream.receiver !== undefined || (stream.over && !stream.remoteEnded))
      return;
    stream.receiver = receiver;
    const early = this.#early?.chunks ?? [];
    this.#forgetEarly();
    stream.resume();
    for (const chunk of early) if (!this.#failed) stream.deliver(chunk);
    if (stream.remoteEnded && !this.ended && !this.#failed)
      stream.deliverEnd(this.#earlyTrailers);
    if (stream.wantsDrain && !stream.over && stream.queued === 0) {
      stream.wantsDrain = false;
      stream.onDrained();
    }
  }

  /** Broken off while `receive` was handing over what had come before. */
  get #failed(): boolean {
    return this.stream.over && this.stream.receiver === undefined;
  }

  informational(head: ResponseHead): void {
    if (this.stream.over || this.#responded) return;
    const { sender } = this.#host;
    const continues = head.status === 100 && !this.#continued;
    // A caller that does not read need not be kept informed; but one that waits for leave to send its body would wait in vain.
    if (sender.backlogged && !continues) return;
    this.#continued ||= continues;
    sender.response(this.stream.id, head, false);
  }

  get notifier(): Notifier {
    return this.#server;
  }

  respond(head: ResponseHead, ended: boolean): void {
    const { stream } = this;
    if (stream.over || this.#responded) return;
    this.#responded = true;
    if (!opensDialogue(this.head, head.status)) stream.tunnel = false;
    const sent =
      this.head.protocol === undefined ? head : answerTo(this.head, head);
    this.#host.sender.response(stream.id, sent, ended);
    if (!ended) return;
    stream.endedWithHead();
    stream.settle();
  }

  abort(error: MeshError): void {
    const { stream } = this;
    if (stream.over) return;
    stream.receiver = undefined;
    this.#host.reset(stream, resetCodeFor(error, this.#responded));
  }

  onFields(
    fields: readonly WireField[],
    ends: boolean,
    tooLarge: boolean,
  ): void {
    const { stream } = this;
    let flaw: string | undefined;
    if (!ends) flaw = "a second field section without END_STREAM (8.1)";
    else if (tooLarge) flaw = "the trailer section is over the limit";
    else if (stream.tunnel && fields.length > 0)
      flaw = "a trailer section in a tunnel (8.5)";
    if (flaw === undefined) this.#host.endWithTrailers(stream, fields);
    else this.#host.malformed(stream, ErrorCode.PROTOCOL_ERROR, flaw);
  }

  onReset(code: number): void {
    this.onLost(
      new MeshError(
        "CLIENT_CLOSED",
        `the caller reset the stream: ${errorName(code)}`,
        { source: "downstream" },
      ),
    );
  }

  onMalformed(detail: string): void {
    this.#server.refused("BAD_REQUEST", detail);
    this.onLost(new MeshError("BAD_REQUEST", detail, { source: "downstream" }));
  }

  /** The exchange failed: the receiver hears of it, now or when it comes. */
  onLost(error: MeshError): void {
    this.#forgetEarly();
    this.#failure = error;
    this.stream.deliverAbort(error);
  }

  onEarlyData(chunk: Buffer): void {
    const { buffers } = this.#host;
    (this.#early ??= new ChunkQueue()).push(chunk, buffers.waste);
    this.#earlyBytes += chunk.length;
    buffers.change(chunk.length);
  }

  onEarlyEnd(trailers: Fields | undefined): void {
    this.#earlyTrailers = trailers;
  }

  #forgetEarly(): void {
    this.#early = undefined;
    this.onDropped();
  }

  onDropped(): void {
    if (this.#earlyBytes > 0) this.#host.buffers.change(-this.#earlyBytes);
    this.#earlyBytes = 0;
  }
}
