/** A control plane that serves a small mesh until it goes mad: it enrols and registers whoever has its token, and its streams are written byte by byte. */
import { hash } from "node:crypto";
import {
  constants,
  performServerHandshake,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { duplexPair, type Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import {
  serveConnection,
  STRANGER_LIMITS,
  WAITING_LIMITS,
  strangerHandlers,
} from "../../../src/control-plane/push/connection.ts";
import { unary } from "../../../src/control-plane/push/grpc.ts";
import { listen } from "../../../src/control-plane/push/listener.ts";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import {
  deltaRequest,
  pushedResource,
  revision,
} from "../../../src/push/codec.ts";
import type { DeltaResource } from "../../../src/push/messages.ts";
import {
  digestSum,
  digestTerm,
  formatDigest,
  RESOURCE_TYPE,
  resourceName,
  REVISION_TYPE,
} from "../../../src/push/names.ts";
import { DISCOVERY, REGISTRATION } from "../../../src/push/services.ts";
import { keyOf, type Resource } from "../../../src/resources/envelope.ts";
import {
  startBehind,
  TRUST_DOMAIN,
} from "../control-plane/push-control-plane.ts";
import { framed } from "../peers/raw-grpc.ts";
import { MADNESS, type Madness } from "./madness.ts";
import { deltaResponse } from "../control-plane/delta-response.ts";

const STORE = "11111111-1111-4111-8111-111111111111";
const API_VERSION = "mesh.wherry.dev/v1alpha1";

/** Everybody may call, and "orders" and "callee" are whoever has that label. */
const MESH: readonly Resource[] = [
  {
    apiVersion: API_VERSION,
    kind: "Mesh",
    metadata: { name: "default" },
    spec: { authorization: { defaultAction: "ALLOW" } },
  },
  {
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata: { name: "open", namespace: "shop" },
    spec: {
      selector: { matchLabels: { app: "orders" } },
      mtls: { mode: "PERMISSIVE" },
    },
  },
  serviceNamed("orders"),
  serviceNamed("callee"),
];

export interface MadPlane {
  readonly port: number;
  /** How many are open. */
  readonly streams: number;
  token(options: Parameters<Behind["token"]>[0]): Promise<string>;
  /** What it does on every stream from now on; undefined: it serves. */
  madden(madness: Madness | undefined): void;
}

type Behind = Awaited<ReturnType<typeof startBehind>>;

/** It lives as long as its process. */
export async function startMadPlane(host: string): Promise<MadPlane> {
  const behind = await startBehind({ after: () => undefined });
  const { enrolment, own, clock, logger } = behind;
  const world = new Map<string, Resource>();
  for (const resource of MESH)
    world.set(resourceName(keyOf(resource)), resource);
  const streams = new Set<MadStream>();
  let madness: Madness | undefined;
  const listener = await listen({
    host,
    port: 0,
    own: own.credentials,
    trustDomains: [TRUST_DOMAIN],
    waiting: WAITING_LIMITS,
    strangers: STRANGER_LIMITS,
    clock,
    logger,
    onConnection(socket, caller) {
      if (caller.kind === "stranger")
        serveConnection(
          socket,
          strangerHandlers(
            "no certificate",
            unary((request) => enrolment.enrol(request, caller.source)),
          ),
          STRANGER_LIMITS,
        );
      else servePeer(socket, caller.peer);
    },
  });

  const servePeer = (socket: TLSSocket, peer: Peer): void => {
    const connection = new MadConnection(socket);
    const session = performServerHandshake(connection.inner);
    session.on("error", () => undefined);
    session.on("stream", (stream, headers) => {
      stream.on("error", () => undefined);
      if (pathOf(headers) === DISCOVERY.DeltaAggregatedResources.path) {
        const mad = new MadStream(stream, world, connection);
        streams.add(mad);
        stream.on("close", () => streams.delete(mad));
        mad.begin(madness);
      } else
        answer(stream, (bytes) => {
          if (pathOf(headers) === REGISTRATION.Register.path)
            register(world, peer, bytes);
          for (const each of streams) each.push();
          return REGISTRATION.Register.responseSerialize({
            workload: `${peer.namespace}/${peer.name}`,
          });
        });
    });
  };

  return {
    port: listener.port,
    get streams() {
      return streams.size;
    },
    token: (options) => behind.token(options),
    madden(next) {
      madness = next;
      for (const stream of streams) stream.begin(next);
    },
  };
}

function pathOf(headers: IncomingHttpHeaders): unknown {
  return headers[constants.HTTP2_HEADER_PATH];
}

function respond(stream: ServerHttp2Stream): void {
  stream.respond(
    { ":status": 200, "content-type": "application/grpc" },
    { waitForTrailers: true },
  );
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
}

/** A call of one message. */
function answer(
  stream: ServerHttp2Stream,
  make: (request: Buffer) => Uint8Array,
): void {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("end", () => {
    respond(stream);
    stream.end(framed(make(Buffer.concat(chunks).subarray(5))));
  });
}

function register(
  world: Map<string, Resource>,
  { namespace, name, labels, serviceAccount }: Peer,
  bytes: Buffer,
): void {
  const { spec } = REGISTRATION.Register.requestDeserialize(bytes);
  const workload: Resource = {
    apiVersion: API_VERSION,
    kind: "Workload",
    metadata: { name, namespace, labels },
    spec: { ...(JSON.parse(spec) as Record<string, unknown>), serviceAccount },
  };
  world.set(resourceName(keyOf(workload)), workload);
}

export function serviceNamed(
  name: string,
  annotations: Readonly<Record<string, string>> = {},
): Resource {
  return {
    apiVersion: API_VERSION,
    kind: "Service",
    metadata: { name, namespace: "shop", annotations },
    spec: {
      ports: [{ name: "http", port: 80, targetPort: 8080 }],
      selector: { app: name },
    },
  };
}

export function pushed(resource: Resource, version: string): DeltaResource {
  const key = keyOf(resource);
  const json = Buffer.from(JSON.stringify(resource));
  return {
    name: resourceName(key),
    version,
    typeUrl: RESOURCE_TYPE,
    value: pushedResource.encode({ ...key, json }),
  };
}

/** One sidecar's connection: HTTP/2 at `inner`, until something else is written to it. */
class MadConnection {
  readonly inner: Duplex;
  readonly #outer: Duplex;
  readonly #socket: TLSSocket;
  #raw = false;

  constructor(socket: TLSSocket) {
    [this.inner, this.#outer] = duplexPair();
    this.#socket = socket;
    socket.pipe(this.#outer).pipe(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.inner.destroy());
    this.inner.on("error", () => undefined);
  }

  /** Resolves when more can be written. What comes is read, and nobody hears of it. */
  async write(pieces: readonly Buffer[]): Promise<void> {
    if (!this.#raw) {
      this.#raw = true;
      this.#socket.unpipe(this.#outer);
      this.#socket.resume();
    }
    let more = true;
    for (const piece of pieces) more = this.#socket.write(piece);
    await new Promise<void>((resolve) => {
      if (more || this.#socket.destroyed) setImmediate(resolve);
      else onceOf(this.#socket, ["drain", "close"], resolve);
    });
  }

  end(): void {
    this.#socket.destroy();
  }
}

function onceOf(
  emitter: Duplex,
  events: readonly string[],
  run: () => void,
): void {
  const over = (): void => {
    for (const event of events) emitter.off(event, over);
    run();
  };
  for (const event of events) emitter.on(event, over);
}

/** One sidecar's stream, and what it holds as far as this control plane knows. */
export class MadStream {
  readonly stream: ServerHttp2Stream;
  readonly #world: ReadonlyMap<string, Resource>;
  readonly #connection: MadConnection;
  readonly #held = new Map<string, string>();
  #sum = 0n;
  #nonce = 0;
  #revision = 0;
  #greeted = false;
  #mad = false;
  #turn = 0;
  #record: Buffer[] | undefined;
  /** While it is well: what is to be sent, each once the one before is acknowledged. */
  readonly #queue: (() => Promise<void>)[] = [];
  #awaiting = false;

  constructor(
    stream: ServerHttp2Stream,
    world: ReadonlyMap<string, Resource>,
    connection: MadConnection,
  ) {
    this.stream = stream;
    this.#world = world;
    this.#connection = connection;
    stream.on("data", (chunk: Buffer) => this.#hear(chunk));
  }

  /** Mad from now on, or well again. */
  begin(madness: Madness | undefined): void {
    this.#turn += 1;
    // From wherever it has come to in its madness there is no way on.
    if (madness === undefined && this.#mad) this.#connection.end();
    this.#mad = madness !== undefined;
    this.#queue.length = 0;
    // What comes before a response can come before none any more.
    if (madness !== "flood of interim responses" && !this.stream.headersSent)
      respond(this.stream);
    if (madness === undefined) this.push();
    else void this.#rave(madness, this.#turn);
  }

  /** What has changed, with a Revision. */
  push(): void {
    if (this.#mad || !this.#greeted) return;
    this.#queue.push(
      () => this.resources(this.#changed()),
      () => this.close(),
    );
    if (!this.#awaiting) this.#sendNext();
  }

  #changed(): DeltaResource[] {
    return [...this.#world.values()].flatMap((resource) => {
      const part = pushed(resource, versionOf(resource));
      return this.#held.get(part.name) === part.version ? [] : [part];
    });
  }

  #sendNext(): void {
    const send = this.#queue.shift();
    this.#awaiting = send !== undefined;
    void send?.();
  }

  /** A message with these resources; resolves when more can be written. */
  resources(
    parts: readonly DeltaResource[],
    typeUrl: string = RESOURCE_TYPE,
  ): Promise<void> {
    for (const { name, version } of parts) {
      const held = this.#held.get(name);
      if (held !== undefined)
        this.#sum = digestSum(this.#sum, -digestTerm(name, held));
      this.#held.set(name, version);
      this.#sum = digestSum(this.#sum, digestTerm(name, version));
    }
    return this.message(parts, typeUrl);
  }

  /** The Revision that closes a push. */
  close(): Promise<void> {
    this.#revision = Math.max(this.#revision + 1, Date.now());
    const value = revision.encode({
      store: STORE,
      revision: this.#revision,
      digest: formatDigest(this.#sum),
      accepted: true,
      selective: false,
    });
    return this.message(
      [{ name: "revision", version: "1", typeUrl: REVISION_TYPE, value }],
      REVISION_TYPE,
    );
  }

  message(parts: readonly DeltaResource[], typeUrl: string): Promise<void> {
    this.#nonce += 1;
    return this.write(
      framed(
        deltaResponse.encode({
          systemVersion: "1",
          typeUrl,
          nonce: String(this.#nonce),
          resources: parts,
          removed: [],
        }),
      ),
    );
  }

  /** What `write` writes, to be written again and again as fast as can be. */
  async recorded(write: () => Promise<void>): Promise<Buffer> {
    const record: Buffer[] = [];
    this.#record = record;
    await write();
    this.#record = undefined;
    return Buffer.concat(record);
  }

  /** Resolves when more can be written. */
  write(bytes: Buffer): Promise<void> {
    if (this.#record !== undefined) {
      this.#record.push(bytes);
      return Promise.resolve();
    }
    if (this.stream.closed || this.stream.write(bytes))
      return new Promise((resolve) => void setImmediate(resolve));
    return new Promise((resolve) => {
      onceOf(this.stream, ["drain", "close"], resolve);
    });
  }

  /** Below gRPC; resolves when more can be written. */
  raw(pieces: readonly Buffer[]): Promise<void> {
    return this.#connection.write(pieces);
  }

  async #rave(madness: Madness, turn: number): Promise<void> {
    const rave = MADNESS[madness];
    for (let round = 0; turn === this.#turn && !this.stream.closed; round += 1)
      await rave(this, round);
  }

  /** Of the first request, which is small here, it matters what it says; of the others that they come. */
  #hear(chunk: Buffer): void {
    if (this.#greeted) {
      if (!this.#mad) this.#sendNext();
      return;
    }
    this.#greeted = true;
    const { initialVersions } = deltaRequest.decode(
      chunk.subarray(5, 5 + chunk.readUInt32BE(1)),
    );
    for (const [name, version] of initialVersions) {
      this.#held.set(name, version);
      this.#sum = digestSum(this.#sum, digestTerm(name, version));
    }
    this.push();
  }
}

/** The same for the same content. */
function versionOf(resource: Resource): string {
  return hash("sha1", JSON.stringify(resource));
}
