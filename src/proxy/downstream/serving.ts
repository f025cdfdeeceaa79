/** The server-side connections of the proxy: a codec on each, bounds on their number, what they hold, and one way to drain or end them all. */
import type { Server, Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Commons } from "../../core/shared/shared-state.ts";
import type { Logger } from "../../core/log.ts";
import type { Deadlines } from "../../core/deadlines.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { Buffers } from "../../wire/buffers.ts";
import type {
  Protocol,
  ServerConnection,
  ServerConnectionInfo,
  ServerHandler,
  WorkerPlace,
} from "../../wire/exchange.ts";
import { serveHttp1 } from "../../wire/http1/server.ts";
import { SHARED_LIMITS } from "../../wire/http2/limits.ts";
import { serveHttp2 } from "../../wire/http2/server.ts";
import { networkOf } from "../../core/text/network.ts";
import { countConnections } from "./connection-counts.ts";
import { IDENTITY_SHARE, resolveLimits, type SidecarLimits } from "./limits.ts";
import type { Level } from "./memory-pressure.ts";
import type { Meters } from "../../telemetry/meters.ts";
import { makeRefusalLog } from "./refusal-log.ts";
import { filterSources } from "./source-filter.ts";
import { trackSources } from "./sources.ts";
import { SocketStream } from "../../wire/tcp.ts";

export interface Serving {
  /** Keeps sources that are turned away, and knock all the time, from a listener that others than this machine reach. */
  guard(listener: Server): void;
  /** False where a bound is reached; the socket is closed then. Ask before anything else is done with an accepted socket. */
  admit(socket: Socket, listener: string): boolean;
  /** Counts an admitted connection for the identity that it proved; false, and the socket is closed, where that has too many. */
  identify(socket: Socket, listener: string, identity: SpiffeUri): boolean;
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
  /** From level 1 on no connection is kept alive, from level 2 on none is taken. */
  overloaded(level: Level): void;
  readonly connections: number;
  /** Breaks off up to `most` whole responses of which nothing was taken for `ms`; gives how many. Looks at each connection. */
  shed(ms: number, most: number): number;
  /** Connections of HTTP that are open: one that is drained is among them until its last round trip is over. */
  open(isConcerned: (listener: string) => boolean): number;
  destroy(): void;
}

export interface ServingOptions {
  readonly clock: Clock;
  readonly meters: Meters;
  readonly logger: Logger;
  readonly limits?: SidecarLimits;
  /** What the proxy holds in all; absent: no bound. */
  readonly buffers?: Buffers | undefined;
  /** What the connections wait for; absent: each has a timer of its own. */
  readonly deadlines?: Deadlines | undefined;
  /** Said to the sidecars that call, where this process has several workers. */
  readonly place?: WorkerPlace | undefined;
  /** What bounds the connections of all workers together; absent: this one is alone. */
  readonly commons?: Commons;
}

/** A connection of HTTP. */
interface Served {
  readonly listener: string;
  readonly multiplexed: boolean;
}

/** Handshakes that came to nothing for want of something here. */
const OURS: ReadonlySet<string> = new Set([
  "no credentials",
  "accept failed",
  "too many handshakes",
]);

/** Why a source is turned away, for the log. */
const TURNED_AWAY =
  "too many of its connections were ended for what they sent, in the last seconds";

/** Milliseconds between two looks at what the log left out. */
const CATCH_UP = 1000;

/** Callers there are those of this machine: one application, which may have as many connections as there is room for. */
const LOCAL: ReadonlySet<string> = new Set(["outbound", "upstream"]);

export function makeServing(options: ServingOptions): Serving {
  const { clock, meters, logger } = options;
  const limits = options.limits ?? resolveLimits();
  const { place } = options;
  const { buffers, deadlines } = options;
  // On the link, and from the own application, the streams of many meet: some that stand still do not stop the others.
  const link = {
    limits: { ...SHARED_LIMITS, idleTimeout: limits.idleLink },
    ...(place === undefined ? {} : { place }),
  };
  const own = { limits: SHARED_LIMITS };
  const counts = countConnections(limits, options.commons);
  const sources = trackSources(clock, limits);
  const filter = filterSources(clock);
  const log = makeRefusalLog(logger, clock);
  const sockets = new Set<Socket>();
  const served = new Map<ServerConnection, Served>();
  let level: Level = 0;
  let stopCatchUp: Cancel | undefined;

  const refused: Serving["refused"] = (
    listener,
    reason,
    detail,
    remoteAddress,
    remotePort,
  ) => {
    meters.refused.with(listener, reason).add();
    log.warn("connection refused", reason, {
      listener,
      detail,
      remoteAddress,
      remotePort,
    });
  };
  const turnAway: Serving["turnAway"] = (socket, listener, reason, detail) => {
    const { remoteAddress, remotePort } = socket;
    socket.destroy();
    refused(listener, reason, detail, remoteAddress, remotePort);
  };

  const catchUp = (): void => {
    log.catchUp();
    if (sockets.size > 0) return;
    stopCatchUp?.();
    stopCatchUp = undefined;
  };

  const knocked = (listener: string, source: string): void => {
    if (!filter.knocked(source, sources.outUntil(source))) return;
    const detail = "it keeps connecting while it is turned away";
    refused(listener, "source dropped", detail, source, undefined);
  };

  return {
    guard: (listener) => filter.guard(listener),
    admit(socket, listener) {
      // The later reader of the socket has its own listeners. Until then an error must not end the process.
      socket.on("error", ignore);
      stopCatchUp ??= clock.every(CATCH_UP, catchUp);
      if (level >= 2) {
        turnAway(socket, listener, "overloaded", "memory runs short");
        return false;
      }
      const address = LOCAL.has(listener)
        ? undefined
        : (socket.remoteAddress ?? "");
      const source = address === undefined ? undefined : networkOf(address);
      if (source !== undefined && !sources.admits(source)) {
        turnAway(socket, listener, "source turned away", TURNED_AWAY);
        knocked(listener, source);
        return false;
      }
      const excess = counts.add(listener, address);
      if (excess !== undefined) {
        turnAway(socket, listener, excess.reason, excess.detail);
        return false;
      }
      sockets.add(socket);
      const gauge = meters.connections.with(listener);
      gauge.add(1);
      socket.on("close", () => {
        sockets.delete(socket);
        counts.remove(listener, address);
        gauge.add(-1);
      });
      return true;
    },
    identify(socket, listener, identity) {
      if (!sources.admits(identity)) {
        const detail = `${TURNED_AWAY}: ${identity}`;
        turnAway(socket, listener, "source turned away", detail);
        sources.handshakeFailed(networkOf(socket.remoteAddress ?? ""));
        return false;
      }
      const excess = counts.addIdentity(identity);
      if (excess !== undefined) {
        const { reason, detail } = excess;
        turnAway(socket, listener, reason, `${detail}: ${identity}`);
        return false;
      }
      socket.on("close", () => counts.removeIdentity(identity));
      return true;
    },
    http(socket, protocol, info, handler, listener) {
      const multiplexed = protocol === "h2";
      const told: ServerHandler = {
        request(stream) {
          // HTTP/2 was told when the level was entered.
          if (level > 0 && !multiplexed) connection.drain();
          handler.request(stream);
        },
        refused(code, detail) {
          meters.refused.with(listener, code).add();
          log.warn("request refused", code, {
            listener,
            detail,
            remoteAddress: info.remoteAddress,
            peer: info.peer,
          });
        },
      };
      const name = info.peer ?? networkOf(info.remoteAddress);
      const source = LOCAL.has(listener)
        ? undefined
        : sources.enter(name, info.peer === undefined ? 1 : IDENTITY_SHARE);
      const common = {
        clock,
        info,
        source,
        buffers,
        deadlines,
        onLimit: (limit: string) => meters.limits.with(listener, limit).add(),
      };
      const connection = !multiplexed
        ? serveHttp1(socket, common, told)
        : serveHttp2(
            socket,
            {
              ...common,
              ...(info.peer !== undefined
                ? link
                : LOCAL.has(listener)
                  ? own
                  : {}),
            },
            told,
          );
      served.set(connection, { listener, multiplexed });
      socket.on("close", () => {
        served.delete(connection);
        if (source !== undefined) sources.leave(name);
      });
      return connection;
    },
    bytes(socket, authority, info, handler) {
      const stream = new SocketStream(socket, authority, info, buffers);
      handler.request(stream);
    },
    turnAway,
    refused(listener, reason, detail, remoteAddress, remotePort) {
      if (!OURS.has(reason) && remoteAddress !== undefined)
        sources.handshakeFailed(networkOf(remoteAddress));
      refused(listener, reason, detail, remoteAddress, remotePort);
    },
    drain(isConcerned) {
      for (const [connection, { listener }] of [...served])
        if (isConcerned(listener)) connection.drain();
    },
    overloaded(next) {
      const entered = level === 0 && next > 0;
      level = next;
      if (!entered) return;
      // HTTP/1.1 is told with its next answer: to close a connection on which a request may be under way would fail that request.
      for (const [connection, { multiplexed }] of [...served])
        if (multiplexed) connection.drain();
    },
    get connections() {
      return counts.total;
    },
    shed(ms, most) {
      let count = 0;
      for (const connection of [...served.keys()])
        if (count < most) count += connection.shed(ms, most - count);
      return count;
    },
    open(isConcerned) {
      let count = 0;
      for (const { listener } of served.values())
        if (isConcerned(listener)) count += 1;
      return count;
    },
    destroy() {
      stopCatchUp?.();
      filter.destroy();
      for (const connection of [...served.keys()]) connection.destroy();
      for (const socket of [...sockets]) socket.destroy();
    },
  };
}

function ignore(): void {
  // An error is followed by "close", which counts.
}
