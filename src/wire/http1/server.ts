/**
 * A server-side HTTP/1.1 connection: requests are handed over one at a time, and their responses keep that order (RFC 9112 9.3). When the last is
 * answered our FIN goes out, and the rest is read and dropped (RFC 9112 9.6), so that the peer sees our last words.
 */
import type { Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { Deadlines, type Timed } from "../../core/deadlines.ts";
import { MeshError } from "../../mesh/errors.ts";
import type {
  ServerConnection,
  ServerConnectionInfo,
  ServerHandler,
} from "../exchange.ts";
import { LonelySource, type Source } from "../flood-guard.ts";
import { UNBOUNDED } from "../buffers.ts";
import { BodyWriter } from "./write/body-writer.ts";
import { DEFAULT_LIMITS, type Http1Limit, type Http1Limits } from "./limits.ts";
import { Linger } from "./linger.ts";
import { Output } from "../socket-output.ts";
import { Http1Fault, refusalResponse } from "./fault.ts";
import { REFUSALS } from "../refusal.ts";
import { RequestReader, type RequestTaker } from "./request-reader.ts";
import type { Http1ServerStream } from "./server-stream.ts";
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

class Http1ServerConnection
  implements ServerConnection, RequestTaker, SocketUser, Timed
{
  readonly info: ServerConnectionInfo;
  readonly output: Output;
  readonly writer: BodyWriter;
  draining = false;
  /** Milliseconds that a draining connection waits for a request that may be on its way. */
  #idleFor = Infinity;
  dueAt = 0;
  dueSlot: number | undefined;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #handler: ServerHandler;
  readonly #limits: Http1Limits;
  readonly #source: Source;
  readonly #requests: RequestReader;
  readonly #deadlines: Deadlines;
  readonly #linger: Linger;
  readonly #onLimit: ((limit: Http1Limit) => void) | undefined;
  readonly #unread = new Unread();

  constructor(
    socket: Socket,
    options: Http1ServerOptions,
    handler: ServerHandler,
  ) {
    const { clock, info, onLimit, firstBytes, buffers = UNBOUNDED } = options;
    const { limits = DEFAULT_LIMITS } = options;
    this.#socket = socket;
    this.#clock = clock;
    this.#handler = handler;
    this.info = info;
    this.#limits = limits;
    this.#onLimit = onLimit;
    this.#source = options.source ?? new LonelySource();
    this.#requests = new RequestReader(
      socket,
      this,
      this.#source,
      limits,
      options,
    );
    this.output = new Output(socket, () => this.#roomAgain(), buffers);
    this.writer = new BodyWriter(this.output);
    this.#deadlines = options.deadlines ?? new Deadlines(clock);
    this.#linger = new Linger(socket, limits, (ms) => this.#wait(ms));
    this.#wait(limits.idleTimeout);
    if (firstBytes !== undefined && firstBytes.length > 0)
      this.#requests.pushFirst(firstBytes);
    attend(socket, this, buffers);
  }

  get active(): number {
    return this.#requests.stream === undefined ? 0 : 1;
  }

  /** All that waits on one connection: a head that has no end yet, or what its caller does not read. */
  shed(ms: number): number {
    const { stream, phase, headBegunAt } = this.#requests;
    if (stream !== undefined || phase === "closed") return 0;
    const now = this.#clock.now();
    if (headBegunAt !== undefined) {
      if (now - headBegunAt < ms) return 0;
      this.due();
      return 1;
    }
    if (!this.#unread.stands(this.output.waiting, ms, now)) return 0;
    this.#onLimit?.("write_time");
    this.destroy();
    return 1;
  }

  drain(idleFor = 0): void {
    this.draining = true;
    this.#idleFor = Math.min(this.#idleFor, idleFor);
    const { phase, bytesAhead } = this.#requests;
    if (phase !== "request-head" || bytesAhead > 0) return;
    if (this.#endsNow) this.close();
    else this.#wait(this.#idleFor);
  }

  /** It ends with the exchange in progress, whether that has said so or not. */
  get #endsNow(): boolean {
    return this.draining && this.#idleFor === 0;
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
    this.#requests.stream?.drained();
    if (this.#requests.phase === "request-head") this.#requests.run();
  }

  // SocketUser: what comes.

  received(chunk: Buffer): void {
    const { phase } = this.#requests;
    if (phase === "closing") this.#linger.drop(chunk.length);
    else if (phase !== "closed") this.#requests.push(chunk);
  }

  finished(): void {
    this.#requests.finish();
  }

  closed(error: Error | undefined): void {
    this.#deadlines.leave(this);
    this.#abandon(clientClosed("the caller closed its connection", error));
  }

  // Carrier: what the stream asks for.

  get bodyTooLongToDrain(): boolean {
    return this.#requests.bodyTooLongToDrain;
  }

  get bytesAhead(): number {
    return this.#requests.bytesAhead;
  }

  flow(): void {
    this.#requests.run();
  }

  openTunnel(): void {
    this.#requests.openTunnel();
  }

  responseEnded(): void {
    const { stream, phase } = this.#requests;
    if (stream === undefined) return;
    if (phase === "tunnel") {
      this.output.flush();
      this.#socket.end();
      return;
    }
    if (stream.requestEnded) {
      this.exchangeEnded(stream);
      return;
    }
    this.output.flush();
    if (stream.keepAlive && !this.#endsNow) {
      this.#wait(this.#limits.headTimeout);
      this.#requests.drainBody();
      return;
    }
    this.cutRequest(stream);
  }

  breakOff(): void {
    this.#requests.stop("closed");
    this.output.discard();
    // Where the end of the connection is the end of the body, only a reset tells that this is not it.
    if (this.writer.framing === "close") reset(this.#socket);
    else this.#socket.destroy();
  }

  // RequestTaker: what the reading half has understood.

  headBegun(): void {
    this.#wait(this.#limits.headTimeout);
  }

  take(stream: Http1ServerStream): void {
    this.#deadlines.clear(this);
    this.#handler.request(stream);
  }

  exchangeEnded(stream: Http1ServerStream): void {
    stream.complete();
    if (!stream.keepAlive || this.#endsNow) {
      this.close();
      return;
    }
    this.#requests.next();
    // A head that went out before the drain has not said that this is the last response.
    this.#wait(Math.min(this.#limits.idleTimeout, this.#idleFor));
    // Where the next request is at hand already, its response may share a write with this one.
    if (this.#requests.bytesAhead === 0) this.output.flush();
    else this.output.later();
    this.#requests.run();
  }

  cutRequest(stream: Http1ServerStream): void {
    this.close();
    // In a later turn: this may be the middle of the proxy's own `end`.
    process.nextTick(() =>
      stream.fail(
        clientClosed("the request had not ended when its response had"),
      ),
    );
  }

  callerGone(detail: string): void {
    this.#abandon(clientClosed(detail));
    this.breakOff();
  }

  faulted(fault: Http1Fault): void {
    const { code, silent } = REFUSALS[fault.kind];
    if (fault.kind === "flood") this.#source.offended(this.#clock.now());
    const { stream } = this.#requests;
    if (stream?.responded === true && !stream.responseEnded) this.breakOff();
    else {
      if (stream?.responseEnded !== true && silent !== true)
        this.output.text(refusalResponse(fault));
      this.close();
    }
    stream?.fail(new MeshError(code, fault.message, { source: "downstream" }));
    this.#handler.refused?.(code, fault.message, this.info);
  }

  // Ending.

  /** Our last word is in the output. */
  close(): void {
    const { phase } = this.#requests;
    if (phase === "closing" || phase === "closed") return;
    this.#requests.stop("closing");
    this.output.flush();
    this.#linger.start();
    this.#requests.adjustFlow();
  }

  /** Something has to happen within `ms`. */
  #wait(ms: number): void {
    this.#deadlines.set(this, this.#clock.now() + ms);
  }

  /** It has not happened. */
  due(): void {
    const { stream, phase, bytesAhead } = this.#requests;
    if (phase === "closing") this.#linger.overdue();
    else if (stream !== undefined) {
      this.#onLimit?.("drain_time");
      this.cutRequest(stream);
    } else if (bytesAhead > 0) {
      this.#onLimit?.("header_time");
      this.faulted(
        new Http1Fault(
          "stalled",
          `the head did not end within ${this.#limits.headTimeout} ms`,
        ),
      );
    } else if (this.draining) setImmediate(() => this.#closeIfIdle());
    else {
      this.#onLimit?.("idle");
      this.close();
    }
  }

  /** What has arrived by now is read: no request is refused because it came a moment ago. */
  #closeIfIdle(): void {
    const { stream, phase, bytesAhead } = this.#requests;
    if (phase === "request-head" && stream === undefined && bytesAhead === 0)
      this.close();
  }

  #abandon(error: MeshError): void {
    const { stream, isTunnelDone } = this.#requests;
    this.#requests.stop("closed");
    // A tunnel whose both ends have said that they are through has not failed.
    if (isTunnelDone) stream?.complete();
    else stream?.fail(error);
  }
}

function clientClosed(detail: string, cause?: Error): MeshError {
  return new MeshError("CLIENT_CLOSED", detail, {
    source: "downstream",
    cause,
  });
}
