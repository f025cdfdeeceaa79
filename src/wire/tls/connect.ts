/**
 * The caller's end of mutual TLS between sidecars: hands over no connection before the peer has proved that it is the expected one.
 *
 * ```
 *   TCP connect → handshake → OpenSSL's verdict → ours → is it the expected one? → the socket
 * ```
 * Node's own judgement is off: it looks for host names, which SVIDs do not have (law 5).
 */
import { connect, type TLSSocket } from "node:tls";
import { afterArrivals, type Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { parseSpiffeId } from "../../identity/spiffe.ts";
import type { Revoked } from "../../identity/revoked.ts";
import { trustOf } from "../../identity/trust.ts";
import type { Code } from "../../mesh/reasons.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Protocol } from "../exchange.ts";
import { machineError } from "../machine-error.ts";
import { endWhenPeerIsGone } from "./dead-peer.ts";
import {
  ignore,
  domainsLike,
  judgeSocket,
  linkClientContext,
  protocolOf,
  reasonOf,
} from "./tls-context.ts";

export interface ConnectOptions {
  readonly address: string;
  readonly port: number;
  /** SPIFFE URI that the peer must prove. */
  readonly expected: string;
  /** Trust domains that are one and the same, if the expected is among them; absent: none. */
  readonly equalDomains?: readonly string[] | undefined;
  readonly credentials: Credentials;
  /** What the peer is refused for besides; absent: nothing is. */
  readonly live?: { readonly revoked: Revoked } | undefined;
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
 * Connects to a sidecar and makes sure that it is the expected one. Rejects with MeshError CONNECT_FAILED, CONNECT_TIMEOUT, TLS_FAILED,
 * WRONG_IDENTITY or MACHINE_ERROR, always unprocessed since nothing was sent, or with the signal's reason.
 */
export function connectLink(options: ConnectOptions): Promise<Link> {
  const { signal } = options;
  const where = formatHostPort(options.address, options.port);
  if (signal.aborted) return Promise.reject(signal.reason as Error);
  let socket: TLSSocket;
  try {
    socket = connect({
      host: options.address,
      port: options.port,
      secureContext: linkClientContext(options.credentials),
      ALPNProtocols: [...alpnOf(options)],
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
  } catch (error) {
    return Promise.reject(
      machineError(where, error) ??
        failure("CONNECT_FAILED", `${where}: ${messageOf(error)}`, error),
    );
  }
  return handshaken(socket, options, {
    where,
    connected: false,
    judge: () => judged(socket, options, where),
  });
}

/** What is offered. */
function alpnOf(options: ConnectOptions): readonly Protocol[] {
  return options.alpn ?? ["h2"];
}

export interface Handshake {
  /** The other end, for messages. */
  readonly where: string;
  /** The connection beneath was there before. */
  readonly connected: boolean;
  /** Asked once the handshake is over: the link, or why this peer is not the one that was wanted. */
  readonly judge: () => Link | MeshError;
}

/** Waits for the handshake, judges the peer, and destroys the socket where either fails. */
export function handshaken(
  socket: TLSSocket,
  options: Pick<ConnectOptions, "clock" | "signal" | "timeoutMs">,
  handshake: Handshake,
): Promise<Link> {
  const { clock, signal, timeoutMs } = options;
  const { where, judge } = handshake;
  return new Promise((resolve, reject) => {
    let { connected } = handshake;
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
      endWhenPeerIsGone(socket);
    };
    const onError = (error: Error): void => {
      const code = connected ? "TLS_FAILED" : "CONNECT_FAILED";
      fail(
        machineError(where, error) ??
          failure(code, `${where}: ${reasonOf(error)}`, error),
      );
    };
    const onClose = (): void =>
      fail(failure("TLS_FAILED", `${where}: closed during the handshake`));
    const onAbort = (): void => fail(signal.reason as Error);
    const cancel = afterArrivals(clock, timeoutMs, () =>
      fail(tooSlow(connected, timeoutMs, where)),
    );
    const onSecure = (): void => {
      const link = judge();
      if (link instanceof MeshError) {
        fail(link);
        return;
      }
      settle();
      resolve(link);
    };
    socket.on("connect", onConnect);
    socket.on("secureConnect", onSecure);
    socket.on("error", onError);
    socket.on("error", ignore);
    socket.on("close", onClose);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

function tooSlow(connected: boolean, ms: number, where: string): MeshError {
  return connected
    ? failure("TLS_FAILED", `${where}: handshake not done within ${ms} ms`)
    : failure("CONNECT_TIMEOUT", `${where}: not connected within ${ms} ms`);
}

/** The link, or why this peer is not the one that was wanted. */
function judged(
  socket: TLSSocket,
  options: ConnectOptions,
  where: string,
): Link | MeshError {
  const wrong = identityFault(socket, options, where);
  if (wrong !== undefined) return wrong;
  const alpn = alpnOf(options);
  const protocol = protocolOf(socket, alpn);
  if (protocol === undefined)
    return failure(
      "TLS_FAILED",
      `${where}: the peer speaks none of ${alpn.join(", ")}`,
    );
  return { socket, protocol };
}

function identityFault(
  socket: TLSSocket,
  options: ConnectOptions,
  where: string,
): MeshError | undefined {
  // The expected identity says which trust domain counts; the bundle says who may speak for it.
  const expected = parseSpiffeId(options.expected);
  const domains =
    expected === undefined
      ? []
      : domainsLike(expected.trustDomain, options.equalDomains);
  const judgement = judgeSocket(
    socket,
    domains,
    trustOf(options.credentials, options.clock, options.live?.revoked),
  );
  if (!judgement.ok)
    return failure(
      judgement.reason === "foreign trust domain"
        ? "WRONG_IDENTITY"
        : "TLS_FAILED",
      `${where}: ${judgement.reason}: ${judgement.detail}`,
    );
  // What is left to compare of a name in one of these domains.
  const { id } = judgement;
  if (
    id.namespace !== expected?.namespace ||
    id.serviceAccount !== expected.serviceAccount
  )
    return failure(
      "WRONG_IDENTITY",
      `${where}: expected ${options.expected}, proved ${judgement.uri}`,
    );
  return undefined;
}

/** Nothing was sent: it may be tried again. */
export function failure(
  code: Code,
  detail: string,
  cause?: unknown,
): MeshError {
  return new MeshError(code, detail, {
    source: "upstream",
    unprocessed: true,
    cause,
  });
}
