/**
 * Mutual TLS between sidecars: a listener and a way to connect that hand over no connection before the peer's identity is judged.
 *
 * ```
 *   TCP accept → bounded wait for the handshake → OpenSSL's verdict → ours → onConnection
 *   TCP connect → handshake → OpenSSL's verdict → ours → is it the expected one? → the socket
 * ```
 * Node's own judgement is off on both ends: it looks for host names, which SVIDs do not have (law 5).
 */
import {
  createServer as createTcpServer,
  type AddressInfo,
  type ListenOptions,
  type Server as TcpServer,
  type Socket,
} from "node:net";
import {
  connect,
  createServer as createTlsServer,
  type Server as TlsServer,
  type TLSSocket,
} from "node:tls";
import type { Clock } from "../../core/clock.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import { MeshError } from "../../mesh/errors.ts";
import { messageOf, systemCode } from "../../core/errors.ts";
import type { Code } from "../../mesh/codes.ts";
import type { Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { parseSpiffeId, type SpiffeId } from "../../identity/spiffe.ts";
import type { JudgementReason } from "../../identity/svid.ts";
import type { Protocol } from "../exchange.ts";
import {
  handshakeList,
  remoteOf,
  type HandshakeEnd,
  type Remote,
} from "./handshakes.ts";
import {
  judgeSocket,
  linkClientContext,
  linkServerOptions,
  protocolOf,
} from "./tls-context.ts";

export type LinkRefusal =
  | JudgementReason
  | "plaintext"
  | "handshake failed"
  | HandshakeEnd
  | "no protocol in common"
  /** This end has none yet. */
  | "no credentials"
  | "accept failed";

export interface LinkPeer {
  readonly peer: SpiffeId;
  readonly uri: string;
  readonly protocol: Protocol;
  /** Wall-clock milliseconds: the end of the peer's certificate or of our own, whichever comes first. */
  readonly validUntil: number;
}

export interface LinkListenerOptions {
  /** Whether an accepted connection may stay; false where it is closed already. Asked before anything is spent on it. */
  onAccept?(raw: Socket): boolean;
  /** The socket listens. */
  onListening?(listener: TcpServer): void;
  /** Each handshake uses the present value; connections that exist stay as they are. */
  readonly credentials: Watch<Credentials | undefined>;
  readonly clock: Clock;
  /**
   * The peer is judged and no byte was read yet. Attach to the socket before returning: from then on it is the caller's, errors included. Must not throw.
   */
  onConnection(socket: TLSSocket, link: LinkPeer): void;
  /** The connection is closed already; for counter and log. Must not throw. */
  onRefused(reason: LinkRefusal, detail: string, remote: Remote): void;
  /** Milliseconds for a whole handshake: 5,000. */
  readonly handshakeTimeout?: number;
  /** Handshakes under way at one time: 1,000. */
  readonly maxHandshakes?: number;
  /** Of these, from one address (IPv6: one /64): 250. */
  readonly maxHandshakesFromSource?: number;
}

export interface LinkListener {
  /** Resolves with the address once it listens; rejects as `net.Server` does. */
  listen(options: ListenOptions): Promise<AddressInfo>;
  /** Takes a connection that was accepted elsewhere (a captured one, bytes put back after a look at them). */
  accept(raw: Socket): void;
  readonly handshakes: number;
  /** Stops listening. Handshakes under way go on: their clients may send a request together with its last message. */
  stop(): void;
  /** Stops listening and ends the handshakes under way; connections handed over live on. */
  close(): void;
}

export const HANDSHAKE_TIMEOUT: number = 5000;
export const MAX_HANDSHAKES: number = 1000;
export const HANDSHAKES_FROM_SOURCE: number = 250;

/** OpenSSL's words for first bytes that are no TLS record. */
const PLAINTEXT: ReadonlySet<string> = new Set([
  "ERR_SSL_HTTP_REQUEST",
  "ERR_SSL_HTTPS_PROXY_REQUEST",
  "ERR_SSL_WRONG_VERSION_NUMBER",
  "ERR_SSL_UNKNOWN_PROTOCOL",
  "ERR_SSL_PACKET_LENGTH_TOO_LONG",
]);

export function linkListener(options: LinkListenerOptions): LinkListener {
  const { clock, credentials } = options;
  const handshakes = handshakeList({
    clock,
    timeout: options.handshakeTimeout ?? HANDSHAKE_TIMEOUT,
    max: options.maxHandshakes ?? MAX_HANDSHAKES,
    maxFromSource: options.maxHandshakesFromSource ?? HANDSHAKES_FROM_SOURCE,
    onEnd: (reason, detail, remote) =>
      options.onRefused(reason, detail, remote),
  });
  let server: TlsServer | undefined;
  let loaded: Credentials | undefined;
  let closed = false;

  /** The TLS server with the present credentials in it. */
  const tlsServer = (present: Credentials): TlsServer => {
    if (server === undefined) {
      server = createTlsServer(linkServerOptions(present));
      server.on("secureConnection", onSecure);
      server.on("tlsClientError", onHandshakeError);
    } else if (loaded !== present) {
      server.setSecureContext(linkServerOptions(present));
    }
    loaded = present;
    return server;
  };

  const refuse = (
    socket: Socket,
    remote: Remote,
    reason: LinkRefusal,
    detail: string,
  ): void => {
    socket.destroy();
    options.onRefused(reason, detail, remote);
  };

  const accept = (raw: Socket): void => {
    // Errors are followed by "close", which is what counts here.
    raw.on("error", ignore);
    if (options.onAccept?.(raw) === false) return;
    const remote = remoteOf(raw);
    const present = credentials.value;
    if (closed) {
      raw.destroy();
      return;
    }
    if (present === undefined) {
      refuse(raw, remote, "no credentials", "this end has none yet");
      return;
    }
    let acceptor: TlsServer;
    try {
      acceptor = tlsServer(present);
    } catch (error) {
      const detail = `they cannot be used: ${messageOf(error)}`;
      refuse(raw, remote, "no credentials", detail);
      return;
    }
    if (remote.address === "") {
      refuse(raw, remote, "handshake abandoned", "closed before it was taken");
      return;
    }
    if (!handshakes.add(raw)) {
      const detail = `${handshakes.size} are under way`;
      refuse(raw, remote, "too many handshakes", detail);
      return;
    }
    raw.setNoDelay(true);
    acceptor.emit("connection", raw);
  };

  const onHandshakeError = (error: Error, socket: TLSSocket): void => {
    const handshake = handshakes.take(socket);
    if (handshake === undefined) return;
    const { raw, remote } = handshake;
    if (PLAINTEXT.has(systemCode(error) ?? ""))
      refuse(raw, remote, "plaintext", "the first bytes are no TLS handshake");
    else refuse(raw, remote, "handshake failed", reasonOf(error));
  };

  const onSecure = (socket: TLSSocket): void => {
    const handshake = handshakes.take(socket);
    if (handshake === undefined) {
      socket.destroy();
      return;
    }
    // OpenSSL is still at work on this connection when Node reports its handshake, and so would be whatever ran in microtasks after it:
    // Node frees the TLS state at once where the socket beneath is destroyed already, and the process would end in a segmentation fault.
    setImmediate(() => judge(socket, handshake.remote));
  };

  const judge = (socket: TLSSocket, remote: Remote): void => {
    if (closed) {
      socket.destroy();
      return;
    }
    if (socket.destroyed) {
      const detail = "the peer closed right after the handshake";
      refuse(socket, remote, "handshake abandoned", detail);
      return;
    }
    const judgement = judgeSocket(
      socket,
      loaded === undefined ? [] : [loaded.spiffeId.trustDomain],
      clock.wall(),
    );
    if (!judgement.ok) {
      refuse(socket, remote, judgement.reason, judgement.detail);
      return;
    }
    const protocol = protocolOf(socket);
    if (protocol === undefined) {
      const detail = "the peer offered none by ALPN";
      refuse(socket, remote, "no protocol in common", detail);
      return;
    }
    const { id, uri } = judgement;
    const validUntil = Math.min(
      socket.getPeerX509Certificate()?.validToDate.getTime() ?? 0,
      loaded?.notAfter ?? 0,
    );
    options.onConnection(socket, { peer: id, uri, protocol, validUntil });
  };

  const tcpServer = createTcpServer({ noDelay: true }, accept);
  return {
    listen: (where) =>
      new Promise((resolve, reject) => {
        tcpServer.once("error", reject);
        tcpServer.listen(where, () => {
          tcpServer.off("error", reject);
          // Running out of descriptors must not end the process.
          tcpServer.on("error", (error) =>
            options.onRefused("accept failed", error.message, NOWHERE),
          );
          const address = tcpServer.address();
          if (address === null || typeof address === "string")
            reject(new TypeError("the link listens on TCP only"));
          else {
            options.onListening?.(tcpServer);
            resolve(address);
          }
        });
      }),
    accept,
    get handshakes() {
      return handshakes.size;
    },
    stop() {
      tcpServer.close();
    },
    close() {
      closed = true;
      tcpServer.close();
      handshakes.destroy();
    },
  };
}

export interface ConnectOptions {
  readonly address: string;
  readonly port: number;
  /** SPIFFE URI that the peer must prove. */
  readonly expected: string;
  readonly credentials: Credentials;
  /** What to offer; HTTP/2 alone unless given. */
  readonly alpn?: readonly Protocol[];
  /** Milliseconds for connecting and the handshake together. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Link {
  /**
   * Nothing was sent on it and nothing that came is lost before a "data" listener is there. It has one "error" listener, which does nothing: an error
   * that comes between this promise and its receiver must not end the process. So attach in the same tick, and look at `destroyed` first.
   */
  readonly socket: TLSSocket;
  readonly protocol: Protocol;
}

/**
 * Connects to a sidecar and makes sure that it is the expected one. Rejects with MeshError CONNECT_FAILED, CONNECT_TIMEOUT, TLS_FAILED or
 * WRONG_IDENTITY, always unprocessed since nothing was sent, or with the signal's reason.
 */
export function connectLink(options: ConnectOptions): Promise<Link> {
  const { address, port, clock, signal, timeoutMs } = options;
  const alpn = options.alpn ?? ["h2"];
  const where = formatHostPort(address, port);
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    let socket: TLSSocket;
    try {
      socket = connect({
        host: address,
        port,
        secureContext: linkClientContext(options.credentials),
        ALPNProtocols: [...alpn],
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
      });
    } catch (error) {
      reject(failure("CONNECT_FAILED", `${where}: ${messageOf(error)}`, error));
      return;
    }
    let connected = false;
    const settle = (): void => {
      cancel();
      signal.removeEventListener("abort", onAbort);
      socket.off("connect", onConnect);
      socket.off("secureConnect", onSecure);
      socket.off("error", onError);
      socket.off("close", onClose);
    };
    const fail = (error: Error): void => {
      settle();
      socket.destroy();
      reject(error);
    };
    const onConnect = (): void => {
      connected = true;
      socket.setNoDelay(true);
    };
    const onError = (error: Error): void =>
      fail(
        failure(
          connected ? "TLS_FAILED" : "CONNECT_FAILED",
          `${where}: ${reasonOf(error)}`,
          error,
        ),
      );
    const onClose = (): void =>
      fail(failure("TLS_FAILED", `${where}: closed during the handshake`));
    const onAbort = (): void => fail(signal.reason as Error);
    const cancel = clock.after(timeoutMs, () =>
      fail(
        connected
          ? failure(
              "TLS_FAILED",
              `${where}: handshake not done within ${timeoutMs} ms`,
            )
          : failure(
              "CONNECT_TIMEOUT",
              `${where}: not connected within ${timeoutMs} ms`,
            ),
      ),
    );
    const onSecure = (): void => {
      const protocol = protocolOf(socket, alpn);
      const wrong =
        identityFault(socket, options, where) ??
        (protocol === undefined
          ? failure(
              "TLS_FAILED",
              `${where}: the peer speaks none of ${alpn.join(", ")}`,
            )
          : undefined);
      if (wrong !== undefined || protocol === undefined) {
        fail(wrong ?? failure("TLS_FAILED", where));
        return;
      }
      settle();
      resolve({ socket, protocol });
    };
    socket.on("connect", onConnect);
    socket.on("secureConnect", onSecure);
    socket.on("error", onError);
    socket.on("error", ignore);
    socket.on("close", onClose);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

function identityFault(
  socket: TLSSocket,
  options: ConnectOptions,
  where: string,
): MeshError | undefined {
  // The expected identity says which trust domain counts; the bundle says who may speak for it.
  const expected = parseSpiffeId(options.expected);
  const judgement = judgeSocket(
    socket,
    expected === undefined ? [] : [expected.trustDomain],
    options.clock.wall(),
  );
  if (!judgement.ok)
    return failure(
      judgement.reason === "foreign trust domain"
        ? "WRONG_IDENTITY"
        : "TLS_FAILED",
      `${where}: ${judgement.reason}: ${judgement.detail}`,
    );
  if (judgement.uri !== options.expected)
    return failure(
      "WRONG_IDENTITY",
      `${where}: expected ${options.expected}, proved ${judgement.uri}`,
    );
  return undefined;
}

function failure(code: Code, detail: string, cause?: unknown): MeshError {
  return new MeshError(code, detail, {
    source: "upstream",
    unprocessed: true,
    cause,
  });
}

const NOWHERE: Remote = { address: "", port: 0 };

/** OpenSSL's reason alone: its messages are lines of numbers and source files. */
function reasonOf(error: Error): string {
  return "reason" in error && typeof error.reason === "string"
    ? error.reason
    : error.message;
}

function ignore(): void {
  // An error is followed by "close".
}
