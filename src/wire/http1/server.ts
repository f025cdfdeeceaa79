/**
 * A server-side HTTP/1.1 connection: requests are parsed and handed over one at a time, answered in order (RFC 9112 9.3).
 *
 * ```
 *   request-head ─→ request-body ─→ response ─→ request-head …        closing: our FIN is out, the rest is read and dropped
 *         │               └── answered early: drained ──┘ ↑            (RFC 9112 9.6), so that the peer sees our last words
 *         └─ no body ──────────────────────→ response ─ CONNECT, 2xx ─→ tunnel
 * ```
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Clock } from "../../core/clock.ts";
import { Deadlines, type Timed } from "../../core/deadlines.ts";
import { MeshError } from "../../mesh/errors.ts";
import type {
  ServerConnection,
  ServerConnectionInfo,
  ServerHandler,
} from "../exchange.ts";
import { lonelySource, type Source } from "../flood-guard.ts";
import { UNBOUNDED } from "../buffers.ts";
import { BodyReader } from "./parse/body-reader.ts";
import { BodyWriter } from "./write/body-writer.ts";
import { Incoming, type Interpreter } from "./incoming.ts";
import type { Input } from "./parse/input.ts";
import { DEFAULT_LIMITS, type Http1Limit, type Http1Limits } from "./limits.ts";
import { Linger } from "./linger.ts";
import { Output } from "./write/output.ts";
import { Http1Fault, refusalResponse } from "./fault.ts";
import { REFUSALS } from "../refusal.ts";
import { RequestIntake } from "./parse/request-intake.ts";
import { Http1ServerStream, type Carrier } from "./server-stream.ts";
import { tinyChunkGuard } from "./tiny-chunks.ts";
import { Unread } from "./unread.ts";
import type { Http1ServerOptions } from "./options.ts";
import { attend, reset, type SocketUser } from "../sockets.ts";

/** Serves one accepted connection until it ends. The handler is first called in a later turn. */
export function serveHttp1(
  socket: Socket,
  options: Http1ServerOptions,
  handler: ServerHandler,
): ServerConnection {
  return new Http1ServerConnection(socket, options, handler);
}

type State =
  | "request-head"
  | "request-body"
  | "response"
  | "tunnel"
  | "closing"
  | "closed";

class Http1ServerConnection
  implements ServerConnection, Carrier, Interpreter, SocketUser, Timed
{
  readonly info: ServerConnectionInfo;
  readonly output: Output;
  readonly writer: BodyWriter;
  draining = false;
  dueAt = 0;
  dueSlot: number | undefined;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #handler: ServerHandler;
  readonly #limits: Http1Limits;
  readonly #source: Source;
  readonly #intake: RequestIntake;
  readonly #reader: BodyReader;
  readonly #incoming: Incoming;
  readonly #input: Input;
  readonly #deadlines: Deadlines;
  readonly #linger: Linger;
  readonly #onLimit: ((limit: Http1Limit) => void) | undefined;
  #state: State = "request-head";
  #stream: Http1ServerStream | undefined;
  #tunnelEndTold = false;
  /** Bytes of the request read after its answer. */
  #drained = 0;
  readonly #unread = new Unread();

  constructor(
    socket: Socket,
    options: Http1ServerOptions,
    handler: ServerHandler,
  ) {
    this.#socket = socket;
    this.#clock = options.clock;
    this.#handler = handler;
    this.info = options.info;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#onLimit = options.onLimit;
    this.#intake = new RequestIntake(
      socket instanceof TLSSocket ? "https" : "http",
      this.#limits,
      options.clock,
      options.info.claims,
    );
    this.#incoming = new Incoming(socket, this, options.buffers);
    this.#input = this.#incoming.input;
    this.#source = options.source ?? lonelySource();
    this.#reader = new BodyReader(
      this.#limits,
      tinyChunkGuard(
        this.#source,
        this.#limits,
        options.clock,
        options.onLimit,
      ),
    );
    const { buffers = UNBOUNDED } = options;
    this.output = new Output(socket, () => this.#roomAgain(), buffers);
    this.writer = new BodyWriter(this.output);
    this.#deadlines = options.deadlines ?? new Deadlines(options.clock);
    this.#linger = new Linger(socket, this.#limits, (ms) => this.#wait(ms));
    this.#wait(this.#limits.idleTimeout);
    const { firstBytes } = options;
    if (firstBytes !== undefined && firstBytes.length > 0) {
      this.#input.push(firstBytes);
      process.nextTick(() => this.#incoming.run());
    }
    attend(socket, this, buffers);
  }

  get active(): number {
    return this.#stream === undefined ? 0 : 1;
  }

  /** Of one connection it is all that waits: a head that has no end yet, or what its caller does not read. */
  shed(ms: number): number {
    if (this.#stream !== undefined || this.#state === "closed") return 0;
    const now = this.#clock.now();
    const { begunAt } = this.#intake;
    if (begunAt !== undefined) {
      if (now - begunAt < ms) return 0;
      this.due();
      return 1;
    }
    if (!this.#unread.stands(this.output.waiting, ms, now)) return 0;
    this.#onLimit?.("write_time");
    this.destroy();
    return 1;
  }

  drain(): void {
    this.draining = true;
    if (this.#state === "request-head" && this.#input.length === 0)
      this.#close();
  }

  destroy(): void {
    this.#abandon(
      new MeshError("DRAINING", "the connection was ended by this proxy", {
        source: "proxy",
      }),
    );
    this.#socket.destroy();
  }

  #roomAgain(): void {
    this.#stream?.drained();
    if (this.#state === "request-head") this.#incoming.run();
  }

  // Carrier: what the stream asks for.

  get bodyTooLongToDrain(): boolean {
    return this.#reader.remaining > this.#limits.drainBytes;
  }

  get bytesAhead(): number {
    return this.#input.length;
  }

  flow(): void {
    this.#incoming.run();
  }

  openTunnel(): void {
    this.#state = "tunnel";
    this.#incoming.run();
  }

  responseEnded(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    if (this.#state === "tunnel") {
      this.output.flush();
      this.#socket.end();
      return;
    }
    if (stream.requestEnded) {
      this.#exchangeEnded(stream);
      return;
    }
    this.output.flush();
    if (stream.keepAlive && !this.draining) {
      // The rest of the body is read for the sake of the connection, up to a bound and a time.
      this.#drained = 0;
      this.#wait(this.#limits.headTimeout);
      this.#incoming.run();
      return;
    }
    this.#cutRequest(stream);
  }

  breakOff(): void {
    this.#stream = undefined;
    this.#state = "closed";
    this.#input.clear();
    this.output.discard();
    // Where the end of the connection is the end of the body, only a reset tells that this is not it.
    if (this.writer.framing === "close") reset(this.#socket);
    else this.#socket.destroy();
  }

  // Reading.

  received(chunk: Buffer): void {
    if (this.#state === "closing") {
      this.#linger.drop(chunk.length);
      return;
    }
    if (this.#state !== "closed") this.#incoming.push(chunk);
  }

  finished(): void {
    this.#incoming.finish();
  }

  closed(error: Error | undefined): void {
    this.#deadlines.leave(this);
    this.#abandon(clientClosed("the caller closed its connection", error));
  }

  // Interpreter: what comes, understood.

  step(): boolean {
    switch (this.#state) {
      case "request-head":
        // A caller who sends ahead and reads nothing would have all of its responses pile up here.
        return (
          this.#input.length > 0 && !this.output.full && this.#requestHead()
        );
      case "request-body":
        return this.#stream !== undefined && this.#requestBody(this.#stream);
      case "tunnel":
        return this.#stream !== undefined && this.#tunnelData(this.#stream);
      default:
        return false;
    }
  }

  #requestHead(): boolean {
    const intake = this.#intake;
    const { begunAt } = intake;
    const request = intake.take(this.#input);
    if (request === undefined) {
      if (begunAt !== intake.begunAt) this.#wait(this.#limits.headTimeout);
      return false;
    }
    this.#deadlines.clear(this);
    this.#reader.begin(request.framing, request.head.contentLength);
    const stream = new Http1ServerStream(this, request);
    this.#stream = stream;
    this.#state = request.framing === "none" ? "response" : "request-body";
    this.#handler.request(stream);
    return true;
  }

  #requestBody(stream: Http1ServerStream): boolean {
    const input = this.#input;
    const { receiver } = stream;
    if (input.length === 0 || stream.paused) return false;
    if (receiver === undefined && !stream.responseEnded) return false;
    const { start } = input;
    stream.bodyBegun = true;
    const stopped = this.#reader.read(input.bytes, start, input.end, receiver);
    // The receiver may have broken the exchange off.
    if (this.#stream !== stream) return false;
    input.consume(stopped);
    if (this.#reader.done) {
      stream.requestEnded = true;
      this.#state = "response";
      receiver?.end(this.#reader.trailers);
      // Where the answer ended during that call, `responseEnded` has done this already.
      if (stream.responseEnded && this.#stream === stream)
        this.#exchangeEnded(stream);
      return true;
    }
    if (stream.responseEnded) {
      this.#drained += stopped - start;
      if (this.#drained > this.#limits.drainBytes) this.#cutRequest(stream);
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

  /** A caller that closes before its answer is whole has gone, and the work for it stops, though TCP would let it go on reading. */
  peerFinished(): void {
    const stream = this.#stream;
    switch (this.#state) {
      case "request-head":
        if (this.#input.length === 0) this.#close();
        // What was sent ahead waits until its sender reads.
        else if (this.output.full) return;
        else
          this.faulted(
            new Http1Fault("grammar", "the request head is cut off"),
          );
        return;
      case "request-body":
        // What is still at hand waits for the receiver, and may be all that is missing.
        if (this.#input.length > 0) return;
        if (stream?.responseEnded === true) this.#cutRequest(stream);
        else this.#callerGone("the request's body is cut off");
        return;
      case "response":
        // What is to be a tunnel may have said all that it has to say.
        if (stream?.isConnect === false)
          this.#callerGone(
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
    switch (this.#state) {
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
          !this.output.full || this.#input.length < this.#limits.pipelinedBytes
        );
      default:
        return true;
    }
  }

  // Ending.

  #exchangeEnded(stream: Http1ServerStream): void {
    stream.complete();
    this.#stream = undefined;
    if (!stream.keepAlive || this.draining) {
      this.#close();
      return;
    }
    this.#state = "request-head";
    this.#wait(this.#limits.idleTimeout);
    // Where the next request is at hand already, its answer may share a write with this one.
    if (this.#input.length === 0) this.output.flush();
    else this.output.later();
    this.#incoming.run();
  }

  /** The answer is out and the connection will not wait for the rest of the request. */
  #cutRequest(stream: Http1ServerStream): void {
    this.#stream = undefined;
    this.#close();
    // In a later turn: this may be the middle of the proxy's own `end`.
    process.nextTick(() =>
      stream.fail(
        clientClosed("the request had not ended when its response had"),
      ),
    );
  }

  faulted(fault: Http1Fault): void {
    const { code, silent } = REFUSALS[fault.kind];
    if (fault.kind === "flood") this.#source.offended(this.#clock.now());
    const stream = this.#stream;
    if (stream?.responded === true && !stream.responseEnded) this.breakOff();
    else {
      if (stream?.responseEnded !== true && silent !== true)
        this.output.text(refusalResponse(fault));
      this.#close();
    }
    this.#stream = undefined;
    stream?.fail(new MeshError(code, fault.message, { source: "downstream" }));
    this.#handler.refused?.(code, fault.message, this.info);
  }

  /** Our last word is in the output. */
  #close(): void {
    if (this.#state === "closing" || this.#state === "closed") return;
    this.#state = "closing";
    this.#input.clear();
    this.output.flush();
    this.#linger.start();
    this.#incoming.adjustFlow();
  }

  /** Something has to happen within `ms`. */
  #wait(ms: number): void {
    this.#deadlines.set(this, this.#clock.now() + ms);
  }

  /** It has not happened. */
  due(): void {
    const stream = this.#stream;
    if (this.#state === "closing") this.#linger.overdue();
    else if (stream !== undefined) {
      this.#onLimit?.("drain_time");
      this.#cutRequest(stream);
    } else if (this.#input.length > 0) {
      this.#onLimit?.("header_time");
      this.faulted(
        new Http1Fault(
          "stalled",
          `the head did not end within ${this.#limits.headTimeout} ms`,
        ),
      );
    } else {
      this.#onLimit?.("idle");
      this.#close();
    }
  }

  #abandon(error: MeshError): void {
    const stream = this.#stream;
    const tunnelled = this.#state === "tunnel";
    this.#stream = undefined;
    this.#state = "closed";
    this.#input.clear();
    if (stream === undefined) return;
    // A tunnel whose both ends have said that they are through has not failed.
    if (tunnelled && stream.responseEnded && this.#tunnelEndTold)
      stream.complete();
    else stream.fail(error);
  }

  #callerGone(detail: string): void {
    this.#abandon(clientClosed(detail));
    this.breakOff();
  }
}

function clientClosed(detail: string, cause?: Error): MeshError {
  return new MeshError("CLIENT_CLOSED", detail, {
    source: "downstream",
    cause,
  });
}
