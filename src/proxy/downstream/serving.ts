/** The server-side connections of the proxy: a codec on each, bounds on their number, what they hold, and one way to drain or end them all. */
import type { Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import type { SharedState } from "../../core/shared/shared-state.ts";
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
import {
  DEFAULT_LIMITS as HTTP1_LIMITS,
  LINK_LIMITS as HTTP1_ON_LINK,
  type Http1Limits,
} from "../../wire/http1/limits.ts";
import {
  LINK_LIMITS as HTTP2_ON_LINK,
  SHARED_LIMITS,
  type Http2Limits,
} from "../../wire/http2/limits.ts";
import { serveHttp2 } from "../../wire/http2/server.ts";
import { countConnections } from "./connection-counts.ts";
import { IDENTITY_SHARE, resolveLimits, type SidecarLimits } from "./limits.ts";
import type { Level } from "./memory-pressure.ts";
import type { Meters } from "../../telemetry/meters.ts";
import { makeRefusalLog, type RefusalLog } from "./refusal-log.ts";
import { Acceptor, isLocal, type LocalConnections } from "./acceptor.ts";
import { trackSources, type Sources } from "./sources.ts";
import { SocketStream } from "../../wire/tcp.ts";

export interface Serving {
  /** False where a bound is reached; the socket is closed then. Ask before anything else is done with an accepted socket. */
  admit(socket: Socket, listener: string): boolean;
  /** Counts an admitted connection for the identity that it proved; false, and the socket is closed, where that has too many. */
  identify(socket: Socket, listener: string, identity: SpiffeUri): boolean;
  /** False where the source of an admitted connection was turned away before its first words were looked at; the socket is closed then. */
  stillAdmits(socket: Socket, listener: string): boolean;
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
  /** Tells of a connection that did not say in time what it speaks; `port` is the one that was called. */
  undetected(listener: string, port: number, detail: string): void;
  /** Takes no new requests on the connections of `listener` (GOAWAY, Connection: close). */
  drain(isConcerned: (listener: string) => boolean): void;
  /** The same on all connections, those included that have not said yet what they speak; `idleFor` is what a drain of each is given. */
  retire(idleFor: number): void;
  /** How long an idle connection of HTTP/1 may still be, milliseconds, on a listener that has stopped. */
  readonly idleFor: number;
  /** Connections that are open, whatever they speak. */
  readonly sockets: number;
  /** From level 1 on no connection is kept alive, from level 2 on none is taken. */
  overloaded(level: Level): void;
  readonly connections: number;
  /** Those of the application beside the sidecar. */
  readonly local: LocalConnections;
  /**
   * Breaks off up to `most` whole responses of which nothing was taken for `ms`; gives how many. Looks at so many connections, and
   * goes on with the next ones when it is called again.
   */
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
  /** Whether connections from that address are those of many callers, which a proxy of ours passes on; absent: none are. */
  readonly isProxy?: ((address: string) => boolean) | undefined;
  /** What bounds the connections of all workers together; absent: this one is alone. */
  readonly sharedState?: SharedState;
}

/** A connection of HTTP. */
interface Served {
  readonly listener: string;
  readonly multiplexed: boolean;
}

export function makeServing(options: ServingOptions): Serving {
  return new ServedConnections(options);
}

class ServedConnections implements Serving {
  readonly #options: ServingOptions;
  readonly #acceptor: Acceptor;
  readonly #sources: Sources;
  readonly #log: RefusalLog;
  /** Options of HTTP/2 on the link. */
  readonly #link: {
    readonly limits: Partial<Http2Limits>;
    readonly place?: WorkerPlace;
  };
  /** Options of HTTP/1.1 on the listeners of the own application. */
  readonly #local: { readonly limits: Http1Limits };
  readonly #served = new Map<ServerConnection, Served>();
  /** Those that `shed` has still to look at. */
  #unshed: Iterator<ServerConnection> | undefined;
  #level: Level = 0;
  #idleFor: number | undefined;

  constructor(options: ServingOptions) {
    const { clock, meters, logger, place } = options;
    const limits = options.limits ?? resolveLimits();
    this.#options = options;
    this.#log = makeRefusalLog(logger, clock);
    this.#sources = trackSources(clock, limits);
    this.#acceptor = new Acceptor({
      clock,
      meters,
      log: this.#log,
      counts: countConnections(limits, options.sharedState),
      sources: this.#sources,
      isProxy: options.isProxy,
    });
    this.#link = {
      limits: { ...HTTP2_ON_LINK, idleTimeout: limits.idleLink },
      ...(place === undefined ? {} : { place }),
    };
    this.#local = {
      limits: { ...HTTP1_LIMITS, idleTimeout: limits.idleLocal },
    };
  }

  admit(socket: Socket, listener: string): boolean {
    return this.#acceptor.admit(socket, listener);
  }

  identify(socket: Socket, listener: string, identity: SpiffeUri): boolean {
    return this.#acceptor.identify(socket, listener, identity);
  }

  stillAdmits(socket: Socket, listener: string): boolean {
    return this.#acceptor.stillAdmits(socket, listener);
  }

  turnAway(
    socket: Socket,
    listener: string,
    reason: string,
    detail: string,
  ): void {
    this.#acceptor.turnAway(socket, listener, reason, detail);
  }

  refused(
    listener: string,
    reason: string,
    detail: string,
    remoteAddress: string | undefined,
    remotePort: number | undefined,
  ): void {
    this.#acceptor.refused(listener, reason, detail, remoteAddress, remotePort);
  }

  http(
    socket: Socket,
    protocol: Protocol,
    info: ServerConnectionInfo,
    handler: ServerHandler,
    listener: string,
  ): ServerConnection {
    const { clock, buffers, deadlines, meters } = this.#options;
    const multiplexed = protocol === "h2";
    const name =
      info.peer ?? this.#acceptor.sourceOf(listener, info.remoteAddress);
    const source =
      name === undefined
        ? undefined
        : this.#sources.enter(
            name,
            info.peer === undefined ? 1 : IDENTITY_SHARE,
          );
    const common = {
      clock,
      info,
      source,
      buffers,
      deadlines,
      onLimit: (limit: string) => meters.limits.with(listener, limit).add(),
    };
    const told = this.#told(handler, listener, info, () => {
      // HTTP/2 was told when the level was entered.
      if (this.#level > 0 && !multiplexed) connection.drain();
    });
    const connection = multiplexed
      ? serveHttp2(socket, { ...common, ...this.#http2(info, listener) }, told)
      : serveHttp1(socket, { ...common, ...this.#http1(info, listener) }, told);
    this.#served.set(connection, { listener, multiplexed });
    if (this.#idleFor !== undefined) connection.drain(this.#idleFor);
    socket.on("close", () => {
      this.#served.delete(connection);
      if (name !== undefined) this.#sources.leave(name);
    });
    return connection;
  }

  /** The handler, with a word before each request and a report of each refusal. */
  #told(
    handler: ServerHandler,
    listener: string,
    info: ServerConnectionInfo,
    before: () => void,
  ): ServerHandler {
    const { meters } = this.#options;
    return {
      request(stream) {
        before();
        handler.request(stream);
      },
      refused: (code, detail) => {
        meters.refused.with(listener, code).add();
        this.#log.warn("request refused", code, {
          listener,
          detail,
          remoteAddress: info.remoteAddress,
          peer: info.peer,
        });
      },
    };
  }

  /** On the link, and from the own application, the streams of many meet: some that stand still do not stop the others. */
  #http2(
    info: ServerConnectionInfo,
    listener: string,
  ): { readonly limits?: Partial<Http2Limits>; readonly place?: WorkerPlace } {
    if (info.peer !== undefined) return this.#link;
    return isLocal(listener) ? OWN : {};
  }

  #http1(
    info: ServerConnectionInfo,
    listener: string,
  ): { readonly limits?: Http1Limits } {
    if (info.peer !== undefined) return { limits: HTTP1_ON_LINK };
    return isLocal(listener) ? this.#local : {};
  }

  bytes(
    socket: Socket,
    authority: string,
    info: ServerConnectionInfo,
    handler: ServerHandler,
  ): void {
    const { buffers } = this.#options;
    handler.request(new SocketStream(socket, authority, info, buffers));
  }

  undetected(listener: string, port: number, detail: string): void {
    this.#options.meters.undetected.with(listener).add();
    this.#log.warn("protocol not detected", "silent at first", {
      ...{ listener, port, detail },
    });
  }

  drain(isConcerned: (listener: string) => boolean): void {
    for (const [connection, { listener }] of [...this.#served])
      if (isConcerned(listener)) connection.drain();
  }

  retire(idleFor: number): void {
    this.#idleFor = idleFor;
    for (const connection of [...this.#served.keys()])
      connection.drain(idleFor);
  }

  get idleFor(): number {
    return this.#idleFor ?? 0;
  }

  get sockets(): number {
    return this.#acceptor.sockets;
  }

  overloaded(level: Level): void {
    const entered = this.#level === 0 && level > 0;
    this.#level = level;
    this.#acceptor.level = level;
    if (!entered) return;
    // HTTP/1.1 learns it with its next response: to close a connection on which a request may be in flight would fail that request.
    for (const [connection, { multiplexed }] of [...this.#served])
      if (multiplexed) connection.drain();
  }

  get connections(): number {
    return this.#acceptor.connections;
  }

  get local(): LocalConnections {
    return this.#acceptor.local;
  }

  shed(ms: number, most: number): number {
    let count = 0;
    for (let looked = 0; looked < MOST_SHED && count < most; looked += 1) {
      this.#unshed ??= this.#served.keys();
      const next = this.#unshed.next();
      if (next.done === true) {
        this.#unshed = undefined;
        break;
      }
      count += next.value.shed(ms, most - count);
    }
    return count;
  }

  open(isConcerned: (listener: string) => boolean): number {
    let count = 0;
    for (const { listener } of this.#served.values())
      if (isConcerned(listener)) count += 1;
    return count;
  }

  destroy(): void {
    for (const connection of [...this.#served.keys()]) connection.destroy();
    this.#acceptor.destroy();
  }
}

/** Connections that one call of `shed` looks at: a look takes a microsecond or two, and there may be thousands. */
export const MOST_SHED = 256;

const OWN = { limits: SHARED_LIMITS };
