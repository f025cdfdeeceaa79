/** Where the resolver listens: datagrams and connections on the same port, within bounds. */
import { createSocket, type RemoteInfo } from "node:dgram";
import { createServer, isIPv6, type Server, type Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import { systemCode } from "../../core/errors.ts";
import { bindDatagrams, cannotListen, listenOn } from "../../core/listening.ts";
import type { Logger } from "../../core/log.ts";
import {
  datagramDescriptorOf,
  descriptorOf,
} from "../../runtime/socket-option.ts";
import { framed, MessageReader } from "../../wire/dns/stream.ts";
import { LONGEST_QUESTION } from "../../wire/dns/messages.ts";
import type { Resolver } from "./resolver.ts";

/** What the sockets of a resolver are for. */
export const CONNECTIONS = "dns";
export const DATAGRAMS = "dns datagrams";

/** A socket that listens, in whichever process. */
interface ResolverSocket {
  /** What it is for. */
  readonly key: typeof CONNECTIONS | typeof DATAGRAMS;
  readonly host: string;
  readonly port: number;
  readonly descriptor: number;
}

export interface OpenResolver {
  readonly port: number;
  /** All that it listens on. */
  readonly sockets: readonly ResolverSocket[];
  /** Questions that have no reply yet. */
  readonly waiting: number;
  /** Another process listens on the same sockets: takes no more connections, and lets go once nothing waits here. */
  readonly retire: () => void;
  readonly close: () => void;
}

export interface ListenOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly host: string;
  readonly port: number;
  readonly resolver: Pick<Resolver, "hear">;
  /** What a process before this one listened on there, if anything: it is this one's from now on. */
  readonly takeHanded?: (
    key: ResolverSocket["key"],
    host: string,
    port: number,
  ) => Pick<ResolverSocket, "descriptor"> | undefined;
}

/** One socket. */
type Open = Pick<OpenResolver, "waiting" | "retire" | "close"> &
  Omit<ResolverSocket, "descriptor"> & {
    readonly descriptor: number | undefined;
  };

/** Connections of this machine's applications; the one that was idle for longest makes room. */
export const MOST_CONNECTIONS = 128;
/** Questions of one connection that wait: it is read no further. */
const MOST_OPEN = 32;
/** Milliseconds. */
const IDLE = 10_000;

/** A port that the system chose for one protocol may be taken in the other. */
const TRIES = 8;

/** On loopback of both families, where that is meant: packet rules lead each to its own. Throws UserError. */
export async function listenForQuestions(
  options: ListenOptions,
): Promise<OpenResolver> {
  const { host, port } = options;
  for (let tries = 1; ; tries += 1)
    try {
      return await listenOnce(options);
    } catch (thrown) {
      if (port === 0 && tries < TRIES && systemCode(thrown) === "EADDRINUSE")
        continue;
      throw cannotListen(
        { what: "the resolver", host, port, option: "--dns" },
        thrown,
      );
    }
}

async function listenOnce(options: ListenOptions): Promise<OpenResolver> {
  const { host: first } = options;
  const hosts = first === "127.0.0.1" ? [first, "::1"] : [first];
  const all: Open[] = [];
  const close = (): void => {
    for (const each of all.splice(0)) each.close();
  };
  let { port } = options;
  for (const [index, host] of hosts.entries())
    try {
      const connections = await listenForConnections(options, host, port);
      all.push(connections);
      ({ port } = connections);
      all.push(await listenForDatagrams(options, host, port));
    } catch (thrown) {
      const code = systemCode(thrown);
      // The second host is the other address family, which a machine need not have.
      if (index > 0 && (code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT"))
        continue;
      close();
      throw thrown;
    }
  return {
    port,
    get sockets() {
      return all.flatMap(({ key, host, port: at, descriptor }) =>
        descriptor === undefined ? [] : [{ key, host, port: at, descriptor }],
      );
    },
    get waiting() {
      return all.reduce((sum, { waiting }) => sum + waiting, 0);
    },
    retire() {
      for (const each of all) each.retire();
    },
    close,
  };
}

/**
 * By the same socket as the process that this one replaces, where it was handed over: a question that waits in it is either's to read.
 * Beside that process otherwise, which listens there for a moment yet.
 */
async function listenForDatagrams(
  options: ListenOptions,
  host: string,
  port: number,
): Promise<Open> {
  const { logger, resolver, takeHanded } = options;
  const type = isIPv6(host) ? "udp6" : "udp4";
  const before = takeHanded?.(DATAGRAMS, host, port);
  const socket = createSocket({
    ...{ type, reusePort: REUSE_PORT && before === undefined },
    ipv6Only: type === "udp6",
  });
  let waiting = 0;
  let retired = false;
  let closed = false;
  const close = (): void => {
    if (!closed) socket.close();
    closed = true;
  };
  const replied = (): void => {
    waiting -= 1;
    if (retired && waiting === 0) close();
  };
  socket.on("message", (bytes: Buffer, from: RemoteInfo) => {
    // Its sender has no port that could be replied to (RFC 768), and Node throws at such a one.
    if (from.port === 0) return;
    waiting += 1;
    const heard = resolver.hear(bytes, false, (reply) => {
      // The asker may be gone: nobody is to hear of that.
      if (closed) replied();
      else socket.send(reply, from.port, from.address, replied);
    });
    if (!heard) replied();
  });
  await bindDatagrams(
    socket,
    before === undefined ? { port, address: host } : { fd: before.descriptor },
  );
  socket.on("error", (error) =>
    logger.warn({ error: error.message }, "the resolver's socket failed"),
  );
  return {
    ...{ key: DATAGRAMS, host, port: socket.address().port },
    descriptor: datagramDescriptorOf(socket),
    get waiting() {
      return waiting;
    },
    retire() {
      retired = true;
      if (waiting === 0) close();
    },
    close,
  };
}

/** Only Linux gives each of several sockets its part. */
const REUSE_PORT = process.platform === "linux";

async function listenForConnections(
  options: ListenOptions,
  host: string,
  port: number,
): Promise<Open> {
  const { clock, logger, takeHanded } = options;
  const open = new Map<Socket, Served>();
  const server: Server = createServer(
    { noDelay: true, allowHalfOpen: true },
    (socket) => {
      if (open.size >= MOST_CONNECTIONS) open.keys().next().value?.destroy();
      socket.on("close", () => open.delete(socket));
      open.set(socket, serve(options, socket));
    },
  );
  const before = takeHanded?.(CONNECTIONS, host, port);
  const bound = await listenOn(
    clock,
    server,
    before === undefined
      ? { host, port, ipv6Only: isIPv6(host), reusePort: REUSE_PORT }
      : { fd: before.descriptor, backlog: BACKLOG },
    (error) =>
      logger.warn({ error: error.message }, "the resolver accepted nothing"),
  );
  return {
    ...{ key: CONNECTIONS, host, port: bound.port },
    descriptor: descriptorOf(server),
    get waiting() {
      return [...open.values()].reduce((sum, each) => sum + each.waiting, 0);
    },
    retire() {
      server.close();
      for (const each of open.values()) each.retire();
    },
    close() {
      server.close();
      for (const socket of open.keys()) socket.destroy();
    },
  };
}

/** Node's own. */
const BACKLOG = 511;

/** A connection. */
interface Served {
  readonly waiting: number;
  /** It ends after its next reply: an asker that sends at this moment would not know what became of its question. */
  retire(): void;
}

function serve({ clock, resolver }: ListenOptions, socket: Socket): Served {
  let waiting = 0;
  let ended = false;
  const idle = (): Cancel => clock.after(IDLE, () => socket.destroy());
  let stop = idle();
  const moved = (): void => {
    stop();
    if (!socket.destroyed) stop = idle();
  };
  socket.on("close", () => {
    stop();
    waiting = 0;
  });
  socket.on("error", () => undefined);
  const goOn = (): void => {
    if (waiting >= MOST_OPEN || socket.writableNeedDrain) socket.pause();
    else socket.resume();
  };
  const reader = new MessageReader(LONGEST_QUESTION, (message) => {
    waiting += 1;
    const heard = resolver.hear(message, true, (reply) => {
      if (socket.destroyed) return;
      waiting -= 1;
      moved();
      socket.write(framed(reply));
      if (ended && waiting === 0) socket.end();
      else goOn();
    });
    // A reply has nothing to ask.
    if (!heard) socket.destroy();
    goOn();
  });
  socket.on("drain", goOn);
  socket.on("data", (bytes: Buffer) => {
    moved();
    if (!reader.read(bytes)) socket.destroy();
  });
  socket.on("end", () => {
    ended = true;
    if (waiting === 0) socket.end();
  });
  return {
    get waiting() {
      return waiting;
    },
    retire() {
      ended = true;
    },
  };
}
