/** The port that sidecars call: TLS 1.3 with or without a client certificate, each connection judged once, and handed on with who it is. */
import { constants, createHash, type X509Certificate } from "node:crypto";
import {
  createServer as createTcpServer,
  type Server,
  type Socket,
} from "node:net";
import {
  createServer,
  type Server as TlsServer,
  type TLSSocket,
  type TlsOptions,
} from "node:tls";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { Multimap } from "../../core/multimap.ts";
import { cannotListen, listenOn } from "../../core/listening.ts";
import type { Logger } from "../../core/log.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import { unmapped } from "../../core/text/network.ts";
import type { WallMs } from "../../core/units.ts";
import { watchSource, type Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { rootAbove } from "../../identity/chain.ts";
import { readBinding } from "../../identity/extensions.ts";
import { fingerprintOf, readCertificates } from "../../identity/pem.ts";
import { normalSerial, Revoked } from "../../identity/revoked.ts";
import type { TrustSet } from "../../identity/trust.ts";
import { LiveConnections } from "../../wire/tls/live-connections.ts";
import { UNTIMELY, type Judgement } from "../../identity/svid.ts";
import { judgeSocket, presentedChain } from "../../wire/tls/tls-context.ts";
import { limitHolders, type Holders } from "../holders.ts";
import { Strangers, tupleOf, type StrangerLimits } from "../strangers.ts";
import { Arrivals } from "./arrivals.ts";
import { proofOfPeer, workloadOf, type Peer } from "./peer.ts";

/** Milliseconds that a stranger has for the handshake. */
export const HANDSHAKE_TIMEOUT = 5000;
/** Connections at a time, strangers' included. */
export const MOST_CONNECTIONS = 20_000;
/** Connections of one instance. It needs a stream, a renewal, and their successors; a stolen certificate takes no more than that. */
export const MOST_OF_INSTANCE = 8;
/** Milliseconds. */
const LAST_WORDS = 250;

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** The server's own; taken up at each change, by connections from then on. */
  readonly own: Watch<Credentials>;
  /** Absent: nothing is revoked. */
  readonly revoked?: Watch<Revoked> | undefined;
  readonly trustDomains: readonly string[];
  /** Before the handshake begins. */
  readonly waiting: StrangerLimits;
  /** From then on, until the proof. */
  readonly strangers: StrangerLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Who the connection is was proven on this very socket, and is nowhere else to be looked up: what serves the socket holds it (law 13).
   * Attach to the socket before returning. `arrived`: call it once the caller has what it came for; others wait for it.
   */
  onConnection(socket: TLSSocket, caller: Caller, arrived: () => void): void;
  /** The peer's certificate no longer stands. Its streams hear why; after `LAST_WORDS` its connection ends. */
  onFallen?(peer: Peer, fault: string): void;
}

/** Whose connection it is; or why it is nobody's. `source`: the IP address that it comes from. */
export type Caller =
  | { readonly kind: "peer"; readonly source: string; readonly peer: Peer }
  | {
      /** Its certificate has ended, or has not begun; all else about it is right. It may ask for another, and for nothing else. */
      readonly kind: "untimely";
      readonly source: string;
      readonly peer: Peer;
      readonly reason: string;
      /** Milliseconds since its end, or until its begin. */
      readonly by: number;
    }
  | {
      readonly kind: "stranger";
      readonly source: string;
      readonly reason: string;
    };

/** Resolves when the port is open. Rejects with UserError where it cannot be. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const listener = new Listener(options);
  await listener.open();
  return listener;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #waiting: Strangers;
  readonly #strangers: Strangers;
  readonly #instances: Holders;
  /** Every accepted connection, also those that have not finished their handshake. */
  readonly #accepted = new Set<Socket>();
  readonly #arrivals: Arrivals;
  /** Accepted connections: the four-tuple finds the accepted socket of a TLS socket again (`Strangers`). */
  readonly #byTuple = new Map<string, Socket>();
  /** Connections of peers, by the root of their certificates. */
  readonly #byRoot = new Multimap<string, TLSSocket>();
  readonly #server: Server;
  readonly #tls: TlsServer;
  readonly #leaves: readonly (() => void)[];
  readonly #live: LiveConnections;
  #port = 0;

  constructor(options: ListenerOptions) {
    const { own, waiting, strangers: limits, clock, logger } = options;
    this.#options = options;
    const where = "the push port";
    this.#waiting = new Strangers({ where, limits: waiting, clock, logger });
    this.#strangers = new Strangers({ where, limits, clock, logger });
    this.#instances = limitHolders(MOST_OF_INSTANCE, (instance) =>
      logger.warn(
        { instance },
        `a sidecar holds more than ${MOST_OF_INSTANCE} connections: its oldest was closed`,
      ),
    );
    this.#tls = this.#makeTls(own.value);
    this.#arrivals = new Arrivals({
      clock,
      waits: (raw) => this.#waiting.waits(raw),
      begin: (raw) => this.#begin(raw),
    });
    // Every option again: what is left out falls back to Node's defaults.
    const trust = watchSource<TrustSet>(trustIn(options));
    const look = (): void => trust.set(trustIn(options));
    this.#leaves = [
      own.subscribe((next) => {
        this.#tls.setSecureContext(tlsOptions(next));
        this.#endRetired(next);
      }),
      options.revoked?.subscribe(look) ?? ((): void => undefined),
    ];
    this.#live = new LiveConnections({
      ...{ clock, trust },
      times: () => [clock.wall()],
    });
    // What waits has read once: what else it sends stays with the system.
    this.#server = createTcpServer({ highWaterMark: 1 }, (raw) =>
      this.#accept(raw),
    );
    this.#server.maxConnections = MOST_CONNECTIONS;
  }

  get port(): number {
    return this.#port;
  }

  async open(): Promise<void> {
    const { host, port, clock, logger } = this.#options;
    try {
      const where = { host, port };
      const address = await listenOn(clock, this.#server, where, (error) =>
        logger.warn(
          { reason: error.message },
          "a connection to the push port was not let in",
        ),
      );
      this.#port = address.port;
    } catch (thrown) {
      const what = "enrolment and config push";
      throw cannotListen({ what, host, port, option: "--push" }, thrown);
    }
  }

  async close(): Promise<void> {
    for (const leave of this.#leaves) leave();
    this.#live.close();
    const closed = new Promise<void>((resolve) =>
      this.#server.close(() => resolve()),
    );
    this.#waiting.close();
    this.#strangers.close();
    this.#arrivals.close();
    for (const raw of this.#accepted) raw.destroy();
    await closed;
  }

  #makeTls(own: Credentials): TlsServer {
    const { logger } = this.#options;
    const tls = createServer({
      ...tlsOptions(own),
      handshakeTimeout: HANDSHAKE_TIMEOUT,
    });
    tls.on("secureConnection", (socket) => this.#secured(socket));
    tls.on("tlsClientError", (thrown, socket) => {
      logger.debug(
        { reason: messageOf(thrown), remote: socket.remoteAddress },
        "TLS handshake on the push port failed",
      );
    });
    return tls;
  }

  #accept(raw: Socket): void {
    // Errors are followed by "close", which is what counts here.
    raw.on("error", () => undefined);
    if (!this.#waiting.admit(raw)) return;
    this.#accepted.add(raw);
    const tuple = tupleOf(raw);
    this.#byTuple.set(tuple, raw);
    raw.on("close", () => {
      this.#accepted.delete(raw);
      if (this.#byTuple.get(tuple) === raw) this.#byTuple.delete(tuple);
    });
    this.#arrivals.add(raw);
  }

  #begin(raw: Socket): void {
    this.#waiting.prove(raw);
    if (this.#strangers.admit(raw)) this.#tls.emit("connection", raw);
  }

  #secured(socket: TLSSocket): void {
    const { logger } = this.#options;
    socket.on("error", (thrown) =>
      logger.debug(
        { reason: messageOf(thrown) },
        "connection of a sidecar failed",
      ),
    );
    if (socket.alpnProtocol !== "h2") {
      // Not at once: OpenSSL is still at work on this connection.
      setImmediate(() => socket.destroy());
      return;
    }
    const caller = judge(socket, this.#options);
    if (caller.kind === "peer") this.#proved(socket, caller.peer);
    const raw = this.#byTuple.get(tupleOf(socket));
    this.#options.onConnection(socket, caller, () => {
      if (raw !== undefined) this.#arrivals.over(raw);
    });
  }

  /** A connection ends with the root that it stands on. */
  #endRetired({ trustBundle }: Credentials): void {
    const trusted = new Set(
      readCertificates(trustBundle, "trust bundle").map(fingerprintOf),
    );
    for (const root of [...this.#byRoot.keys()])
      if (!trusted.has(root))
        for (const socket of [...this.#byRoot.get(root)]) socket.destroy();
  }

  #proved(socket: TLSSocket, peer: Peer): void {
    this.#byRoot.add(peer.root, socket);
    socket.on("close", () => this.#byRoot.delete(peer.root, socket));
    const { clock, ...options } = this.#options;
    this.#live.enter(socket, {
      stop(fault) {
        options.onFallen?.(peer, fault);
        socket.on(
          "close",
          clock.after(LAST_WORDS, () => socket.destroy()),
        );
      },
      // Its roots end by themselves, below.
      drain: () => undefined,
      cut: () => socket.destroy(),
    });
    this.#strangers.prove(socket);
    this.#instances.add(`${workloadOf(peer)} ${peer.identity}`, socket);
    // No connection outlives the certificate that it stands on; a clock that jumps cuts nobody off.
    const left = peer.certificateExpiresAt - clock.wall();
    const cancelExpiry = clock.after(left, () => socket.destroy());
    socket.on("close", cancelExpiry);
  }
}

/** Roots end by `#endRetired`: an instance under a retired one is not put out. */
function trustIn({ revoked }: ListenerOptions): TrustSet {
  return { trustBundle: "", revoked: revoked?.value ?? Revoked.NONE };
}

function tlsOptions(own: Credentials): TlsOptions {
  return {
    // With its root, so that a first contact that knows the root by fingerprint alone finds it.
    cert: `${own.certificateChain}\n${own.trustBundle}`,
    key: own.privateKey,
    ca: own.trustBundle,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    ecdhCurve: "X25519MLKEM768:X25519:P-256",
    ALPNProtocols: ["h2"],
    // A resumed session would come without a judgement.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

function judge(
  socket: TLSSocket,
  { trustDomains, own, revoked, clock }: ListenerOptions,
): Caller {
  const source = unmapped(socket.remoteAddress ?? "");
  const now = clock.wall();
  const { trustBundle } = own.value;
  // Each reading of it makes and parses the certificates anew.
  const chain = presentedChain(socket);
  const judgedAt = (moment: WallMs): Judgement =>
    judgeSocket(
      socket,
      trustDomains,
      // By the clock of now, below.
      { trustBundle, revoked: Revoked.NONE, times: [moment] },
      chain,
    );
  const workload = { socket, chain, trustBundle, source };
  const standing = (caller: Caller): Caller => {
    if (caller.kind === "stranger") return caller;
    const fault = revoked?.value.faultOf(proofOfPeer(caller.peer), [now]);
    return fault === undefined
      ? caller
      : { kind: "stranger", source, reason: `revoked: ${fault}` };
  };
  const verdict = judgedAt(now);
  if (verdict.ok)
    return standing(workloadCaller(workload, verdict, { kind: "peer" }));
  const reason = `${verdict.reason}: ${verdict.detail}`;
  if (!UNTIMELY.has(verdict.reason))
    return { kind: "stranger", source, reason };
  const then = momentOfValidity(chain, now);
  const late = judgedAt(then);
  return late.ok
    ? standing(
        workloadCaller(workload, late, {
          kind: "untimely",
          reason,
          by: Math.abs(now - then),
        }),
      )
    : { kind: "stranger", source, reason };
}

/** The moment nearest to `now` at which the whole chain is valid, if there is one. */
function momentOfValidity(
  chain: readonly X509Certificate[],
  now: WallMs,
): WallMs {
  const from = chain.map(({ validFromDate }) => validFromDate.getTime());
  const to = chain.map(({ validToDate }) => validToDate.getTime());
  return Math.min(Math.max(now, ...from), ...to);
}

function workloadCaller(
  {
    socket,
    chain,
    trustBundle,
    source,
  }: {
    readonly socket: TLSSocket;
    readonly chain: readonly X509Certificate[];
    readonly trustBundle: string;
    readonly source: string;
  },
  { id, uri }: Extract<Judgement, { ok: true }>,
  standing:
    | { readonly kind: "peer" }
    | {
        readonly kind: "untimely";
        readonly reason: string;
        readonly by: number;
      },
): Caller {
  const [leaf] = chain;
  const root = rootAbove(chain, readCertificates(trustBundle, "trust bundle"));
  const binding = leaf === undefined ? undefined : readBinding(leaf);
  if (leaf === undefined || binding === undefined || root === undefined)
    return {
      kind: "stranger",
      source,
      reason:
        "the certificate is bound to no workload instance: enrol with a token to get one that is",
    };
  const peer: Peer = {
    identity: uri,
    namespace: id.namespace,
    serviceAccount: id.serviceAccount,
    name: binding.name,
    labels: binding.labels,
    addresses: binding.addresses ?? [],
    key: createHash("sha256")
      .update(leaf.publicKey.export({ type: "spki", format: "der" }))
      .digest("hex"),
    serial: normalSerial(leaf.serialNumber),
    certificateNotBefore: leaf.validFromDate.getTime(),
    root: fingerprintOf(root),
    certificateExpiresAt: leaf.validToDate.getTime(),
    source,
    address: formatHostPort(source, socket.remotePort ?? 0),
  };
  return { ...standing, source, peer };
}
