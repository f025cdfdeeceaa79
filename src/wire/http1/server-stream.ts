/** One request on a server connection, and the writing of its response. */
import { MeshError } from "../../mesh/errors.ts";
import type {
  BodyReceiver,
  RequestHead,
  ResponseHead,
  ServerConnectionInfo,
  ServerStream,
} from "../exchange.ts";
import { fieldValue, makeField, type Fields } from "../fields.ts";
import type { BodyWriter } from "./write/body-writer.ts";
import {
  CHUNKED,
  CLOSE,
  CLOSE_AND_UPGRADE,
  contentLengthLine,
  encodeResponse,
  KEEP_ALIVE,
  UPGRADE,
} from "./write/encode.ts";
import type { Framing } from "./parse/header-section.ts";
import type { Output } from "../socket-output.ts";
import { REFUSALS } from "../refusal.ts";
import { Http1Fault } from "./fault.ts";
import type { ParsedRequest } from "./parse/request-head.ts";
import {
  ACCEPT,
  acceptOf,
  isDialogue,
  keyOf,
  opensDialogue,
} from "../websocket/handshake.ts";

/** What a stream needs of the connection that it came on. */
export interface Carrier {
  readonly info: ServerConnectionInfo;
  readonly output: Output;
  readonly writer: BodyWriter;
  /** No request is taken after this one. */
  readonly draining: boolean;
  /** More of the request's body is known to be coming than will be read once its answer is out. */
  readonly bodyTooLongToDrain: boolean;
  /** Bytes that came behind what has been read of the request. */
  readonly bytesAhead: number;
  /** The stream has a receiver now, or was paused or resumed. */
  flow(): void;
  /** CONNECT was answered with a 2xx, or a handshake with 101: from here on the bytes are not HTTP. */
  openTunnel(): void;
  /** The last byte of the response is in the output. */
  responseEnded(): void;
  /** Ends the connection so that the peer sees the response cut off. */
  breakOff(): void;
}

type ResponseState = "none yet" | "head sent" | "tunnel" | "ended" | "over";

export class Http1ServerStream implements ServerStream {
  readonly #carrier: Carrier;
  readonly #request: ParsedRequest;
  #receiver: BodyReceiver | undefined;
  #response: ResponseState = "none yet";
  /** What went wrong before there was a receiver to tell. */
  #failure: MeshError | undefined;
  #drainedUntold = false;
  /** Nothing else was in the output when the head went there. */
  #alone = false;
  #continued = false;
  /** The connection goes on after this exchange. */
  keepAlive: boolean;
  paused = false;
  requestEnded: boolean;
  /** A byte of the body has been seen. */
  bodyBegun = false;

  constructor(carrier: Carrier, request: ParsedRequest) {
    this.#carrier = carrier;
    this.#request = request;
    this.keepAlive = request.keepAlive;
    this.requestEnded = this.ended;
  }

  get head(): RequestHead {
    return this.#request.head;
  }

  get ended(): boolean {
    return this.#request.framing === "none" && !isDialogue(this.head);
  }

  get connection(): ServerConnectionInfo {
    return this.#carrier.info;
  }

  get isConnect(): boolean {
    return this.#request.head.method === "CONNECT";
  }

  get receiver(): BodyReceiver | undefined {
    return this.#receiver;
  }

  /** The response has begun. */
  get responded(): boolean {
    return this.#response !== "none yet";
  }

  get responseEnded(): boolean {
    return this.#response === "ended";
  }

  receive(receiver: BodyReceiver): void {
    this.#receiver = receiver;
    const failure = this.#failure;
    if (failure !== undefined) receiver.abort(failure);
    else if (this.#response !== "over") {
      if (this.#drainedUntold) receiver.drained();
      this.#carrier.flow();
    }
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    if (this.#response !== "over") this.#carrier.flow();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    if (this.#response !== "over") this.#carrier.flow();
  }

  informational(head: ResponseHead): void {
    // RFC 9110 15.2: an HTTP/1.0 caller knows no 1xx. 101 belongs to one connection.
    if (this.#response !== "none yet" || this.#request.minor === 0) return;
    if (head.status < 100 || head.status > 199 || head.status === 101) return;
    if (head.status === 100) this.#continued = true;
    const { output } = this.#carrier;
    if (!this.#attempt(() => output.text(encodeResponse(head, "")))) return;
    output.flush();
  }

  respond(head: ResponseHead, ended: boolean): void {
    if (this.#response !== "none yet") return;
    const { output, writer } = this.#carrier;
    if (opensDialogue(this.head, head.status)) {
      const [sent, own] = switched(this.head, head);
      // RFC 9110 9.3.6, 8.6: no Content-Length or Transfer-Encoding here.
      if (!this.#attempt(() => output.text(encodeResponse(sent, own)))) return;
      output.flush();
      writer.begin("close", undefined);
      this.#response = "tunnel";
      this.#carrier.openTunnel();
      if (ended) this.end();
      return;
    }
    this.#alone = output.size === 0;
    if (this.#alone) output.mark();
    const framing = this.#framingOf(head, ended);
    this.#decidePersistence(framing, ended);
    try {
      output.text(encodeResponse(head, this.#ownLines(head, framing)));
    } catch (fault) {
      this.#defect(fault);
      return;
    }
    this.#response = "head sent";
    writer.begin(framing, head.contentLength);
    if (ended) this.end();
    else output.later();
  }

  retract(): boolean {
    const { output } = this.#carrier;
    if (this.#response !== "head sent" || !this.#alone || output.sent)
      return false;
    output.discard();
    this.#response = "none yet";
    this.keepAlive = false;
    return true;
  }

  write(chunk: Buffer): boolean {
    if (this.#response !== "head sent" && this.#response !== "tunnel")
      return true;
    const { output, writer } = this.#carrier;
    try {
      writer.write(chunk);
    } catch (fault) {
      this.#defect(fault);
      return true;
    }
    output.later();
    return !output.full;
  }

  end(trailers?: Fields): void {
    if (this.#response !== "head sent" && this.#response !== "tunnel") return;
    try {
      this.#carrier.writer.end(trailers);
    } catch (fault) {
      this.#defect(fault);
      return;
    }
    this.#response = "ended";
    this.#carrier.responseEnded();
  }

  abort(_error: MeshError): void {
    if (this.#response === "over") return;
    this.#response = "over";
    this.#carrier.breakOff();
  }

  /** The connection says that the exchange has failed. */
  fail(error: MeshError): void {
    if (this.#response === "over") return;
    this.#response = "over";
    if (this.#receiver === undefined) this.#failure = error;
    else this.#receiver.abort(error);
  }

  /** The connection says that the exchange is complete: whatever is called from here on does nothing. */
  complete(): void {
    this.#response = "over";
  }

  /** The connection says that its output has room again. */
  drained(): void {
    if (this.#response !== "head sent" && this.#response !== "tunnel") return;
    if (this.#receiver === undefined) this.#drainedUntold = true;
    else this.#receiver.drained();
  }

  /** RFC 9112 6.3, seen from the sender's side. */
  #framingOf(head: ResponseHead, ended: boolean): Framing {
    const { status } = head;
    if (this.head.method === "HEAD" || status === 204 || status === 304)
      return "none";
    if (ended || head.contentLength !== undefined) return "length";
    return this.#request.minor === 1 ? "chunked" : "close";
  }

  #decidePersistence(framing: Framing, ended: boolean): void {
    const carrier = this.#carrier;
    if (
      carrier.draining ||
      framing === "close" ||
      // Bytes that were meant for the tunnel, or the WebSocket, must not be read as a request.
      isDialogue(this.head) ||
      // The caller may send the body now or leave it out (RFC 9110 10.1.1): what comes next could be read in two ways.
      (this.#request.expectsContinue &&
        !this.#continued &&
        !this.requestEnded &&
        !this.bodyBegun) ||
      // So it is where the caller asked for another protocol and went on before it knew that it does not get it.
      (this.#request.asksUpgrade &&
        (!this.requestEnded || carrier.bytesAhead > 0)) ||
      (ended && carrier.bodyTooLongToDrain)
    )
      this.keepAlive = false;
  }

  #ownLines(head: ResponseHead, framing: Framing): string {
    const persistence = !this.keepAlive
      ? head.status === REFUSALS.webSocketVersion.status &&
        this.head.protocol !== undefined
        ? CLOSE_AND_UPGRADE
        : CLOSE
      : this.#request.minor === 0
        ? KEEP_ALIVE
        : "";
    switch (framing) {
      case "length":
        return contentLengthLine(head.contentLength ?? 0) + persistence;
      case "chunked":
        return CHUNKED + persistence;
      case "close":
        return persistence;
      case "none":
        // RFC 9110 8.6: what a GET would have got may be told to HEAD and in a 304; a 204 has no Content-Length.
        return head.status === 204 || head.contentLength === undefined
          ? persistence
          : contentLengthLine(head.contentLength) + persistence;
    }
  }

  #attempt(write: () => void): boolean {
    try {
      write();
      return true;
    } catch (fault) {
      this.#defect(fault);
      return false;
    }
  }

  /** What was to be written would break the framing: that is this proxy's fault, and the caller sees a connection that breaks. */
  #defect(fault: unknown): void {
    if (!(fault instanceof Http1Fault)) throw fault;
    this.fail(
      new MeshError("INTERNAL", fault.message, {
        source: "proxy",
        cause: fault,
      }),
    );
    this.#carrier.breakOff();
  }
}

/** What opens a dialogue, and the codec's lines in it. An endpoint that speaks HTTP/2 gives no Accept (RFC 8441 5), but this caller waits for it. */
function switched(
  request: RequestHead,
  head: ResponseHead,
): readonly [ResponseHead, string] {
  if (request.protocol === undefined) return [head, ""];
  const key = keyOf(request);
  if (key === undefined || fieldValue(head.fields, ACCEPT) !== undefined)
    return [head, UPGRADE];
  const fields = [...head.fields, makeField(ACCEPT, acceptOf(key))];
  return [{ ...head, fields }, UPGRADE];
}
