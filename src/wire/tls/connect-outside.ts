/**
 * TLS with a server that is not a sidecar: nothing is handed over before the server has proved that it has the name.
 *
 * ```
 *   TCP connected → the context (roots, client certificate) → handshake → OpenSSL's verdict → the name → the socket
 * ```
 * The mesh's identity is never shown here: what a caller shows is the certificate that its policy names, if it names one.
 */
import type { X509Certificate } from "node:crypto";
import { isIP, type Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { uriNames } from "../../identity/extensions.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { ClientTls } from "../../resources/traffic-policy/client-tls.ts";
import type { Protocol } from "../exchange.ts";
import { failure, handshaken, type Link } from "./connect.ts";
import { outsideContext, type OutsideContext } from "./outside-context.ts";

/** What the last connection to one place left to the next, which then need not show all of its certificates again. */
export interface TlsSessions {
  last?: {
    readonly session: Buffer;
    /** A session is of the certificate that was shown with it. */
    readonly context: OutsideContext;
    /** What the server proved when it began: Node shows nothing of a resumed one. */
    readonly proved: X509Certificate;
  };
}

export interface OutsideOptions {
  /** Connected, and nothing was sent on it. Destroyed where the promise rejects. */
  readonly socket: Socket;
  /** The other end, for messages. */
  readonly where: string;
  readonly tls: ClientTls;
  /** What is asked for and, where `tls` does not say otherwise, proved. */
  readonly serverName: string;
  /** What is offered; undefined: bytes, for which there is no word. */
  readonly protocol: Protocol | undefined;
  readonly sessions: TlsSessions;
  /** Milliseconds for the handshake. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Rejects with an unprocessed MeshError TLS_FAILED or WRONG_IDENTITY, or with the signal's reason. */
export async function connectOutside(options: OutsideOptions): Promise<Link> {
  const { socket, where, tls, clock, sessions, protocol, serverName, signal } =
    options;
  try {
    const context = await outsideContext(tls, clock.wall());
    if (signal.aborted) throw signal.reason as Error;
    const { last } = sessions;
    const secure = connect({
      socket,
      secureContext: context.secure,
      rejectUnauthorized: true,
      // It is not asked where a session is resumed: the name is looked at below, each time.
      checkServerIdentity: () => undefined,
      ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
      ...(protocol === undefined ? {} : { ALPNProtocols: [protocol] }),
      ...(last?.context === context ? { session: last.session } : {}),
    });
    secure.disableRenegotiation();
    const link = await handshaken(secure, options, {
      where,
      connected: true,
      judge: () => judged(secure, options, last?.proved),
    });
    keepSessions(secure, options, context, last?.proved);
    return link;
  } catch (thrown) {
    socket.destroy();
    // What was resumed may be what the server no longer takes.
    delete sessions.last;
    if (thrown instanceof MeshError || signal.aborted) throw thrown;
    throw failure("TLS_FAILED", `${where}: ${messageOf(thrown)}`, thrown);
  }
}

/** With TLS 1.3 sessions come after the handshake; with TLS 1.2 one came with it. */
function keepSessions(
  secure: TLSSocket,
  { sessions }: OutsideOptions,
  context: OutsideContext,
  before: X509Certificate | undefined,
): void {
  const proved = provedBy(secure, before);
  const keep = (session: Buffer | undefined): void => {
    if (session !== undefined && proved !== undefined)
      sessions.last = { session, context, proved };
  };
  if (secure.getProtocol() === "TLSv1.2") keep(secure.getSession());
  secure.on("session", keep);
}

/** `before`: with the session that was offered. */
function provedBy(
  secure: TLSSocket,
  before: X509Certificate | undefined,
): X509Certificate | undefined {
  return secure.isSessionReused() ? before : secure.getPeerX509Certificate();
}

/** Every connection is judged, one with a resumed session too: its certificate may have ended meanwhile. */
function judged(
  secure: TLSSocket,
  { where, tls, clock, protocol, serverName }: OutsideOptions,
  before: X509Certificate | undefined,
): Link | MeshError {
  const certificate = provedBy(secure, before);
  if (!secure.authorized || certificate === undefined)
    return failure("TLS_FAILED", `${where}: the server proved nothing`);
  const now = clock.wall();
  if (now > certificate.validToDate.getTime())
    return failure("TLS_FAILED", `${where}: certificate has expired`);
  const names = tls.subjectAltNames ?? [serverName];
  if (!names.some((each) => hasName(certificate, each)))
    return failure(
      "WRONG_IDENTITY",
      `${where}: the server's certificate is not for ${names.join(", ")}`,
    );
  const chosen = secure.alpnProtocol;
  // HTTP/1.1 is what servers speak that know of no choice.
  if (
    protocol !== undefined &&
    chosen !== protocol &&
    (protocol === "h2" || chosen !== false)
  )
    return failure(
      "TLS_FAILED",
      `${where}: the server does not speak ${protocol}`,
    );
  return { socket: secure, protocol: protocol ?? "http/1.1" };
}

/** Names of the subject count for nothing (RFC 9525 6.3), and a wildcard stands for one whole label. */
function hasName(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  if (!name.includes("://"))
    return (
      certificate.checkHost(name, {
        subject: "never",
        partialWildcards: false,
      }) !== undefined
    );
  try {
    return uriNames(certificate).includes(name);
  } catch {
    return false;
  }
}
