/** The sockets that the proxy listens on, and what each makes of a connection: which protocol, captured or not, for whom. */
import {
  createServer,
  type AddressInfo,
  type Server,
  type Socket,
} from "node:net";
import type { Clock } from "../../core/clock.ts";
import { systemCode } from "../../core/errors.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { isOpaque } from "../../policy/compile/clusters.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import { alarm } from "../../push/alarm.ts";
import type {
  ServerConnectionInfo,
  ServerHandler,
} from "../../wire/exchange.ts";
import { originalDestination } from "../../wire/original-destination.ts";
import { classify, sniff, type Sniffed } from "../../wire/sniff.ts";
import { readLittle } from "../../runtime/socket-data.ts";
import type { Buffers } from "../../wire/buffers.ts";
import { linkListener } from "../../wire/tls/tls.ts";
import type { Address, LocalUpstream } from "../destination.ts";
import { NO_IDENTITY, type ClaimsOf } from "../exchange/forwarded.ts";
import type { Arrival } from "../inbound.ts";
import type { Serving } from "./serving.ts";
import { assertFree } from "./port-lock.ts";

export interface Bound {
  readonly port: number;
  /** Connections that are accepted and not handed over yet. */
  readonly arriving: number;
  /** Accepts no more; connections that are open live on, and those that arrive are handed over. */
  stop(): void;
  /** Besides, ends what is arriving. */
  close(): void;
}

export interface ListenersOptions {
  readonly clock: Clock;
  /** What the proxy holds in all; absent: no bound. */
  readonly buffers?: Buffers | undefined;
  readonly serving: Serving;
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly credentials: Watch<Credentials | undefined>;
  /** Filled with every port that is bound. */
  readonly ownPorts: Set<number>;
  /**
   * Other workers of this process listen on the same ports, and the kernel gives each its part of the connections. The first of them
   * sees to it that nobody else does.
   */
  readonly shared: false | "first" | "joined";
  readonly claimsOf: ClaimsOf;
  outbound(upstream: LocalUpstream | undefined): ServerHandler;
  inbound(arrival: Arrival): ServerHandler;
}

export interface Listeners {
  /** Loopback only: whoever reaches it calls with this workload's identity. */
  outbound(port: number): Promise<Bound>;
  /** A local port that leads to one service; loopback only, for the same reason. */
  upstream(port: number, upstream: LocalUpstream): Promise<Bound>;
  captured(host: string, port: number): Promise<Bound>;
  published(host: string, port: number, appPort: number): Promise<Bound>;
  link(host: string, port: number): Promise<Bound>;
}

export function makeListeners(options: ListenersOptions): Listeners {
  const { clock, serving, snapshot, ownPorts, shared } = options;
  const reusePort = shared !== false;

  const listen = async (
    hosts: readonly string[],
    port: number,
    name: string,
    accept: (socket: Socket) => void,
  ): Promise<Bound> => {
    const servers: Server[] = [];
    let bound = port;
    for (const [index, host] of hosts.entries()) {
      try {
        if (shared === "first" && bound !== 0) await assertFree(host, bound);
        const { server, address } = await bind(
          host,
          bound,
          reusePort,
          (socket) => {
            if (serving.admit(socket, name)) accept(socket);
          },
        );
        server.on("error", (error) =>
          serving.refused(
            name,
            "accept failed",
            error.message,
            undefined,
            undefined,
          ),
        );
        servers.push(server);
        if (hosts !== LOOPBACK) serving.guard(server);
        bound = address.port;
      } catch (error) {
        // The second host is the other address family, which a machine need not have.
        if (index > 0 && isMissingFamily(error)) continue;
        for (const server of servers) server.close();
        throw error;
      }
    }
    ownPorts.add(bound);
    const stop = (): void => {
      for (const server of servers) server.close();
    };
    return { port: bound, arriving: 0, stop, close: stop };
  };

  const acceptOutbound =
    (name: string, upstream: LocalUpstream | undefined) =>
    (socket: Socket): void => {
      const handler = options.outbound(upstream);
      const original =
        upstream === undefined ? originalDestination(socket) : undefined;
      const info = infoOf(socket, undefined, original);
      const authority = authorityOf(original, upstream);
      // Declared as bytes: the server may be the one to speak first, so nobody waits for the client's words.
      if (
        authority !== undefined &&
        isDeclaredOpaque(snapshot.value, original, upstream)
      ) {
        serving.bytes(socket, authority, info, handler);
        return;
      }
      const outside = isOutside(snapshot.value, original);
      look(
        socket,
        options,
        outside ? OUTSIDE_TIMEOUT : undefined,
        (sniffed) => {
          const passes = outside && !isSure(sniffed);
          // Where nothing but HTTP is meant, what is not quite HTTP is the strict codec's to refuse: the application's parser may be lenient.
          const kind =
            sniffed.kind === "other" && !outside ? "http/1.1" : sniffed.kind;
          if ((kind === "http/1.1" || kind === "h2") && !passes)
            serving.http(
              socket,
              kind,
              { ...info, protocol: kind },
              handler,
              name,
            );
          else if (authority !== undefined)
            serving.bytes(socket, authority, info, handler);
          else
            serving.turnAway(
              socket,
              name,
              "not HTTP",
              `${kind} on a port that takes HTTP; call an upstream's own port, or CONNECT`,
            );
        },
      );
    };

  const acceptInbound =
    (name: string, arrival: Exclude<Arrival, { kind: "link" }>) =>
    (socket: Socket): void => {
      const original =
        arrival.kind === "captured" ? originalDestination(socket) : undefined;
      if (arrival.kind === "captured" && original === undefined) {
        serving.turnAway(
          socket,
          name,
          "not captured",
          "only connections that a packet rule redirected are taken here",
        );
        return;
      }
      const handler = options.inbound(arrival);
      const info = {
        ...infoOf(socket, undefined, original),
        claims: options.claimsOf(socket.remoteAddress ?? ""),
      };
      const appPort =
        arrival.kind === "published" ? arrival.port : (original?.port ?? 0);
      const authority =
        authorityOf(original, undefined) ??
        formatHostPort(socket.localAddress ?? "", appPort);
      const port = snapshot.value?.inbound.byPort(appPort);
      if (port?.takesBytes === true) {
        serving.bytes(socket, authority, info, handler);
        return;
      }
      look(socket, options, undefined, ({ kind }) => {
        // On a port for HTTP, what is not quite HTTP is the strict codec's to refuse: the application's parser may be lenient. And whoever
        // says nothing there gets the time that an idle connection has, and no connection to the application. TLS is bytes, which no
        // port for HTTP takes (law 14): the handler refuses it with its reason.
        const protocol =
          kind === "other" && port !== undefined ? "http/1.1" : kind;
        if (protocol === "http/1.1" || protocol === "h2")
          serving.http(socket, protocol, { ...info, protocol }, handler, name);
        else serving.bytes(socket, authority, info, handler);
      });
    };

  return {
    outbound: (port) =>
      listen(LOOPBACK, port, "outbound", acceptOutbound("outbound", undefined)),
    upstream: (port, upstream) =>
      listen(LOOPBACK, port, "upstream", acceptOutbound("upstream", upstream)),
    captured: (host, port) =>
      listen(
        [host],
        port,
        "captured",
        acceptInbound("captured", { kind: "captured" }),
      ),
    published: (host, port, appPort) =>
      listen(
        [host],
        port,
        "published",
        acceptInbound("published", { kind: "published", port: appPort }),
      ),
    async link(host, port) {
      const handler = options.inbound({ kind: "link" });
      let stopped = false;
      const listener = linkListener({
        credentials: options.credentials,
        clock,
        onAccept: (raw) => serving.admit(raw, "link"),
        onListening: (server) => serving.guard(server),
        onConnection(socket, { uri, protocol, validUntil }) {
          if (!serving.identify(socket, "link", uri)) return;
          const info = { ...infoOf(socket, uri, undefined), protocol };
          const connection = serving.http(
            socket,
            protocol,
            info,
            handler,
            "link",
          );
          // No identity outlives its certificate (laws 5 and 8): what is under way ends, the next request proves itself anew.
          const cancel = alarm(clock, validUntil, () => connection.drain());
          socket.on("close", cancel);
          if (stopped) connection.drain();
        },
        onRefused(reason, detail, remote) {
          serving.refused("link", reason, detail, remote.address, remote.port);
        },
      });
      if (shared === "first" && port !== 0) await assertFree(host, port);
      const address = await listener.listen({ host, port, reusePort });
      ownPorts.add(address.port);
      return {
        port: address.port,
        get arriving() {
          return listener.handshakes;
        },
        stop() {
          stopped = true;
          listener.stop();
        },
        close: () => listener.close(),
      };
    },
  };
}

/**
 * Milliseconds that a captured call to outside the mesh has for its first words: there, no policy for HTTP hangs on them, and where
 * it is the server that speaks first, they do not come.
 */
const OUTSIDE_TIMEOUT = 250;

/** `sniff`, on sockets whose halves end one by one: one that ends before it has said a word is closed. */
function look(
  socket: Socket,
  { clock, buffers }: Pick<ListenersOptions, "clock" | "buffers">,
  timeout: number | undefined,
  onResult: (sniffed: Sniffed) => void,
): void {
  const onEnd = (): void => void socket.end();
  socket.once("end", onEnd);
  const readAsEver =
    buffers === undefined ? undefined : readLittle(socket, buffers);
  sniff(
    socket,
    clock,
    (sniffed) => {
      socket.off("end", onEnd);
      readAsEver?.();
      onResult(sniffed);
    },
    timeout,
  );
}

/** What came says what it is, and not the time that passed. */
function isSure({ firstBytes }: Sniffed): boolean {
  return classify(firstBytes) !== undefined;
}

function isOutside(
  snapshot: Snapshot | undefined,
  original: Address | undefined,
): boolean {
  return (
    original !== undefined &&
    snapshot?.destinationByAddress(original.address, original.port) ===
      undefined
  );
}

const LOOPBACK: readonly string[] = ["127.0.0.1", "::1"];
/**
 * Connections that the kernel holds for us; it takes no more than its `somaxconn`, 4,096 by default. At Node's 511 a flood of
 * connections overflows it, and an honest caller's SYN is dropped: it comes again after a second.
 */
const BACKLOG = 4096;

function bind(
  host: string,
  port: number,
  reusePort: boolean,
  accept: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly address: AddressInfo }> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);
    server.once("error", reject);
    const ipv6Only = host === "::1";
    server.listen({ host, port, ipv6Only, reusePort, backlog: BACKLOG }, () => {
      server.off("error", reject);
      const address = server.address();
      if (address === null || typeof address === "string")
        reject(new TypeError("a listener has a TCP address"));
      else resolve({ server, address });
    });
  });
}

function isMissingFamily(error: unknown): boolean {
  const code = systemCode(error);
  return code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT";
}

function infoOf(
  socket: Socket,
  peer: SpiffeUri | undefined,
  original: Address | undefined,
): ServerConnectionInfo {
  return {
    protocol: "http/1.1",
    peer,
    remoteAddress: socket.remoteAddress ?? "",
    remotePort: socket.remotePort ?? 0,
    originalDestination: original,
    claims: NO_IDENTITY,
  };
}

/** What a connection of bytes is a CONNECT to; undefined where nothing but its words could tell. */
function authorityOf(
  original: Address | undefined,
  upstream: LocalUpstream | undefined,
): string | undefined {
  if (upstream !== undefined)
    return upstream.port === undefined
      ? upstream.host
      : formatHostPort(upstream.host, upstream.port);
  if (original === undefined) return undefined;
  return formatHostPort(original.address, original.port);
}

function isDeclaredOpaque(
  snapshot: Snapshot | undefined,
  original: Address | undefined,
  upstream: LocalUpstream | undefined,
): boolean {
  const destination =
    upstream !== undefined
      ? snapshot?.destination(upstream.host, upstream.port)
      : original !== undefined
        ? snapshot?.destinationByAddress(original.address, original.port)
        : undefined;
  return destination !== undefined && isOpaque(destination.port);
}
