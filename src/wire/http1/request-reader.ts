/**
 * The reading half of a server connection: what comes is understood as requests, one after the other, each read to its end.
 *
 * ```
 *   request-head ─→ request-body ─→ response ─→ request-head …
 *         │               └── response early: drained ──┘ ↑
 *         └─ no body ──────────────────────→ response ─ CONNECT, 2xx; or 101 ─→ tunnel
 * ```
 * From anywhere to closing, in which the connection drops what comes, and to closed.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Source } from "../flood-guard.ts";
import { Http1Fault } from "./fault.ts";
import { Incoming, type Interpreter } from "./incoming.ts";
import type { Http1Limits } from "./limits.ts";
import type { Http1ServerOptions } from "./options.ts";
import { BodyReader } from "./parse/body-reader.ts";
import type { Input } from "./parse/input.ts";
import { RequestIntake } from "./parse/request-intake.ts";
import { Http1ServerStream, type Carrier } from "./server-stream.ts";
import { tinyChunkGuard } from "./tiny-chunks.ts";

type Phase =
  | "request-head"
  | "request-body"
  | "response"
  | "tunnel"
  | "closing"
  | "closed";

/** The connection that it reads for. */
export interface RequestTaker extends Carrier {
  /** A part of a head is there. */
  headBegun(): void;
  /** The head of a request is there. */
  take(stream: Http1ServerStream): void;
  /** Request and response are both at their end. */
  exchangeEnded(stream: Http1ServerStream): void;
  /** The response is out, and the rest of the request is not worth reading. */
  cutRequest(stream: Http1ServerStream): void;
  /** The caller went away before its response was whole. */
  callerGone(detail: string): void;
  /** What came breaks the grammar or a limit. */
  faulted(fault: Http1Fault): void;
  /** Nothing is left to say. */
  close(): void;
  destroy(): void;
}

export class RequestReader implements Interpreter {
  readonly #taker: RequestTaker;
  readonly #limits: Http1Limits;
  readonly #intake: RequestIntake;
  readonly #body: BodyReader;
  readonly #incoming: Incoming;
  readonly #input: Input;
  #phase: Phase = "request-head";
  /** None where it is closing or closed. */
  #stream: Http1ServerStream | undefined;
  #tunnelEndTold = false;
  /** Bytes of the request read after its response. */
  #drained = 0;

  constructor(
    socket: Socket,
    taker: RequestTaker,
    source: Source,
    limits: Http1Limits,
    options: Http1ServerOptions,
  ) {
    const { clock, info, buffers, onLimit } = options;
    this.#taker = taker;
    this.#limits = limits;
    this.#intake = new RequestIntake(
      socket instanceof TLSSocket ? "https" : "http",
      limits,
      clock,
      info.claims,
    );
    this.#body = new BodyReader(
      limits,
      tinyChunkGuard(source, limits, clock, onLimit),
    );
    this.#incoming = new Incoming(socket, this, buffers);
    this.#input = this.#incoming.input;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** That of the request which is read or responded to. */
  get stream(): Http1ServerStream | undefined {
    return this.#stream;
  }

  /** Bytes that have come and are not understood yet. */
  get bytesAhead(): number {
    return this.#input.length;
  }

  /** Since when a part of a head is there, monotonic milliseconds; undefined where none is. */
  get headBegunAt(): number | undefined {
    return this.#intake.begunAt;
  }

  /** More of the body is known to be missing than is read once the response is out. */
  get bodyTooLongToDrain(): boolean {
    return this.#body.remaining > this.#limits.drainBytes;
  }

  /** Both ends of a tunnel have said that they are through. */
  get isTunnelDone(): boolean {
    return (
      this.#phase === "tunnel" &&
      this.#stream?.responseEnded === true &&
      this.#tunnelEndTold
    );
  }

  /** `bytes` have been read already, and count as received first. */
  pushFirst(bytes: Buffer): void {
    this.#input.push(bytes);
    process.nextTick(() => this.#incoming.run());
  }

  push(chunk: Buffer): void {
    this.#incoming.push(chunk);
  }

  /** Goes on: something has changed that it may have waited for. */
  run(): void {
    this.#incoming.run();
  }

  /** The peer has sent its FIN. */
  finish(): void {
    this.#incoming.finish();
  }

  /** The exchange is over, and the next request may come. */
  next(): void {
    this.#stream = undefined;
    this.#phase = "request-head";
  }

  /** The rest of a request that has its response is read for the sake of the connection, up to a bound. */
  drainBody(): void {
    this.#drained = 0;
    this.#incoming.run();
  }

  openTunnel(): void {
    this.#phase = "tunnel";
    this.#incoming.run();
  }

  /** Understands nothing more. */
  stop(phase: "closing" | "closed"): void {
    this.#stream = undefined;
    this.#phase = phase;
    this.#input.clear();
  }

  /** Lets the socket flow or stops it, as the phase has it now. */
  adjustFlow(): void {
    this.#incoming.adjustFlow();
  }

  // Interpreter: what comes, understood.

  step(): boolean {
    const stream = this.#stream;
    switch (this.#phase) {
      case "request-head":
        // A caller that sends ahead and reads nothing would have all of its responses pile up here.
        return (
          this.#input.length > 0 &&
          !this.#taker.output.full &&
          this.#requestHead()
        );
      case "request-body":
        return stream !== undefined && this.#requestBody(stream);
      case "tunnel":
        return stream !== undefined && this.#tunnelData(stream);
      default:
        return false;
    }
  }

  #requestHead(): boolean {
    const intake = this.#intake;
    const { begunAt } = intake;
    const request = intake.take(this.#input);
    if (request === undefined) {
      if (begunAt !== intake.begunAt) this.#taker.headBegun();
      return false;
    }
    this.#body.begin(request.framing, request.head.contentLength);
    const stream = new Http1ServerStream(this.#taker, request);
    this.#stream = stream;
    this.#phase = request.framing === "none" ? "response" : "request-body";
    this.#taker.take(stream);
    return true;
  }

  #requestBody(stream: Http1ServerStream): boolean {
    const input = this.#input;
    const { receiver } = stream;
    if (input.length === 0 || stream.paused) return false;
    if (receiver === undefined && !stream.responseEnded) return false;
    const { start } = input;
    stream.bodyBegun = true;
    const stopped = this.#body.read(input.bytes, start, input.end, receiver);
    // The receiver may have broken the exchange off.
    if (this.#stream !== stream) return false;
    input.consume(stopped);
    if (this.#body.done) {
      stream.requestEnded = true;
      this.#phase = "response";
      receiver?.end(this.#body.trailers);
      // Where the response ended during that call, the connection knows already.
      if (stream.responseEnded && this.#stream === stream)
        this.#taker.exchangeEnded(stream);
      return true;
    }
    if (stream.responseEnded) {
      this.#drained += stopped - start;
      if (this.#drained > this.#limits.drainBytes)
        this.#taker.cutRequest(stream);
    }
    return false;
  }

  #tunnelData(stream: Http1ServerStream): boolean {
    const input = this.#input;
    const { receiver } = stream;
    if (input.length === 0 || stream.paused || receiver === undefined)
      return false;
    receiver.data(input.take());
    return true;
  }

  faulted(fault: Http1Fault): void {
    this.#taker.faulted(fault);
  }

  destroy(): void {
    this.#taker.destroy();
  }

  /** A caller that closes before its response is whole has gone, and the work for it stops, though TCP would let it go on reading. */
  peerFinished(): void {
    const stream = this.#stream;
    const taker = this.#taker;
    switch (this.#phase) {
      case "request-head":
        if (this.#input.length === 0) taker.close();
        // What was sent ahead waits until its sender reads.
        else if (taker.output.full) return;
        else
          taker.faulted(
            new Http1Fault("grammar", "the request head is cut off"),
          );
        return;
      case "request-body":
        // What is still at hand waits for the receiver, and may be all that is missing.
        if (this.#input.length > 0) return;
        if (stream?.responseEnded === true) taker.cutRequest(stream);
        else taker.callerGone("the request's body is cut off");
        return;
      case "response":
        // What is to be a tunnel may have said all that it has to say.
        if (stream?.isConnect === false)
          taker.callerGone(
            "the caller closed before its response was complete",
          );
        return;
      case "tunnel":
        if (this.#tunnelEndTold || this.#input.length > 0) return;
        if (stream?.receiver === undefined) return;
        this.#tunnelEndTold = true;
        stream.requestEnded = true;
        stream.receiver.end(undefined);
        return;
      default:
        return;
    }
  }

  wantsMore(): boolean {
    const stream = this.#stream;
    switch (this.#phase) {
      case "request-body":
      case "tunnel":
        if (stream?.receiver === undefined && stream?.responseEnded !== true)
          return this.#input.length === 0;
        return !stream.paused;
      case "response":
        // Read on, since only so the peer's going away is noticed.
        return this.#input.length < this.#limits.pipelinedBytes;
      case "request-head":
        return (
          !this.#taker.output.full ||
          this.#input.length < this.#limits.pipelinedBytes
        );
      default:
        return true;
    }
  }
}
