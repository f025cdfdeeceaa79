/** A codec on one end of a real socket pair, and the test's own raw octets on the other. */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Code } from "../../../src/mesh/reasons.ts";
import type { MeshError } from "../../../src/mesh/errors.ts";
import type {
  BodyReceiver,
  ClientConnection,
  ClientStream,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
  ServerConnection,
  ServerConnectionInfo,
  ServerStream,
} from "../../../src/wire/exchange.ts";
import type { Buffers } from "../../../src/wire/buffers.ts";
import { makeField, type Fields } from "../../../src/wire/fields.ts";
import { connectHttp1 } from "../../../src/wire/http1/client.ts";
import {
  DEFAULT_LIMITS,
  type Http1Limits,
} from "../../../src/wire/http1/limits.ts";
import { serveHttp1 } from "../../../src/wire/http1/server.ts";
import { fakeClock, type FakeClock } from "../clocks/fake-clock.ts";

export const INFO: ServerConnectionInfo = {
  protocol: "http/1.1",
  peer: undefined,
  remoteAddress: "127.0.0.1",
  remotePort: 1,
  localAddress: "127.0.0.1",
  originalDestination: undefined,
};

/** Resolves when `condition` holds, looked at each time that `changed()` is called. */
export class Signal {
  readonly #waiting = new Set<() => void>();

  changed(): void {
    for (const look of [...this.#waiting]) look();
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** The raw end: what it received as latin-1, and how it ended. */
export class RawPeer {
  readonly socket: Socket;
  readonly signal: Signal = new Signal();
  received = "";
  /** The other side's FIN was seen. */
  ended = false;
  closed = false;
  error: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1");
      this.signal.changed();
    });
    socket.on("end", () => {
      this.ended = true;
      this.signal.changed();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
    socket.on("close", () => {
      this.closed = true;
      this.signal.changed();
    });
  }

  send(text: string): void {
    this.socket.write(text, "latin1");
  }

  /** Resolves when what was received contains `text`. */
  async until(text: string): Promise<void> {
    await this.signal.until(
      () => this.received.includes(text) || this.closed || this.ended,
    );
    if (!this.received.includes(text))
      throw new Error(
        `ended before ${JSON.stringify(text)}: ${JSON.stringify(this.received)}`,
      );
  }

  /** Everything up to the other side's end. */
  async all(): Promise<string> {
    await this.signal.until(() => this.ended || this.closed);
    return this.received;
  }

  /** The other side's FIN or reset. */
  async gone(): Promise<void> {
    await this.signal.until(() => this.ended || this.closed);
  }
}

/** Records a body; also the response of a client exchange. */
export class Recorder implements ResponseReceiver {
  readonly signal: Signal = new Signal();
  readonly events: string[] = [];
  body = "";
  chunks = 0;
  heads: ResponseHead[] = [];
  response: ResponseHead | undefined;
  trailers: Fields | undefined;
  ended = false;
  error: MeshError | undefined;
  drains = 0;

  informational(head: ResponseHead): void {
    this.heads.push(head);
    this.#note(`informational ${head.status}`);
  }
  head(head: ResponseHead, ended: boolean): void {
    this.response = head;
    if (ended) this.ended = true;
    this.#note(`head ${head.status}${ended ? " ended" : ""}`);
  }
  data(chunk: Buffer): void {
    this.body += chunk.toString("latin1");
    this.chunks += 1;
    this.#note("data");
  }
  end(trailers: Fields | undefined): void {
    this.trailers = trailers;
    this.ended = true;
    this.#note("end");
  }
  abort(error: MeshError): void {
    this.error = error;
    this.#note(`abort ${error.code}`);
  }
  drained(): void {
    this.drains += 1;
    this.#note("drained");
  }

  async done(): Promise<this> {
    await this.signal.until(() => this.ended || this.error !== undefined);
    return this;
  }

  async aborted(): Promise<MeshError> {
    await this.signal.until(() => this.error !== undefined);
    if (this.error === undefined) throw new Error("not aborted");
    return this.error;
  }

  #note(event: string): void {
    this.events.push(event);
    this.signal.changed();
  }
}

export type Teardown = { teardown(run: () => void): void };

/** A connected pair: [accepted, connected]. */
export async function socketPair(
  t: Teardown,
  highWaterMark?: number,
): Promise<[Socket, Socket]> {
  const sockets: Socket[] = [];
  let server: Server | undefined;
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server?.close();
  });
  return await new Promise((resolve, reject) => {
    server = createServer(
      { ...(highWaterMark === undefined ? {} : { highWaterMark }) },
      (accepted) => {
        sockets.push(accepted);
        if (connected === undefined) accepted.destroy();
        else resolve([accepted, connected]);
      },
    );
    let connected: Socket | undefined;
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server?.address();
      if (address === null || typeof address !== "object")
        throw new Error("no port");
      connected = connect({
        port: address.port,
        host: "127.0.0.1",
        allowHalfOpen: true,
        ...(highWaterMark === undefined ? {} : { highWaterMark }),
      });
      sockets.push(connected);
    });
  });
}

export interface ServerSide {
  readonly peer: RawPeer;
  readonly connection: ServerConnection;
  readonly socket: Socket;
  readonly streams: ServerStream[];
  readonly refusals: { code: Code; detail: string }[];
  readonly clock: FakeClock;
  readonly signal: Signal;
  /** The codec's socket is gone altogether. */
  readonly closed: Promise<void>;
  /** Waits for the nth request (from 0). */
  request(index: number): Promise<ServerStream>;
}

export interface ServerSideOptions {
  readonly limits?: Partial<Http1Limits>;
  readonly firstBytes?: Buffer;
  readonly highWaterMark?: number;
  readonly buffers?: Buffers;
  readonly onRequest?: (stream: ServerStream) => void;
}

/** A server codec; the raw end is the caller. */
export async function serverSide(
  t: Teardown,
  options: ServerSideOptions = {},
): Promise<ServerSide> {
  const [accepted, connected] = await socketPair(t, options.highWaterMark);
  const clock = fakeClock();
  const streams: ServerStream[] = [];
  const refusals: { code: Code; detail: string }[] = [];
  const signal = new Signal();
  const connection = serveHttp1(
    accepted,
    {
      clock,
      info: INFO,
      buffers: options.buffers,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      ...(options.firstBytes === undefined
        ? {}
        : { firstBytes: options.firstBytes }),
    },
    {
      request(stream) {
        streams.push(stream);
        options.onRequest?.(stream);
        signal.changed();
      },
      refused(code, detail) {
        refusals.push({ code, detail });
        signal.changed();
      },
    },
  );
  return {
    peer: new RawPeer(connected),
    connection,
    socket: accepted,
    closed: new Promise((resolve) => accepted.once("close", () => resolve())),
    streams,
    refusals,
    clock,
    signal,
    async request(index) {
      await signal.until(() => streams.length > index || refusals.length > 0);
      const stream = streams[index];
      if (stream === undefined)
        throw new Error(`refused: ${refusals[0]?.detail ?? "?"}`);
      return stream;
    },
  };
}

/** Reads a request's body with a new recorder. */
export function receive(stream: ServerStream): Recorder {
  const recorder = new Recorder();
  stream.receive(recorder satisfies BodyReceiver);
  return recorder;
}

/** A response head of the given fields. */
export function responseHead(
  status: number,
  contentLength?: number,
  fields: Readonly<Record<string, string>> = {},
): ResponseHead {
  return { status, contentLength, fields: fieldsOf(fields) };
}

export function fieldsOf(fields: Readonly<Record<string, string>>): Fields {
  return Object.entries(fields).map(([name, value]) => makeField(name, value));
}

/** Answers with a text body of known length. */
export function answer(stream: ServerStream, status: number, text = ""): void {
  stream.respond(responseHead(status, text.length), text === "");
  if (text === "") return;
  stream.write(Buffer.from(text));
  stream.end();
}

export interface ClientSide {
  readonly peer: RawPeer;
  readonly connection: ClientConnection;
  readonly socket: Socket;
  readonly observed: string[];
  readonly signal: Signal;
  readonly clock: FakeClock;
  send(
    head: Partial<RequestHead>,
    ended?: boolean,
  ): { stream: ClientStream; response: Recorder };
}

/** A client codec; the raw end is the server. */
export async function clientSide(
  t: Teardown,
  options: { limits?: Partial<Http1Limits>; highWaterMark?: number } = {},
): Promise<ClientSide> {
  const [accepted, connected] = await socketPair(t, options.highWaterMark);
  accepted.allowHalfOpen = true;
  const clock = fakeClock();
  const observed: string[] = [];
  const signal = new Signal();
  const note = (event: string): void => {
    observed.push(event);
    signal.changed();
  };
  const connection = connectHttp1(
    connected,
    { clock, limits: { ...DEFAULT_LIMITS, ...options.limits } },
    {
      available: () => note("available"),
      draining: () => note("draining"),
      closed: (error) => note(`closed ${error?.code ?? "in order"}`),
    },
  );
  return {
    peer: new RawPeer(accepted),
    connection,
    socket: connected,
    observed,
    signal,
    clock,
    send(head, ended = true) {
      const response = new Recorder();
      const stream = connection.request(requestHead(head), ended, response);
      return { stream, response };
    },
  };
}

export function requestHead(head: Partial<RequestHead> = {}): RequestHead {
  return {
    method: "GET",
    scheme: "http",
    authority: "orders.shop",
    path: "/",
    protocol: undefined,
    fields: [],
    contentLength: undefined,
    acceptsTrailers: false,
    absoluteForm: false,
    ...head,
  };
}
