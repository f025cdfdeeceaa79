/** Our two ends under test: a server or a client against a raw peer, or against each other, and receivers that write down what they are told. */
import type { Buffers } from "../../../src/wire/buffers.ts";
import { EventEmitter, once } from "node:events";
import type { Socket } from "node:net";
import type { MeshError } from "../../../src/mesh/errors.ts";
import type {
  BodyReceiver,
  ClientConnection,
  ClientConnectionObserver,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
  ServerConnection,
  ServerConnectionInfo,
  ServerStream,
} from "../../../src/wire/exchange.ts";
import { makeField, type Fields } from "../../../src/wire/fields.ts";
import { connectHttp2 } from "../../../src/wire/http2/client.ts";
import type {
  Http2Limit,
  Http2Limits,
} from "../../../src/wire/http2/limits.ts";
import { serveHttp2 } from "../../../src/wire/http2/server.ts";
import { fakeClock, type FakeClock } from "../clocks/fake-clock.ts";
import { RawPeer, settings, SETTINGS_ACK, socketPair } from "./raw-peer.ts";
import { PREFACE } from "../../../src/wire/http2/frames/frames.ts";

export const INFO: ServerConnectionInfo = {
  protocol: "h2",
  peer: undefined,
  remoteAddress: "127.0.0.1",
  remotePort: 1,
  localAddress: "127.0.0.1",
  originalDestination: undefined,
};

export function fields(...lines: string[]): Fields {
  return lines.map((line) => {
    const colon = line.indexOf(":");
    return makeField(line.slice(0, colon), line.slice(colon + 1).trim());
  });
}

export function lines(list: Fields | undefined): string[] | undefined {
  return list?.map(({ name, value }) => `${name}: ${value}`);
}

export function requestHead(options: Partial<RequestHead> = {}): RequestHead {
  return {
    method: "GET",
    scheme: "http",
    authority: "shop",
    path: "/",
    protocol: undefined,
    fields: [],
    contentLength: undefined,
    acceptsTrailers: true,
    absoluteForm: false,
    ...options,
  };
}

export const OK: ResponseHead = {
  status: 200,
  fields: [],
  contentLength: undefined,
};

/** Writes down what it is told; `until(event)` waits for it. */
export class Recorder implements ResponseReceiver {
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  heads: ResponseHead[] = [];
  trailers: Fields | undefined;
  error: MeshError | undefined;
  onChunk: ((chunk: Buffer) => void) | undefined;
  private readonly emitter = new EventEmitter();

  get body(): Buffer {
    return Buffer.concat(this.chunks);
  }

  private note(event: string): void {
    this.events.push(event);
    this.emitter.emit(event);
  }

  async until(
    event: "head" | "data" | "end" | "abort" | "drained",
  ): Promise<void> {
    if (!this.events.includes(event)) await once(this.emitter, event);
  }

  /** Waits until so many octets have come. */
  async untilBody(length: number): Promise<void> {
    while (this.body.length < length) await once(this.emitter, "data");
  }

  informational(head: ResponseHead): void {
    this.heads.push(head);
    this.note("informational");
  }
  head(head: ResponseHead, ended: boolean): void {
    this.heads.push(head);
    this.note("head");
    if (ended) this.note("end");
  }
  data(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.onChunk?.(chunk);
    this.note("data");
  }
  end(trailers: Fields | undefined): void {
    this.trailers = trailers;
    this.note("end");
  }
  abort(error: MeshError): void {
    this.error = error;
    this.note("abort");
  }
  drained(): void {
    this.note("drained");
  }
}

export const IGNORE: BodyReceiver = {
  data: () => undefined,
  end: () => undefined,
  abort: () => undefined,
  drained: () => undefined,
};

/** Takes requests and lets a test wait for them. */
export class Requests {
  readonly streams: ServerStream[] = [];
  readonly refusals: string[] = [];
  onRequest: ((stream: ServerStream) => void) | undefined;
  private readonly emitter = new EventEmitter();

  request(stream: ServerStream): void {
    this.streams.push(stream);
    this.onRequest?.(stream);
    this.emitter.emit("request");
  }

  refused(code: string, detail: string): void {
    this.refusals.push(`${code}: ${detail}`);
  }

  /** The request number `at`, from 0 on. */
  async get(at = 0): Promise<ServerStream> {
    for (;;) {
      const stream = this.streams[at];
      if (stream !== undefined) return stream;
      await once(this.emitter, "request");
    }
  }
}

export interface Teardown {
  teardown(run: () => void): void;
}

export interface ServerEnd {
  /** Limits that acted. */
  readonly limited: Http2Limit[];
  readonly peer: RawPeer;
  readonly connection: ServerConnection;
  readonly requests: Requests;
  readonly clock: FakeClock;
  readonly socket: Socket;
}

/** A server of ours, and a raw client that has said its preface and SETTINGS. */
export async function rawClient(
  t: Teardown,
  limits: Partial<Http2Limits> = {},
  said: readonly [number, number][] = [],
  buffers?: Buffers,
): Promise<ServerEnd> {
  const [accepted, dialled] = await socketPair();
  t.teardown(() => {
    accepted.destroy();
    dialled.destroy();
  });
  const clock = fakeClock();
  const requests = new Requests();
  const limited: Http2Limit[] = [];
  const onLimit = (limit: Http2Limit): void => void limited.push(limit);
  const connection = serveHttp2(
    accepted,
    { clock, limits, onLimit, info: INFO, buffers },
    requests,
  );
  const peer = new RawPeer(dialled, false);
  peer.send(PREFACE, settings(...said), SETTINGS_ACK);
  return { peer, connection, requests, clock, limited, socket: accepted };
}

export class Observer implements ClientConnectionObserver {
  readonly events: string[] = [];
  error: MeshError | undefined;
  private readonly emitter = new EventEmitter();

  private note(event: string): void {
    this.events.push(event);
    this.emitter.emit(event);
  }
  async until(event: "available" | "draining" | "closed"): Promise<void> {
    if (!this.events.includes(event)) await once(this.emitter, event);
  }
  available(): void {
    this.note("available");
  }
  draining(): void {
    this.note("draining");
  }
  closed(error: MeshError | undefined): void {
    this.error = error;
    this.note("closed");
  }
}

export interface ClientEnd {
  /** Limits that acted. */
  readonly limited: Http2Limit[];
  readonly peer: RawPeer;
  readonly connection: ClientConnection;
  readonly observer: Observer;
  readonly clock: FakeClock;
  readonly socket: Socket;
}

/** A client of ours, and a raw server; `said` null: the server has not said its SETTINGS. */
export async function rawServer(
  t: Teardown,
  limits: Partial<Http2Limits> = {},
  said: readonly [number, number][] | null = [],
  firstId?: number,
  buffers?: Buffers,
): Promise<ClientEnd> {
  const [accepted, dialled] = await socketPair();
  t.teardown(() => {
    accepted.destroy();
    dialled.destroy();
  });
  const clock = fakeClock();
  const observer = new Observer();
  const limited: Http2Limit[] = [];
  const onLimit = (limit: Http2Limit): void => void limited.push(limit);
  const connection = connectHttp2(
    dialled,
    { clock, limits, onLimit, firstId, buffers },
    observer,
  );
  const peer = new RawPeer(accepted, true);
  if (said !== null) peer.send(settings(...said), SETTINGS_ACK);
  return { peer, connection, observer, clock, limited, socket: dialled };
}

/** Both ends ours. */
export async function bothEnds(
  t: Teardown,
  limits: Partial<Http2Limits> = {},
  pair: () => Promise<[Socket, Socket]> = socketPair,
): Promise<{
  client: ClientConnection;
  server: ServerConnection;
  requests: Requests;
  observer: Observer;
  clock: FakeClock;
}> {
  const [accepted, dialled] = await pair();
  t.teardown(() => {
    accepted.destroy();
    dialled.destroy();
  });
  const clock = fakeClock();
  const requests = new Requests();
  const observer = new Observer();
  const server = serveHttp2(accepted, { clock, limits, info: INFO }, requests);
  const client = connectHttp2(dialled, { clock, limits }, observer);
  return { client, server, requests, observer, clock };
}
