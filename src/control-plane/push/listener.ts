/** The port that sidecars call: TLS 1.3 with or without a client certificate, each connection judged once and remembered until it closes. */
import { constants, createHash, type X509Certificate } from "node:crypto";
import type { AddressInfo, Socket } from "node:net";
import {
  createServer,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from "node:tls";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { cannotListen } from "../../core/listening.ts";
import type { Logger } from "../../core/log.ts";
import type { Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { readBinding } from "../../identity/extensions.ts";
import { alarm } from "../../push/alarm.ts";
import { judgeSocket } from "../../wire/tls-context.ts";
import type { Peer } from "./peer.ts";

/** Milliseconds that a stranger has for the handshake. */
const HANDSHAKE_TIMEOUT = 5000;
/** Connections at a time, strangers' included. */
const MOST_CONNECTIONS = 20_000;

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** The server's own; taken up at each change, by connections from then on. */
  readonly own: Watch<Credentials>;
  readonly trustDomains: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onConnection: (socket: TLSSocket) => void;
}

/** Whose connection it is; or why it is nobody's. */
export type Caller =
  | { readonly kind: "peer"; readonly peer: Peer }
  | { readonly kind: "stranger"; readonly reason: string };

export interface Listener {
  readonly port: number;
  /** By the connection's "ADDRESS:PORT", which is one connection's alone for as long as it is open. */
  caller(address: string): Caller;
  close(): Promise<void>;
}

export async function listen(options: ListenerOptions): Promise<Listener> {
  const { clock, logger } = options;
  const callers = new Map<string, Caller>();
  /** Every connection, also those that have not finished their handshake. */
  const sockets = new Set<Socket>();
  const track = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  };
  const server = createServer({
    ...tlsOptions(options.own.value),
    handshakeTimeout: HANDSHAKE_TIMEOUT,
  });
  server.maxConnections = MOST_CONNECTIONS;
  // Every option again: what is left out falls back to Node's defaults.
  const leaveOwn = options.own.subscribe((own) =>
    server.setSecureContext(tlsOptions(own)),
  );

  server.on("connection", track);
  server.on("secureConnection", (socket) => {
    track(socket);
    socket.on("error", (thrown) =>
      logger.debug(
        { reason: messageOf(thrown) },
        "connection of a sidecar failed",
      ),
    );
    if (socket.alpnProtocol !== "h2") {
      socket.destroy();
      return;
    }
    const address = `${socket.remoteAddress ?? ""}:${socket.remotePort ?? 0}`;
    const caller = judge(socket, address, options);
    callers.set(address, caller);
    // No connection outlives the certificate that it stands on.
    const cancelExpiry =
      caller.kind === "peer"
        ? alarm(clock, caller.peer.certificateExpiresAt, () => socket.destroy())
        : () => undefined;
    socket.on("close", () => {
      cancelExpiry();
      if (callers.get(address) === caller) callers.delete(address);
    });
    options.onConnection(socket);
  });
  server.on("tlsClientError", (thrown, socket) => {
    logger.debug(
      { reason: messageOf(thrown), remote: socket.remoteAddress },
      "TLS handshake on the push port failed",
    );
  });

  const port = await bind(server, options);
  return {
    port,
    caller: (address) =>
      callers.get(address) ?? {
        kind: "stranger",
        reason: "the connection is gone",
      },
    async close() {
      leaveOwn();
      const closed = new Promise<void>((resolve) =>
        server.close(() => resolve()),
      );
      for (const socket of sockets) socket.destroy();
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
  address: string,
  { trustDomains, clock }: ListenerOptions,
): Caller {
  const leaf: X509Certificate | undefined = socket.getPeerX509Certificate();
  const judgement = judgeSocket(socket, trustDomains, clock.wall());
  if (!judgement.ok || leaf === undefined)
    return {
      kind: "stranger",
      reason: judgement.ok
        ? "no certificate"
        : `${judgement.reason}: ${judgement.detail}`,
    };
  const binding = readBinding(leaf);
  if (binding === undefined)
    return {
      kind: "stranger",
      reason:
        "the certificate is bound to no workload instance: enrol with a token to get one that is",
    };
  return {
    kind: "peer",
    peer: {
      identity: judgement.uri,
      namespace: judgement.id.namespace,
      serviceAccount: judgement.id.serviceAccount,
      name: binding.name,
      labels: binding.labels,
      key: createHash("sha256")
        .update(leaf.publicKey.export({ type: "spki", format: "der" }))
        .digest("hex"),
      certificateExpiresAt: leaf.validToDate.getTime(),
      address,
    },
  };
}
