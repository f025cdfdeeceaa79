/**
 * A client-side HTTP/1.1 connection: one exchange at a time, and reused only where nothing about it is in doubt (law 7).
 *
 * ```
 *   idle ─ request ─→ response-head ─→ response-body ─→ idle                 closed: from the first doubt on
 *                        │  ↑ 1xx          └── request not sent yet ─→ request-body ─→ idle
 *                        └─ CONNECT, 2xx; or 101 ─→ tunnel
 * ```
 */
import type { Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
  ClientStream,
  RequestHead,
  ResponseReceiver,
} from "../exchange.ts";
import { UNBOUNDED } from "../buffers.ts";
import { lossOfConnection } from "../machine-error.ts";
import { BodyReader } from "./parse/body-reader.ts";
import { BodyWriter } from "./write/body-writer.ts";
import { Http1ClientStream, type ClientCarrier } from "./client-stream.ts";
import { Incoming, type Interpreter } from "./incoming.ts";
import type { Input } from "./parse/input.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { Output } from "../socket-output.ts";
import type { Http1Fault } from "./fault.ts";
import { beginRequest } from "./write/request-writer.ts";
import { ResponseIntake } from "./parse/response-intake.ts";
import type { Http1ClientOptions } from "./options.ts";
import { attend, type SocketUser } from "../sockets.ts";

/** Takes over a connected socket. */
export function connectHttp1(
  socket: Socket,
  options: Http1ClientOptions,
  observer: ClientConnectionObserver,
): ClientConnection {
  return new Http1ClientConnection(socket, options, observer);
}

type State =
  | "idle"
  | "response-head"
  | "response-body"
  | "request-body"
  | "tunnel"
  | "closed";

class Http1ClientConnection
  implements ClientConnection, ClientCarrier, Interpreter, SocketUser
{
  readonly protocol = "http/1.1";
  readonly output: Output;
  readonly writer: BodyWriter;
  heardAt: number;
  keepAlive: number | undefined;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #intake: ResponseIntake;
  readonly #observer: ClientConnectionObserver;
  readonly #reader: BodyReader;
  readonly #incoming: Incoming;
  readonly #input: Input;
  #state: State = "idle";
  #stream: Http1ClientStream | undefined;
  /** The connection may carry another request after this one. */
  #reusable = true;
  /** It has carried an exchange already. */
  #reused = false;
  /** Why the connection ended, where it was not in order. */
  #failure: MeshError | undefined;

  constructor(
    socket: Socket,
    options: Http1ClientOptions,
    observer: ClientConnectionObserver,
  ) {
    this.#socket = socket;
    this.#clock = options.clock;
    this.#observer = observer;
    const { limits = DEFAULT_LIMITS } = options;
    this.#intake = new ResponseIntake(limits);
    this.#incoming = new Incoming(socket, this, options.buffers);
    this.#input = this.#incoming.input;
    this.#reader = new BodyReader(limits);
    const { buffers = UNBOUNDED } = options;
    this.output = new Output(socket, () => this.#stream?.drained(), buffers);
    this.writer = new BodyWriter(this.output);
    this.heardAt = options.clock.now();
    attend(socket, this, buffers);
  }

  get active(): number {
    return this.#stream === undefined ? 0 : 1;
  }

  get capacity(): number {
    return this.#state === "idle" && this.#reusable ? 1 : 0;
  }

  request(
    head: RequestHead,
    ended: boolean,
    receiver: ResponseReceiver,
  ): ClientStream {
    const stream = new Http1ClientStream(this, head, ended, receiver);
    const impossible =
      this.capacity === 0
        ? new MeshError("STREAM_REFUSED", "the connection has no room", {
            source: "proxy",
            unprocessed: true,
          })
        : this.#begin(stream.head, ended);
    if (impossible !== undefined) {
      stream.complete();
      process.nextTick(() => receiver.abort(impossible));
      return stream;
    }
    this.#stream = stream;
    this.#state = "response-head";
    this.#intake.begin();
    // With a body to come, its first bytes go along in the same write.
    if (ended || stream.dialogue) this.output.flush();
    else this.output.later();
    return stream;
  }

  ping(): Promise<void> {
    return Promise.reject(
      new MeshError("UNSUPPORTED", "HTTP/1.1 has no ping", { source: "proxy" }),
    );
  }

  drain(): void {
    this.#reusable = false;
    if (this.#state === "idle") this.#shut(undefined);
  }

  destroy(error?: MeshError): void {
    this.breakOff(
      error ??
        new MeshError("DRAINING", "the connection was ended by this proxy", {
          source: "proxy",
          unprocessed: !this.output.sent,
        }),
    );
  }

  // ClientCarrier: what the stream asks for.

  flow(): void {
    this.#incoming.run();
  }

  requestEnded(): void {
    this.output.flush();
    const stream = this.#stream;
    if (stream === undefined || this.#state !== "request-body") return;
    this.#release(stream);
    this.#offerAgain();
  }

  endTunnel(): void {
    this.output.flush();
    this.#socket.end();
  }

  breakOff(error: MeshError | undefined): void {
    const stream = this.#stream;
    this.output.discard();
    this.#shut(undefined);
    if (stream === undefined) return;
    stream.complete();
    if (error !== undefined) stream.receiver.abort(error);
  }

  #begin(head: RequestHead, ended: boolean): MeshError | undefined {
    this.output.mark();
    return beginRequest(head, ended, this.output, this.writer);
  }

  // SocketUser.

  received(chunk: Buffer): void {
    this.heardAt = this.#clock.now();
    if (this.#state === "closed") return;
    if (this.#state === "idle" || this.#state === "request-body") {
      // RFC 9112 9.2: what it answers nobody knows, and nobody may get it.
      this.#violated("the endpoint sent bytes that belong to no request");
      return;
    }
    this.#incoming.push(chunk);
  }

  finished(): void {
    this.#incoming.finish();
  }

  closed(error: Error | undefined): void {
    const stream = this.#stream;
    const throughBothWays =
      this.#state === "tunnel" &&
      stream?.responseEnded === true &&
      stream.requestEnded;
    if (throughBothWays) {
      stream.complete();
      this.#shut(undefined);
    } else if (this.#state !== "closed")
      this.#fail(this.#reset("the connection to the endpoint broke", error));
    this.#observer.closed(this.#failure);
  }

  // Interpreter: what comes, understood.

  step(): boolean {
    const stream = this.#stream;
    const input = this.#input;
    if (stream === undefined || input.length === 0 || stream.paused)
      return false;
    switch (this.#state) {
      case "response-head":
        return this.#responseHead(stream);
      case "response-body": {
        const stopped = this.#reader.read(
          input.bytes,
          input.start,
          input.end,
          stream.receiver,
        );
        // The receiver may have broken the exchange off.
        if (this.#stream !== stream) return false;
        input.consume(stopped);
        if (this.#reader.done) this.#bodyEnded(stream);
        return false;
      }
      case "tunnel": {
        stream.receiver.data(input.take());
        return true;
      }
      default:
        return false;
    }
  }

  #responseHead(stream: Http1ClientStream): boolean {
    const response = this.#intake.take(this.#input, stream.head);
    if (response === undefined) return false;
    const { head, framing } = response;
    if (head.status < 200 && framing !== "tunnel") {
      stream.receiver.informational(head);
      return true;
    }
    if (head.status === 408 && !response.keepAlive && this.#isLate(stream)) {
      this.#fail(
        this.#reset("the endpoint ended an idle connection with a 408"),
      );
      return false;
    }
    this.keepAlive = response.keepAliveTimeout;
    // Whether bytes follow a handshake that was not taken is not left to guess.
    if (!response.keepAlive || stream.head.protocol !== undefined)
      this.#noMore();
    switch (framing) {
      case "tunnel":
        this.#state = "tunnel";
        stream.opened(head);
        return true;
      case "none":
        this.#responseEnded(stream);
        stream.receiver.head(head, true);
        this.#offerAgain();
        return false;
      default:
        this.#reader.begin(framing, head.contentLength);
        this.#state = "response-body";
        stream.receiver.head(head, false);
        return true;
    }
  }

  /** A 408 to a whole request on a reused connection is about the time before it: the request has crossed it, and gets none of its own. */
  #isLate(stream: Http1ClientStream): boolean {
    return this.#reused && stream.requestEnded;
  }

  #bodyEnded(stream: Http1ClientStream): void {
    this.#responseEnded(stream);
    stream.receiver.end(this.#reader.trailers);
    this.#offerAgain();
  }

  /** Settles what becomes of the connection, before the receiver hears of the end and may ask for it again. */
  #responseEnded(stream: Http1ClientStream): void {
    stream.responseEnded = true;
    // What follows the response answers nothing.
    if (this.#input.length > 0) this.#reusable = false;
    // A dialogue that was not granted has no body to come.
    if (stream.dialogue) stream.requestEnded = true;
    if (stream.requestEnded) this.#release(stream);
    else this.#state = "request-body";
  }

  #release(stream: Http1ClientStream): void {
    this.#reused = true;
    stream.complete();
    this.#stream = undefined;
    this.#state = "idle";
  }

  /** After the receiver was told: the connection goes back to its pool, or ends. */
  #offerAgain(): void {
    if (this.#state !== "idle" && this.#state !== "request-body") return;
    if (!this.#reusable) {
      const stream = this.#stream;
      this.#shut(undefined);
      if (stream !== undefined) this.#letGo(stream);
    } else if (this.#state === "idle") this.#observer.available();
  }

  faulted(fault: Http1Fault): void {
    this.#violated(fault.message);
  }

  peerFinished(): void {
    const stream = this.#stream;
    // What is still at hand waits for the receiver.
    if (stream?.paused === true && this.#input.length > 0) return;
    switch (this.#state) {
      case "idle":
      case "request-body":
        this.#noMore();
        this.#offerAgain();
        return;
      case "response-head":
        this.#fail(this.#reset("the endpoint closed before its response"));
        return;
      case "response-body":
        if (stream !== undefined && this.#reader.closeDelimited)
          this.#bodyEnded(stream);
        else this.#fail(this.#reset("the endpoint closed within its response"));
        return;
      case "tunnel":
        if (stream === undefined || stream.responseEnded) return;
        stream.responseEnded = true;
        stream.receiver.end(undefined);
        return;
      case "closed":
        return;
    }
  }

  wantsMore(): boolean {
    return this.#stream?.paused !== true || this.#stream.responseEnded;
  }

  // Ending.

  #noMore(): void {
    if (!this.#reusable) return;
    this.#reusable = false;
    this.#observer.draining();
  }

  #violated(detail: string): void {
    this.#fail(
      new MeshError("UPSTREAM_PROTOCOL", detail, { source: "upstream" }),
    );
  }

  #reset(detail: string, cause?: Error): MeshError {
    const unprocessed = this.#stream !== undefined && !this.output.sent;
    return lossOfConnection(detail, unprocessed, cause);
  }

  /** The peer has failed: the receiver hears of it, unless it has its whole response already and the rest of the request is of no use. */
  #fail(error: MeshError): void {
    const stream = this.#stream;
    this.#noMore();
    this.#shut(error);
    if (stream === undefined) return;
    const cutOff = stream.dialogue && !stream.requestEnded;
    if (stream.responseEnded && !cutOff) this.#letGo(stream);
    else {
      stream.complete();
      stream.receiver.abort(error);
    }
  }

  /** The response is whole, and the rest of the request goes nowhere: what waits for room to write it must not wait for ever. */
  #letGo(stream: Http1ClientStream): void {
    stream.complete();
    if (this.output.full) stream.receiver.drained();
  }

  #shut(error: MeshError | undefined): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#reusable = false;
    this.#failure = error;
    this.#stream = undefined;
    this.#input.clear();
    this.#socket.destroy();
  }
}
