/** Makes one connection, over the link or in plaintext, with its codec on it; never to this proxy's own listeners. */
import { connect, isIP, type Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { afterArrivals, type Clock } from "../../../core/clock.ts";
import { formatHostPort } from "../../../core/text/host-port.ts";
import { isLoopback } from "../../../core/text/network.ts";
import { MeshError } from "../../../mesh/errors.ts";
import { messageOf, systemCode } from "../../../core/errors.ts";
import type { Credentials } from "../../../identity/credentials.ts";
import type { Deadlines } from "../../../core/deadlines.ts";
import type { Buffers } from "../../../wire/buffers.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
  Protocol,
} from "../../../wire/exchange.ts";
import { connectHttp1 } from "../../../wire/http1/client.ts";
import { connectHttp2 } from "../../../wire/http2/client.ts";
import {
  LINK_LIMITS,
  SHARED_LIMITS,
  type Http2Limits,
} from "../../../wire/http2/limits.ts";
import {
  lookupOf,
  NotPublic,
  type Reach,
} from "../../../runtime/fetch/guarded-lookup.ts";
import { connectLink } from "../../../wire/tls/connect.ts";
import type { ClientTls } from "../../../resources/traffic-policy/client-tls.ts";
import {
  connectOutside,
  type TlsSessions,
} from "../../../wire/tls/connect-outside.ts";
import type { LiveConnections } from "../../../wire/tls/live-connections.ts";
import type { Proof } from "../../../identity/revoked.ts";
import { machineError } from "../../../wire/machine-error.ts";
import type { Reached } from "../../exchange/raw-bytes.ts";
import { TcpConnection } from "../../../wire/tcp.ts";

/** What is spoken on a plaintext connection. */
export type PlainProtocol = Protocol | "tcp";

export interface DialOptions {
  readonly clock: Clock;
  readonly address: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly observer: ClientConnectionObserver;
  /** A limit of the codec's acted. */
  readonly onLimit?: ((limit: string) => void) | undefined;
  readonly signal: AbortSignal;
  /** What the proxy holds in all. */
  readonly buffers?: Buffers | undefined;
  /** What the connections wait for; absent: each has a timer of its own. */
  readonly deadlines?: Deadlines | undefined;
  /** Ends it when its other end is revoked, or no longer trusted; absent: nothing does. */
  readonly live?: LiveConnections | undefined;
  /** What the mesh says of the other end; absent where a certificate proves it, or nothing is known. */
  readonly claim?: Proof | undefined;
}

export interface LinkDial extends DialOptions {
  readonly credentials: Credentials;
  /** SPIFFE URI that the peer must prove. */
  readonly expected: string;
  readonly equalDomains: readonly string[] | undefined;
  readonly alpn: Protocol;
}

/** Connects to a sidecar. Rejects with an unprocessed MeshError. */
export async function dialLink(options: LinkDial): Promise<ClientConnection> {
  const { socket, protocol } = await connectLink({
    ...options,
    alpn: [options.alpn],
  });
  return withCodec(socket, protocol, options, LINK_LIMITS);
}

export interface PlainDial extends DialOptions {
  readonly protocol: PlainProtocol;
  /** Ports that this process listens on. */
  readonly ownPorts: ReadonlySet<number>;
  /** Where the name may lead; absent: anywhere. */
  readonly reach?: Reach | undefined;
  /** Why nothing is sent on the connection, which has been made; absent: nothing stands against it. */
  readonly refuses?: ((reached: Reached) => MeshError | undefined) | undefined;
}

/** Connects in plaintext. Rejects with an unprocessed MeshError. */
export async function dialPlain(options: PlainDial): Promise<ClientConnection> {
  const socket = await connectTcp(options);
  return withCodec(socket, options.protocol, options, SHARED_LIMITS);
}

export interface TlsDial extends PlainDial {
  readonly tls: ClientTls;
  readonly serverName: string;
  readonly sessions: TlsSessions;
}

/** Connects with TLS to what is not a sidecar. Rejects with an unprocessed MeshError. */
export async function dialTls(options: TlsDial): Promise<ClientConnection> {
  const { clock, timeoutMs, protocol, signal } = options;
  const began = clock.now();
  const socket = await connectTcp(options);
  const { socket: secure } = await connectOutside({
    ...options,
    socket,
    where: formatHostPort(options.address, options.port),
    protocol: protocol === "tcp" ? undefined : protocol,
    timeoutMs: Math.max(1, timeoutMs - (clock.now() - began)),
  });
  if (signal.aborted) {
    secure.destroy();
    throw signal.reason as Error;
  }
  return codecOn(secure, protocol, options, SHARED_LIMITS);
}

function withCodec(
  socket: Socket,
  protocol: PlainProtocol,
  options: DialOptions,
  limits: Partial<Http2Limits>,
): ClientConnection {
  const connection = codecOn(socket, protocol, options, limits);
  const { live, observer, claim } = options;
  const drain = (): void => {
    observer.draining();
    connection.drain();
  };
  const end = {
    stop: drain,
    drain,
    cut: (fault: string): void =>
      connection.destroy(
        new MeshError("REVOKED", fault, { source: "upstream" }),
      ),
  };
  // Nothing is known of a place outside the mesh.
  if (socket instanceof TLSSocket || claim !== undefined)
    live?.enter(socket, end, claim);
  return connection;
}

function codecOn(
  socket: Socket,
  protocol: PlainProtocol,
  { clock, observer, onLimit, buffers, deadlines }: DialOptions,
  limits: Partial<Http2Limits>,
): ClientConnection {
  switch (protocol) {
    case "h2":
      return connectHttp2(
        socket,
        { clock, onLimit, buffers, deadlines, limits },
        observer,
      );
    case "http/1.1":
      return connectHttp1(socket, { clock, buffers }, observer);
    case "tcp":
      return new TcpConnection(socket, clock, observer, buffers);
  }
}

function connectTcp(options: PlainDial): Promise<Socket> {
  const { clock, address, port, timeoutMs, signal, reach } = options;
  const where = formatHostPort(address, port);
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const socket = connect({
      host: address,
      port,
      noDelay: true,
      allowHalfOpen: true,
      lookup: lookupOf(address, reach),
    });
    let resolved = isIP(address) !== 0;
    socket.once("lookup", () => {
      resolved = true;
    });
    const settle = (): void => {
      cancel();
      signal.removeEventListener("abort", onAbort);
      socket.off("connect", onConnect);
      socket.off("error", onError);
    };
    const fail = (error: Error): void => {
      settle();
      // An error that comes late must not end the process.
      socket.on("error", ignore);
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(signal.reason as Error);
    const onError = (error: Error): void => fail(connectFailure(where, error));
    const onConnect = (): void => {
      const refused = refusal(socket, options);
      if (refused !== undefined) {
        fail(refused);
        return;
      }
      settle();
      // The codec listens from the same turn on that this promise is taken up in; until then an error must have someone.
      socket.on("error", ignore);
      resolve(socket);
    };
    const cancel = afterArrivals(clock, timeoutMs, () =>
      fail(
        new MeshError(
          "CONNECT_TIMEOUT",
          resolved
            ? `${where}: not connected within ${timeoutMs} ms`
            : `${where}: the name did not resolve within ${timeoutMs} ms; check the name servers of this host`,
          { source: "upstream", unprocessed: true },
        ),
      ),
    );
    socket.on("connect", onConnect);
    socket.on("error", onError);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** Why nothing is sent on a connection that has been made: its other end is not what the name was taken for. */
function refusal(
  socket: Socket,
  { address, port, ownPorts, refuses }: PlainDial,
): MeshError | undefined {
  if (isOwn(socket, ownPorts))
    return new MeshError(
      "LOOP",
      `${formatHostPort(address, port)} is this sidecar's own listener`,
      { source: "downstream", unprocessed: true },
    );
  const { remoteAddress = "" } = socket;
  return refuses?.({ address: remoteAddress, port, own: isHere(socket) });
}

/** The same host and one of our ports: a request sent there would come back for ever. */
function isOwn(socket: Socket, ownPorts: ReadonlySet<number>): boolean {
  return (
    socket.remotePort !== undefined &&
    ownPorts.has(socket.remotePort) &&
    isHere(socket)
  );
}

/** A loopback address may be called from another one. */
function isHere({ remoteAddress = "", localAddress }: Socket): boolean {
  return remoteAddress === localAddress || isLoopback(remoteAddress);
}

function connectFailure(where: string, error: Error): MeshError {
  if (error instanceof NotPublic)
    return new MeshError(
      "UNKNOWN_DESTINATION",
      `${error.message}: a host below a wildcard may not lead there`,
      { source: "upstream", unprocessed: true },
    );
  const code = systemCode(error);
  if (code === "ENOTFOUND" || code === "EAI_AGAIN")
    return new MeshError(
      "UNKNOWN_DESTINATION",
      `${where}: the name does not resolve (${code})`,
      { source: "upstream", unprocessed: true, cause: error },
    );
  return (
    machineError(where, error) ??
    new MeshError("CONNECT_FAILED", `${where}: ${messageOf(error)}`, {
      source: "upstream",
      unprocessed: true,
      cause: error,
    })
  );
}

function ignore(): void {
  // An error is followed by "close", which counts.
}
