/**
 * The called end of mutual TLS between sidecars: a listener that hands over no connection before the peer's identity is judged.
 *
 * ```
 *   TCP accept → bounded wait for the handshake → OpenSSL's verdict → ours → onConnection
 * ```
 * Node's own judgement is off: it looks for host names, which SVIDs do not have (law 5).
 */
import type { X509Certificate } from "node:crypto";
import {
  createServer as createTcpServer,
  type AddressInfo,
  type Server as TcpServer,
  type Socket,
} from "node:net";
import {
  createServer as createTlsServer,
  type Server as TlsServer,
  type TLSSocket,
} from "node:tls";
import type { Clock } from "../../core/clock.ts";
import { messageOf, systemCode } from "../../core/errors.ts";
import { listenOn, type ListenWhere } from "../../core/listening.ts";
import type { WallMs } from "../../core/units.ts";
import type { Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type { SpiffeId } from "../../identity/spiffe.ts";
import type { JudgementReason } from "../../identity/svid.ts";
import type { Revoked } from "../../identity/revoked.ts";
import { trustOf, validFor } from "../../identity/trust.ts";
import type { Protocol } from "../exchange.ts";
import { canonicalServerName } from "./client-hello.ts";
import { endWhenPeerIsGone } from "./dead-peer.ts";
import {
  handshakeList,
  remoteOf,
  type HandshakeEnd,
  type Handshakes,
  type Remote,
} from "./handshakes.ts";
import {
  domainsLike,
  ignore,
  judgeSocket,
  linkServerOptions,
  presentedChain,
  protocolOf,
  reasonOf,
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
  /** The host that the peer's handshake names; undefined where it names none. */
  readonly serverName: string | undefined;
  /** Milliseconds to the end of the peer's certificate or of our own, whichever comes first. */
  readonly lasts: number;
}

export interface LinkListenerOptions {
  /** Whether an accepted connection may stay; false where it is closed already. Asked before anything is spent on it. */
  onAccept?(raw: Socket): boolean;
  /** The socket listens. */
  onListening?(listener: TcpServer): void;
  /** Each handshake uses the present value; connections that exist stay as they are. */
  readonly credentials: Watch<Credentials | undefined>;
  /** What handshakes are refused for besides; absent: nothing is. */
  readonly live?: { readonly revoked: Revoked } | undefined;
  /** Trust domains that are one and the same, if the own is among them; absent: none. */
  readonly equalDomains?: () => readonly string[];
  readonly clock: Clock;
  /**
   * The peer is judged and no byte was read yet. Attach to the socket before returning: from then on it is the caller's, errors included. Must not throw.
   */
  onConnection(socket: TLSSocket, link: LinkPeer): void;
  /** The connection is closed already; for counter and log. Must not throw. */
  onRefused(reason: LinkRefusal, detail: string, remote: Remote): void;
  /** Milliseconds for a whole handshake: 5,000. */
  readonly handshakeTimeout?: number;
  /** Handshakes in flight at one time: 1,000. */
  readonly maxHandshakes?: number;
  /** Handshakes from one address (IPv6: one /64): 250. */
  readonly maxHandshakesFromSource?: number;
}

export interface LinkListener {
  /** Resolves with the address once it listens; rejects as `net.Server` does. May be called for several. */
  listen(options: ListenWhere): Promise<AddressInfo>;
  /** Takes a connection that was accepted elsewhere (a captured one, bytes put back after a look at them). */
  accept(raw: Socket): void;
  readonly handshakes: number;
  /** Stops listening. Handshakes in flight go on: their clients may send a request together with its last message. */
  stop(): void;
  /** Stops listening and ends the handshakes in flight; connections handed over live on. */
  close(): void;
}

export const HANDSHAKE_TIMEOUT: number = 5000;
export const MAX_HANDSHAKES: number = 1000;
export const HANDSHAKES_FROM_SOURCE: number = 250;

/** OpenSSL's words for first bytes that are not a TLS record. */
const PLAINTEXT: ReadonlySet<string> = new Set([
  "ERR_SSL_HTTP_REQUEST",
  "ERR_SSL_HTTPS_PROXY_REQUEST",
  "ERR_SSL_WRONG_VERSION_NUMBER",
  "ERR_SSL_UNKNOWN_PROTOCOL",
  "ERR_SSL_PACKET_LENGTH_TOO_LONG",
]);

export function linkListener(options: LinkListenerOptions): LinkListener {
  return new LinkServer(options);
}

class LinkServer implements LinkListener {
  readonly #options: LinkListenerOptions;
  readonly #handshakes: Handshakes;
  readonly #listening = new Set<TcpServer>();
  #tls: TlsServer | undefined;
  /** What the TLS server was given last. */
  #loaded: Credentials | undefined;
  #closed = false;

  constructor(options: LinkListenerOptions) {
    this.#options = options;
    this.#handshakes = handshakeList({
      clock: options.clock,
      timeout: options.handshakeTimeout ?? HANDSHAKE_TIMEOUT,
      max: options.maxHandshakes ?? MAX_HANDSHAKES,
      maxFromSource: options.maxHandshakesFromSource ?? HANDSHAKES_FROM_SOURCE,
      onEnd: (reason, detail, remote) =>
        options.onRefused(reason, detail, remote),
    });
  }

  get handshakes(): number {
    return this.#handshakes.size;
  }

  async listen(where: ListenWhere): Promise<AddressInfo> {
    const options = this.#options;
    const tcp = createTcpServer({ noDelay: true }, (raw) => this.accept(raw));
    const address = await listenOn(options.clock, tcp, where, ({ message }) =>
      options.onRefused("accept failed", message, NOWHERE),
    );
    this.#listening.add(tcp);
    options.onListening?.(tcp);
    return address;
  }

  stop(): void {
    for (const tcp of this.#listening) tcp.close();
    this.#listening.clear();
  }

  close(): void {
    this.#closed = true;
    this.stop();
    this.#handshakes.destroy();
  }

  accept(raw: Socket): void {
    // Errors are followed by "close", which is what counts here.
    raw.on("error", ignore);
    if (this.#options.onAccept?.(raw) === false) return;
    const remote = remoteOf(raw);
    const present = this.#options.credentials.value;
    if (this.#closed) {
      raw.destroy();
      return;
    }
    if (present === undefined) {
      this.#refuse(raw, remote, "no credentials", "this end has none yet");
      return;
    }
    let acceptor: TlsServer;
    try {
      acceptor = this.#acceptor(present);
    } catch (error) {
      const detail = `they cannot be used: ${messageOf(error)}`;
      this.#refuse(raw, remote, "no credentials", detail);
      return;
    }
    if (remote.address === "") {
      const detail = "closed before it was taken";
      this.#refuse(raw, remote, "handshake abandoned", detail);
      return;
    }
    if (!this.#handshakes.add(raw)) {
      const detail = `${this.#handshakes.size} are in progress`;
      this.#refuse(raw, remote, "too many handshakes", detail);
      return;
    }
    raw.setNoDelay(true);
    acceptor.emit("connection", raw);
  }

  /** The TLS server with the present credentials in it. */
  #acceptor(present: Credentials): TlsServer {
    if (this.#tls === undefined) {
      this.#tls = createTlsServer(linkServerOptions(present));
      this.#tls.on("secureConnection", (socket) => this.#onSecure(socket));
      this.#tls.on("tlsClientError", (error, socket) =>
        this.#onHandshakeError(error, socket),
      );
    } else if (this.#loaded !== present) {
      this.#tls.setSecureContext(linkServerOptions(present));
    }
    this.#loaded = present;
    return this.#tls;
  }

  #onHandshakeError(error: Error, socket: TLSSocket): void {
    const handshake = this.#handshakes.take(socket);
    if (handshake === undefined) return;
    const { raw, remote } = handshake;
    if (PLAINTEXT.has(systemCode(error) ?? "")) {
      const detail = "the first bytes are not a TLS handshake";
      this.#refuse(raw, remote, "plaintext", detail);
    } else this.#refuse(raw, remote, "handshake failed", reasonOf(error));
  }

  #onSecure(socket: TLSSocket): void {
    const handshake = this.#handshakes.take(socket);
    if (handshake === undefined) {
      socket.destroy();
      return;
    }
    // OpenSSL is still at work on this connection when Node reports its handshake, and so would be whatever ran in microtasks after it:
    // Node frees the TLS state at once where the socket beneath is destroyed already, and the process would end in a segmentation fault.
    setImmediate(() => this.#judge(socket, handshake.remote));
  }

  #judge(socket: TLSSocket, remote: Remote): void {
    const loaded = this.#loaded;
    if (this.#closed || loaded === undefined) {
      socket.destroy();
      return;
    }
    if (socket.destroyed) {
      const detail = "the peer closed right after the handshake";
      this.#refuse(socket, remote, "handshake abandoned", detail);
      return;
    }
    const { clock, live, equalDomains } = this.#options;
    const trust = trustOf(loaded, clock, live?.revoked);
    // Asked for once: OpenSSL parses the whole chain anew for each time.
    const presented = presentedChain(socket);
    const judgement = judgeSocket(
      socket,
      domainsLike(loaded.spiffeId.trustDomain, equalDomains?.()),
      trust,
      presented,
    );
    if (!judgement.ok) {
      this.#refuse(socket, remote, judgement.reason, judgement.detail);
      return;
    }
    const protocol = protocolOf(socket);
    if (protocol === undefined) {
      const detail = "the peer offered none by ALPN";
      this.#refuse(socket, remote, "no protocol in common", detail);
      return;
    }
    const { id, uri } = judgement;
    const lasts = Math.min(
      lifeLeft(presented[0], trust.times),
      validFor(loaded, trust.times),
    );
    endWhenPeerIsGone(socket);
    const { servername } = socket;
    const serverName =
      typeof servername === "string"
        ? canonicalServerName(servername)
        : undefined;
    this.#options.onConnection(socket, {
      ...{ peer: id, uri, protocol, serverName, lasts },
    });
  }

  #refuse(
    socket: Socket,
    remote: Remote,
    reason: LinkRefusal,
    detail: string,
  ): void {
    socket.destroy();
    this.#options.onRefused(reason, detail, remote);
  }
}

/** As `validFor`, of a certificate. */
function lifeLeft(
  certificate: X509Certificate | undefined,
  times: readonly WallMs[],
): number {
  if (certificate === undefined) return 0;
  const { validFromDate, validToDate } = certificate;
  const notBefore = validFromDate.getTime();
  return validFor({ notBefore, notAfter: validToDate.getTime() }, times);
}

const NOWHERE: Remote = { address: "", port: 0 };
