/** The port that sidecars call: TLS 1.3 with or without a client certificate, each connection judged once, and handed on with who it is. */
import { constants, createHash } from "node:crypto";
import {
  createServer as createTcpServer,
  type AddressInfo,
  type Server,
  type Socket,
} from "node:net";
import { createServer, type TLSSocket, type TlsOptions } from "node:tls";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { cannotListen } from "../../core/listening.ts";
import type { Logger } from "../../core/log.ts";
import { unmapped } from "../../core/text/network.ts";
import type { Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { readBinding } from "../../identity/extensions.ts";
import { alarm } from "../../push/alarm.ts";
import { judgeSocket } from "../../wire/tls/tls-context.ts";
import { limitHolders } from "../holders.ts";
import { limitStrangers, type StrangerLimits } from "../strangers.ts";
import { workloadOf, type Peer } from "./peer.ts";

/** Milliseconds that a stranger has for the handshake. */
export const HANDSHAKE_TIMEOUT = 5000;
/** Connections at a time, strangers' included. */
export const MOST_CONNECTIONS = 20_000;
/** Connections of one instance. It needs a stream, a renewal, and their successors; a stolen certificate takes no more than that. */
export const MOST_OF_INSTANCE = 8;

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** The server's own; taken up at each change, by connections from then on. */
  readonly own: Watch<Credentials>;
  readonly trustDomains: readonly string[];
  readonly strangers: StrangerLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Who the connection is was proven on this very socket, and is nowhere else to be looked up: what serves the socket holds it (law 13).
   * Attach to the socket before returning.
   */
  onConnection(socket: TLSSocket, caller: Caller): void;
}

/** Whose connection it is; or why it is nobody's. `source`: the IP address that it comes from. */
export type Caller =
  | { readonly kind: "peer"; readonly source: string; readonly peer: Peer }
  | {
      readonly kind: "stranger";
      readonly source: string;
      readonly reason: string;
    };

export interface Listener {
  readonly port: number;
  close(): Promise<void>;
}

export async function listen(options: ListenerOptions): Promise<Listener> {
  const { clock, logger } = options;
  const strangers = limitStrangers({
    where: "the push port",
    limits: options.strangers,
    clock,
    logger,
  });
  const instances = limitHolders(MOST_OF_INSTANCE, (instance) =>
    logger.warn(
      { instance },
      `a sidecar holds more than ${MOST_OF_INSTANCE} connections: its oldest was closed`,
    ),
  );
  /** Every accepted connection, also those that have not finished their handshake. */
  const accepted = new Set<Socket>();
  const tls = createServer({
    ...tlsOptions(options.own.value),
    handshakeTimeout: HANDSHAKE_TIMEOUT,
  });
  // Every option again: what is left out falls back to Node's defaults.
  const leaveOwn = options.own.subscribe((own) =>
    tls.setSecureContext(tlsOptions(own)),
  );

  const accept = (raw: Socket): void => {
    // Errors are followed by "close", which is what counts here.
    raw.on("error", () => undefined);
    if (!strangers.admit(raw)) return;
    accepted.add(raw);
    raw.on("close", () => accepted.delete(raw));
    tls.emit("connection", raw);
  };

  tls.on("secureConnection", (socket) => {
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
    const caller = judge(socket, options);
    if (caller.kind === "peer") {
      strangers.prove(socket);
      const { peer } = caller;
      instances.add(`${workloadOf(peer)} ${peer.identity}`, socket);
      // No connection outlives the certificate that it stands on.
      const cancelExpiry = alarm(clock, peer.certificateExpiresAt, () =>
        socket.destroy(),
      );
      socket.on("close", cancelExpiry);
    }
    options.onConnection(socket, caller);
  });
  tls.on("tlsClientError", (thrown, socket) => {
    logger.debug(
      { reason: messageOf(thrown), remote: socket.remoteAddress },
      "TLS handshake on the push port failed",
    );
  });

  const server = createTcpServer(accept);
  server.maxConnections = MOST_CONNECTIONS;
  const port = await bind(server, options);
  return {
    port,
    async close() {
      leaveOwn();
      const closed = new Promise<void>((resolve) =>
        server.close(() => resolve()),
      );
      strangers.close();
      for (const raw of accepted) raw.destroy();
      await closed;
    },
  };
}

function bind(
  server: Server,
  { host, port }: ListenerOptions,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (thrown: Error): void =>
      reject(
        cannotListen(
          {
            what: "enrolment and config push",
            host,
            port,
            option: "--push",
          },
          thrown,
        ),
      );
    server.once("error", fail);
    server.listen(port, host, () => {
      server.off("error", fail);
      resolve((server.address() as AddressInfo).port);
    });
  });
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
  { trustDomains, clock }: ListenerOptions,
): Caller {
  const source = unmapped(socket.remoteAddress ?? "");
  const stranger = (reason: string): Caller => ({
    kind: "stranger",
    source,
    reason,
  });
  const judgement = judgeSocket(socket, trustDomains, clock.wall());
  if (!judgement.ok)
    return stranger(`${judgement.reason}: ${judgement.detail}`);
  const leaf = socket.getPeerX509Certificate();
  const binding = leaf === undefined ? undefined : readBinding(leaf);
  if (leaf === undefined || binding === undefined)
    return stranger(
      "the certificate is bound to no workload instance: enrol with a token to get one that is",
    );
  return {
    kind: "peer",
    source,
    peer: {
      identity: judgement.uri,
      namespace: judgement.id.namespace,
      serviceAccount: judgement.id.serviceAccount,
      name: binding.name,
      labels: binding.labels,
      addresses: binding.addresses ?? [],
      key: createHash("sha256")
        .update(leaf.publicKey.export({ type: "spki", format: "der" }))
        .digest("hex"),
      certificateExpiresAt: leaf.validToDate.getTime(),
      source,
      address: `${source}:${socket.remotePort ?? 0}`,
    },
  };
}
