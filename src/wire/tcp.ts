/**
 * Plain TCP in the shape of an HTTP exchange, so that one relay carries both: a socket is a CONNECT with a body in each direction.
 *
 * ```
 *   socket accepted ─SocketStream─▶ relay ─▶ CONNECT stream over the link, or
 *                                         ─▶ TcpConnection ─▶ socket to the application or outside
 * ```
 * Half-close passes through: the end of one direction ends that direction alone.
 */
import type { Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import { MeshError } from "../mesh/errors.ts";
import { systemCode } from "../core/errors.ts";
import type {
  BodyReceiver,
  ClientConnection,
  ClientConnectionObserver,
  ClientStream,
  Protocol,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
  ServerConnectionInfo,
  ServerStream,
} from "./exchange.ts";
import { UNBOUNDED, type Buffers } from "./buffers.ts";
import { onData } from "../runtime/socket-data.ts";
import { countBroken, lossOfConnection } from "./machine-error.ts";
import { Output } from "./socket-output.ts";
import { reset } from "./sockets.ts";

const ACCEPTED: ResponseHead = {
  status: 200,
  fields: [],
  contentLength: undefined,
};

/** A plain CONNECT (RFC 9110 9.3.6). What asks for another protocol has a path, and is routed and judged as any request. */
export function isTunnel(head: RequestHead): boolean {
  return head.method === "CONNECT" && head.protocol === undefined;
}

/** The head of a tunnel to `authority`. */
export function connectHead(authority: string): RequestHead {
  return {
    method: "CONNECT",
    scheme: "http",
    authority,
    path: "",
    protocol: undefined,
    fields: [],
    contentLength: undefined,
    acceptsTrailers: false,
    absoluteForm: false,
  };
}

/** The half of a socket that both shapes share: bytes in to a receiver, bytes out with back-pressure. */
class SocketHalf {
  readonly socket: Socket;
  readonly #side: "downstream" | "upstream";
  readonly #buffers: Buffers;
  /** As bodies of HTTP/1 leave: what the link brings in one turn is written at once. */
  readonly #output: Output;
  #receiver: BodyReceiver | undefined;
  /** The peer sends no more, or we have told that it does not. */
  #inputOver = false;
  #outputOver = false;
  #aborted = false;
  #failure: Error | undefined;

  constructor(
    socket: Socket,
    side: "downstream" | "upstream",
    buffers: Buffers,
  ) {
    this.socket = socket;
    this.#side = side;
    this.#buffers = buffers;
    this.#output = new Output(socket, () => this.#receiver?.drained(), buffers);
    socket.allowHalfOpen = true;
    socket.setNoDelay(true);
    socket.on("error", (error) => {
      this.#failure = error;
      countBroken(error);
    });
    socket.on("close", () => this.#closed());
  }

  start(receiver: BodyReceiver): void {
    this.#receiver = receiver;
    const { socket } = this;
    if (socket.destroyed) {
      process.nextTick(() => this.#closed());
      return;
    }
    onData(
      socket,
      (chunk) => {
        if (!this.#aborted) receiver.data(chunk);
      },
      this.#buffers,
    );
    socket.on("end", () => {
      if (this.#inputOver || this.#aborted) return;
      this.#inputOver = true;
      receiver.end(undefined);
    });
    socket.resume();
  }

  write(chunk: Buffer): boolean {
    if (!this.socket.writable) return true;
    this.#output.bytes(chunk);
    this.#output.later();
    return !this.#output.full;
  }

  end(): void {
    this.#outputOver = true;
    this.#output.flush();
    this.socket.end();
  }

  abort(): void {
    this.#aborted = true;
    this.#output.discard();
    // A tunnel that broke must not look like one that ended.
    reset(this.socket);
  }

  #closed(): void {
    if (this.#aborted || (this.#inputOver && this.#outputOver)) return;
    this.#aborted = true;
    const code = systemCode(this.#failure);
    const detail =
      code === undefined
        ? "the connection was closed"
        : `the connection was closed (${code})`;
    this.#receiver?.abort(
      this.#side === "downstream"
        ? new MeshError("CLIENT_CLOSED", detail, { cause: this.#failure })
        : lossOfConnection(detail, false, this.#failure),
    );
  }
}

/** A socket that was accepted, as a CONNECT to where it wants to go. */
export class SocketStream implements ServerStream {
  readonly head: RequestHead;
  readonly ended = false;
  readonly connection: ServerConnectionInfo;
  readonly #half: SocketHalf;

  constructor(
    socket: Socket,
    authority: string,
    connection: ServerConnectionInfo,
    buffers: Buffers = UNBOUNDED,
  ) {
    this.head = connectHead(authority);
    this.connection = connection;
    this.#half = new SocketHalf(socket, "downstream", buffers);
  }

  receive(receiver: BodyReceiver): void {
    this.#half.start(receiver);
  }
  informational(): void {
    // TCP has no place for it.
  }
  respond(head: ResponseHead, ended: boolean): void {
    // A refusal has no words in TCP: the connection breaks.
    if (head.status >= 300) this.#half.abort();
    else if (ended) this.#half.end();
  }
  write(chunk: Buffer): boolean {
    return this.#half.write(chunk);
  }
  end(): void {
    this.#half.end();
  }
  abort(): void {
    this.#half.abort();
  }
  pause(): void {
    this.#half.socket.pause();
  }
  resume(): void {
    this.#half.socket.resume();
  }
}

/** A connected socket, as a connection that carries one CONNECT. */
export class TcpConnection implements ClientConnection {
  readonly protocol: Protocol = "http/1.1";
  readonly keepAlive = undefined;
  readonly heardAt: number;
  active = 0;
  capacity = 1;
  readonly #half: SocketHalf;
  readonly #socket: Socket;

  constructor(
    socket: Socket,
    clock: Clock,
    observer: ClientConnectionObserver,
    buffers: Buffers = UNBOUNDED,
  ) {
    this.#socket = socket;
    this.heardAt = clock.now();
    this.#half = new SocketHalf(socket, "upstream", buffers);
    socket.on("close", () => {
      this.active = 0;
      this.capacity = 0;
      observer.closed(undefined);
    });
  }

  request(
    _head: RequestHead,
    ended: boolean,
    receiver: ResponseReceiver,
  ): ClientStream {
    this.capacity = 0;
    this.active = 1;
    const half = this.#half;
    // The connection is there, so the tunnel is: but never from within `request`.
    process.nextTick(() => {
      receiver.head(ACCEPTED, false);
      half.start(receiver);
    });
    if (ended) half.end();
    return {
      write: (chunk) => half.write(chunk),
      end: () => half.end(),
      abort: () => half.abort(),
      pause: () => this.#socket.pause(),
      resume: () => this.#socket.resume(),
    };
  }

  ping(): Promise<void> {
    return Promise.reject(
      new MeshError("UNSUPPORTED", "TCP has no sign of life", {
        source: "proxy",
      }),
    );
  }
  drain(): void {
    if (this.active === 0) this.#socket.destroy();
    this.capacity = 0;
  }
  destroy(): void {
    this.capacity = 0;
    this.#socket.destroy();
  }
}
