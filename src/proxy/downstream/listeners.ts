/** The sockets that the proxy listens on: bound on each host, guarded, and handed to `dispatch.ts` a connection at a time. */
import {
  createServer,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import { systemCode } from "../../core/errors.ts";
import { listenOn, type ListenWhere } from "../../core/listening.ts";
import { again } from "../../core/machine/again.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Watch } from "../../core/watch.ts";
import { trustDomainsOf } from "../../resources/mesh/schema.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { descriptorOf } from "../../runtime/socket-option.ts";
import type {
  ServerConnection,
  ServerConnectionInfo,
  ServerHandler,
} from "../../wire/exchange.ts";
import type {
  LiveConnections,
  LiveEnd,
} from "../../wire/tls/live-connections.ts";
import { linkListener } from "../../wire/tls/tls.ts";
import type { LocalUpstream } from "../destination.ts";
import type { Fallen } from "../exchange/open-ended.ts";
import type { HandedListeners, ListeningSocket } from "./handed-listeners.ts";
import { assertFree } from "./port-lock.ts";

import {
  acceptCaptured,
  acceptOutbound,
  acceptPublished,
  infoOf,
  type AcceptOptions,
} from "./dispatch.ts";

export interface Bound {
  readonly port: number;
  /** Connections that are accepted and not handed over yet. */
  readonly arriving: number;
  /** What it listens on, each address and each socket. */
  readonly sockets: readonly ListeningSocket[];
  /** Accepts no more; connections that are open live on, and those that arrive are handed over. */
  stop(): void;
  /** Besides, ends what is arriving. */
  close(): void;
}

export interface ListenersOptions extends AcceptOptions {
  readonly credentials: Watch<Credentials | undefined>;
  readonly live: LiveConnections;
  /** Refuses each request with the error. */
  readonly refusing: (error: MeshError) => ServerHandler;
  /** The connection that has this `info` no longer stands: what goes on without an end ends. */
  readonly fallen: Fallen;
  /** Filled with every port that is bound. */
  readonly ownPorts: Set<number>;
  /**
   * Other workers of this process listen on the same ports, and the kernel gives each its part of the connections. The first of them
   * sees to it that nobody else does.
   */
  readonly shared: false | "first" | "joined";
  /** What a process before this one listened on; absent: there was none. */
  readonly handed?: HandedListeners | undefined;
}

export interface Listeners {
  /** Loopback only: all that reaches it calls with this workload's identity. */
  outbound(port: number): Promise<Bound>;
  /** A local port that leads to one service; loopback only, for the same reason. */
  upstream(port: number, upstream: LocalUpstream): Promise<Bound>;
  captured(host: string, port: number): Promise<Bound>;
  published(host: string, port: number, appPort: number): Promise<Bound>;
  link(host: string, port: number): Promise<Bound>;
}

export function makeListeners(options: ListenersOptions): Listeners {
  return {
    outbound: (port) =>
      listen(options, LOOPBACK, port, "outbound", "outbound", (socket) =>
        acceptOutbound(options, "outbound", undefined, socket),
      ),
    upstream: (port, upstream) =>
      listen(options, LOOPBACK, port, keyOf(upstream), "upstream", (socket) =>
        acceptOutbound(options, "upstream", upstream, socket),
      ),
    captured: (host, port) =>
      listen(options, [host], port, "captured", "captured", (socket) =>
        acceptCaptured(options, socket),
      ),
    published: (host, port, appPort) =>
      listen(
        options,
        [host],
        port,
        `published ${appPort}`,
        "published",
        (socket) => acceptPublished(options, appPort, socket),
      ),
    link: (host, port) => listenForLinks(options, host, port),
  };
}

/** Listens on the same port of each host. */
async function listen(
  options: ListenersOptions,
  hosts: readonly string[],
  port: number,
  key: string,
  name: string,
  accept: (socket: Socket) => void,
): Promise<Bound> {
  const { clock, serving, ownPorts, shared } = options;
  const opened: OpenedServer[] = [];
  const stop = (): void => {
    for (const { server } of opened) server.close();
  };
  const open = async (host: string, where: ListenWhere): Promise<number> => {
    const server = createServer(
      { allowHalfOpen: true, noDelay: true },
      (socket) => {
        if (serving.admit(socket, name)) accept(socket);
      },
    );
    const address = await listenOn(clock, server, where, ({ message }) =>
      serving.refused(name, "accept failed", message, undefined, undefined),
    );
    opened.push({ host, server });
    return address.port;
  };
  let bound = port;
  for (const [index, host] of hosts.entries()) {
    const handed = takeHanded(options, { key, host, port: bound }, (where) =>
      open(host, where),
    );
    if (handed !== undefined) {
      bound = handed;
      continue;
    }
    try {
      if (shared === "first" && bound !== 0)
        await again(clock, () => assertFree(host, bound));
      bound = await open(host, addressOf(host, bound, shared !== false));
    } catch (error) {
      // The second host is the other address family, which a machine need not have.
      if (index > 0 && isMissingFamily(error)) continue;
      stop();
      throw error;
    }
  }
  ownPorts.add(bound);
  return {
    port: bound,
    arriving: 0,
    get sockets() {
      return socketsOf(opened, key, bound);
    },
    stop,
    close: stop,
  };
}

async function listenForLinks(
  options: ListenersOptions,
  host: string,
  port: number,
): Promise<Bound> {
  const { clock, serving, shared, ownPorts, live } = options;
  const handler = options.inbound({ kind: "link" });
  let stopped = false;
  const servers: OpenedServer[] = [];
  const listener = linkListener({
    credentials: options.credentials,
    live,
    equalDomains: () => trustDomainsOf(options.snapshot.value?.mesh),
    clock,
    onAccept: (raw) => serving.admit(raw, "link"),
    onListening: (server) => servers.push({ host, server }),
    onConnection(socket, { uri, protocol, serverName, lasts }) {
      if (!serving.identify(socket, "link", uri)) return;
      const info = {
        ...infoOf(socket, uri, undefined),
        ...{ protocol, serverName },
      };
      const judged = { ...handler };
      const connection = serving.http(socket, protocol, info, judged, "link");
      live.enter(socket, endOf(options, connection, { info, judged }));
      // No identity outlives its certificate (laws 5 and 8): what is in flight ends, the next request proves itself anew.
      const cancel = clock.after(lasts, () => connection.drain());
      socket.on("close", cancel);
      if (stopped) connection.drain(serving.idleFor);
    },
    onRefused(reason, detail, remote) {
      serving.refused("link", reason, detail, remote.address, remote.port);
    },
  });
  const key = "link";
  let bound = takeHanded(options, { key, host, port }, (where) =>
    listener.listen(where),
  );
  if (bound === undefined) {
    if (shared === "first" && port !== 0)
      await again(clock, () => assertFree(host, port));
    const reusePort = shared !== false;
    bound = (await listener.listen({ host, port, reusePort })).port;
  }
  const address = bound;
  ownPorts.add(address);
  return {
    port: address,
    get arriving() {
      return listener.handshakes;
    },
    get sockets() {
      return socketsOf(servers, key, address);
    },
    stop() {
      stopped = true;
      listener.stop();
    },
    close: () => listener.close(),
  };
}

/** A peer that no longer stands gets in no new call, and its connection ends once those in flight have, or are cut. */
function endOf(
  { serving, fallen, refusing }: ListenersOptions,
  connection: ServerConnection,
  {
    info,
    judged,
  }: { readonly info: ServerConnectionInfo; readonly judged: ServerHandler },
): LiveEnd {
  return {
    stop(fault) {
      const error = new MeshError("REVOKED", fault, { source: "proxy" });
      fallen.set(info, error);
      const refusal = refusing(error);
      judged.request = (stream) => refusal.request(stream);
      const { remoteAddress, remotePort, peer } = info;
      const detail = `${fault}: ${peer ?? ""}`;
      serving.refused("link", "revoked", detail, remoteAddress, remotePort);
      connection.drain();
    },
    drain: () => connection.drain(),
    cut: () => connection.destroy(),
  };
}

/** A server, and the address that it was opened for. */
interface OpenedServer {
  readonly host: string;
  readonly server: Server;
}

/** The port of what was handed for this place, on which `open` is called once connections are to be accepted; undefined: nothing was. */
function takeHanded(
  { handed }: ListenersOptions,
  { key, host, port }: Omit<ListeningSocket, "descriptor">,
  open: (where: ListenWhere) => Promise<unknown>,
): number | undefined {
  const sockets = handed?.take(key, host, port) ?? [];
  for (const { descriptor } of sockets)
    handed?.onBegin(() => open({ fd: descriptor, backlog: BACKLOG }));
  return sockets[0]?.port;
}

/** Those that listen now. */
function socketsOf(
  servers: readonly OpenedServer[],
  key: string,
  port: number,
): ListeningSocket[] {
  return servers.flatMap(({ host, server }) => {
    const descriptor = descriptorOf(server);
    return descriptor === undefined ? [] : [{ key, host, port, descriptor }];
  });
}

function keyOf({ host, port }: LocalUpstream): string {
  return `upstream ${host}:${port ?? ""}`;
}

const LOOPBACK: readonly string[] = ["127.0.0.1", "::1"];
/**
 * Connections that the kernel holds for us; it takes no more than its `somaxconn`, 4,096 by default. At Node's 511 a flood of
 * connections overflows it, and an honest caller's SYN is dropped: it comes again after a second.
 */
const BACKLOG = 4096;

function addressOf(
  host: string,
  port: number,
  reusePort: boolean,
): ListenOptions {
  const ipv6Only = host === "::1";
  return { host, port, ipv6Only, reusePort, backlog: BACKLOG };
}

function isMissingFamily(error: unknown): boolean {
  const code = systemCode(error);
  return code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT";
}
