/** A link listener for tests that remembers whom it let in, whom it refused, and every byte that came. */
import { once } from "node:events";
import { connect as connectTcp, type Server, type Socket } from "node:net";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { systemClock, type Clock } from "../../../src/core/clock.ts";
import { MeshError } from "../../../src/mesh/errors.ts";
import { watchSource, type WatchSource } from "../../../src/core/watch.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { type ConnectOptions } from "../../../src/wire/tls/connect.ts";
import {
  linkListener,
  type LinkListener,
  type LinkPeer,
  type LinkRefusal,
} from "../../../src/wire/tls/tls.ts";

export interface Refused {
  readonly reason: LinkRefusal;
  readonly detail: string;
  readonly address: string;
}

export interface TestLink {
  readonly listener: LinkListener;
  readonly port: number;
  readonly credentials: WatchSource<Credentials | undefined>;
  readonly accepted: { readonly socket: TLSSocket; readonly link: LinkPeer }[];
  readonly refused: Refused[];
  /** Octets of application data over all connections. */
  received(): number;
  /** Waits until so many connections were let in or refused. */
  settled(count: number): Promise<void>;
  close(): void;
}

export async function testLink(
  credentials: Credentials | undefined,
  options: {
    clock?: Clock;
    handshakeTimeout?: number;
    maxHandshakes?: number;
    maxHandshakesFromSource?: number;
    equalDomains?: readonly string[];
    onConnection?: (socket: TLSSocket) => void;
  } = {},
): Promise<TestLink> {
  const source = watchSource(credentials);
  const accepted: { socket: TLSSocket; link: LinkPeer }[] = [];
  const refused: Refused[] = [];
  const waiters = new Set<() => void>();
  let octets = 0;
  const changed = (): void => {
    for (const waiter of waiters) waiter();
  };
  const listener = linkListener({
    credentials: source,
    clock: options.clock ?? systemClock,
    equalDomains: () => options.equalDomains ?? [],
    ...(options.handshakeTimeout === undefined
      ? {}
      : { handshakeTimeout: options.handshakeTimeout }),
    ...(options.maxHandshakes === undefined
      ? {}
      : { maxHandshakes: options.maxHandshakes }),
    ...(options.maxHandshakesFromSource === undefined
      ? {}
      : { maxHandshakesFromSource: options.maxHandshakesFromSource }),
    onConnection(socket, link) {
      accepted.push({ socket, link });
      socket.on("error", () => undefined);
      socket.on("data", (chunk: Buffer) => (octets += chunk.length));
      options.onConnection?.(socket);
      changed();
    },
    onRefused(reason, detail, remote) {
      refused.push({ reason, detail, address: remote.address });
      changed();
    },
  });
  const { port } = await listener.listen({ port: 0, host: "127.0.0.1" });
  return {
    listener,
    port,
    credentials: source,
    accepted,
    refused,
    received: () => octets,
    settled: (count) =>
      new Promise((resolve) => {
        const check = (): void => {
          if (accepted.length + refused.length < count) return;
          waiters.delete(check);
          resolve();
        };
        waiters.add(check);
        check();
      }),
    close() {
      listener.close();
      for (const { socket } of accepted) socket.destroy();
    },
  };
}

/** Options of connections from one workload to the other, wherever it listens. */
export function connecting(
  caller: Credentials,
  callee: Credentials,
): (port: number, options?: Partial<ConnectOptions>) => ConnectOptions {
  return (port, options) => ({
    address: "127.0.0.1",
    port,
    expected: callee.id,
    credentials: caller,
    timeoutMs: 5000,
    clock: systemClock,
    signal: new AbortController().signal,
    ...options,
  });
}

/** What became of a plain TLS client: Node's own, with whatever options a stranger might use. */
export interface Outcome {
  readonly connected: boolean;
  /** Application data that it got. */
  readonly received: Buffer;
  readonly reused: boolean;
  readonly protocol: string | null;
  readonly session: Buffer | undefined;
  /** Subject alternative names that the server proved. */
  readonly server: string | undefined;
  readonly error: string | undefined;
}

/** Connects, writes `payload`, and tells how it ended once the server has closed, or `until` is over. */
export async function stranger(
  port: number,
  options: ConnectionOptions,
  payload = "hello",
  until?: Promise<unknown>,
): Promise<Outcome> {
  const socket = connect({
    host: "127.0.0.1",
    port,
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...options,
  });
  const chunks: Buffer[] = [];
  let connected = false;
  let reused = false;
  let protocol: string | null = null;
  let session: Buffer | undefined;
  let server: string | undefined;
  let error: string | undefined;
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("secureConnect", () => {
    connected = true;
    reused = socket.isSessionReused();
    protocol = socket.getProtocol();
    server = socket.getPeerX509Certificate()?.subjectAltName;
    socket.write(payload);
  });
  socket.on("session", (ticket) => (session = ticket));
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", (thrown: NodeJS.ErrnoException) => {
    error = thrown.code ?? thrown.message;
  });
  await (until === undefined ? closed : Promise.race([closed, until]));
  socket.destroy();
  return {
    connected,
    received: Buffer.concat(chunks),
    reused,
    protocol,
    session,
    server,
    error,
  };
}

/** A TCP connection, open. */
export async function tcp(port: number): Promise<Socket> {
  const socket = connectTcp({ host: "127.0.0.1", port });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** Listens on a free port of the loopback. */
export function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: 0, host: "127.0.0.1" }, () => {
      const address = server.address();
      if (address === null || typeof address === "string")
        reject(new Error("no port"));
      else resolve(address.port);
    });
  });
}

/** The MeshError that a promise rejects with; throws where it does anything else. */
export async function failureOf(promise: Promise<unknown>): Promise<MeshError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("it should have failed");
}
