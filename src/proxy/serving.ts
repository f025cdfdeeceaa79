/** The server-side connections of the proxy: a codec on each, a bound on their number, and one way to drain or end them all. */
import type { Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type {
  Protocol,
  ServerConnection,
  ServerConnectionInfo,
  ServerHandler,
} from "../wire/exchange.ts";
import { serveHttp1 } from "../wire/http1/server.ts";
import { serveHttp2 } from "../wire/http2/server.ts";
import type { Meters } from "./meters.ts";
import { SocketStream } from "./tunnel.ts";

/** Connections that callers may hold open at most: each costs memory before it says a word (law 10). */
const MAX_CONNECTIONS = 16_384;

export interface Serving {
  /** False where the bound is reached; the socket is closed then. Ask before anything else is done with an accepted socket. */
  admit(socket: Socket, listener: string): boolean;
  /** HTTP on a connection that was admitted. */
  http(
    socket: Socket,
    protocol: Protocol,
    info: ServerConnectionInfo,
    handler: ServerHandler,
    listener: string,
  ): ServerConnection;
  /** Bytes on a connection that was admitted, as one CONNECT to `authority`. */
  bytes(
    socket: Socket,
    authority: string,
    info: ServerConnectionInfo,
    handler: ServerHandler,
  ): void;
  /** Turns a connection away, with a counter and a log line that say why. */
  turnAway(
    socket: Socket,
    listener: string,
    reason: string,
    detail: string,
  ): void;
  /** Counts and tells of a connection that was turned away by someone else. */
  refused(
    listener: string,
    reason: string,
    detail: string,
    remoteAddress: string | undefined,
    remotePort: number | undefined,
  ): void;
  /** Takes no new requests on the connections of `listener` (GOAWAY, Connection: close). */
  drain(isConcerned: (listener: string) => boolean): void;
  readonly connections: number;
  /** Connections of HTTP that are open: one that is drained is among them until its last round trip is over. */
  open(isConcerned: (listener: string) => boolean): number;
  destroy(): void;
}

export interface ServingOptions {
  readonly clock: Clock;
  readonly meters: Meters;
  readonly logger: Logger;
  readonly maxConnections?: number;
}

export function makeServing(options: ServingOptions): Serving {
  const { clock, meters, logger } = options;
  const maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
  const sockets = new Set<Socket>();
  const served = new Map<ServerConnection, string>();

  const refused: Serving["refused"] = (
    listener,
    reason,
    detail,
    remoteAddress,
    remotePort,
  ) => {
    meters.refused.with(listener, reason).add();
    logger.warn(
      { listener, reason, detail, remoteAddress, remotePort },
      "connection refused",
    );
  };
  const turnAway: Serving["turnAway"] = (socket, listener, reason, detail) => {
    const { remoteAddress, remotePort } = socket;
    socket.destroy();
    refused(listener, reason, detail, remoteAddress, remotePort);
  };

  return {
    admit(socket, listener) {
      // Whoever reads the socket later has listeners of his own; until then an error must not end the process.
      socket.on("error", ignore);
      if (sockets.size >= maxConnections) {
        turnAway(
          socket,
          listener,
          "too many connections",
          `${sockets.size} are open`,
        );
        return false;
      }
      sockets.add(socket);
      const gauge = meters.connections.with(listener);
      gauge.add(1);
      socket.on("close", () => {
        sockets.delete(socket);
        gauge.add(-1);
      });
      return true;
    },
    http(socket, protocol, info, handler, listener) {
      const withRefusals: ServerHandler = {
        request: (stream) => handler.request(stream),
        refused(code, detail) {
          meters.refused.with(listener, code).add();
          logger.warn(
            {
              listener,
              reason: code,
              detail,
              remoteAddress: info.remoteAddress,
              peer: info.peer,
            },
            "request refused",
          );
        },
      };
      const connection =
        protocol === "h2"
          ? serveHttp2(socket, { clock, info }, withRefusals)
          : serveHttp1(socket, { clock, info }, withRefusals);
      served.set(connection, listener);
      socket.on("close", () => served.delete(connection));
      return connection;
    },
    bytes(socket, authority, info, handler) {
      handler.request(new SocketStream(socket, authority, info));
    },
    turnAway,
    refused,
    drain(isConcerned) {
      for (const [connection, listener] of [...served])
        if (isConcerned(listener)) connection.drain();
    },
    get connections() {
      return sockets.size;
    },
    open(isConcerned) {
      let count = 0;
      for (const listener of served.values())
        if (isConcerned(listener)) count += 1;
      return count;
    },
    destroy() {
      for (const connection of [...served.keys()]) connection.destroy();
      for (const socket of [...sockets]) socket.destroy();
    },
  };
}

function ignore(): void {
  // An error is followed by "close", which counts.
}
