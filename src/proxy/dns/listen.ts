/** Where the resolver listens: datagrams and connections on the same port, within bounds. */
import {
  createSocket,
  type RemoteInfo,
  type Socket as Datagrams,
} from "node:dgram";
import { createServer, isIPv6, type Server, type Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import { systemCode } from "../../core/errors.ts";
import { bindDatagrams, cannotListen, listenOn } from "../../core/listening.ts";
import type { Logger } from "../../core/log.ts";
import { framed, MessageReader } from "../../wire/dns/stream.ts";
import { LONGEST_QUESTION } from "../../wire/dns/messages.ts";
import type { Resolver } from "./resolver.ts";

export interface OpenResolver {
  readonly port: number;
  readonly close: () => void;
}

export interface ListenOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly host: string;
  readonly port: number;
  readonly resolver: Pick<Resolver, "hear">;
}

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
  const closers: (() => void)[] = [];
  const close = (): void => {
    for (const each of closers.splice(0)) each();
  };
  let { port } = options;
  for (const [index, host] of hosts.entries())
    try {
      const server = await listenForConnections(options, host, port);
      closers.push(server.close);
      ({ port } = server);
      const datagrams = await listenForDatagrams(options, host, port);
      closers.push(() => datagrams.close());
    } catch (thrown) {
      const code = systemCode(thrown);
      // The second host is the other address family, which a machine need not have.
      if (index > 0 && (code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT"))
        continue;
      close();
      throw thrown;
    }
  return { port, close };
}

/** Beside the process that this one replaces, which listens there for a moment yet. */
async function listenForDatagrams(
  options: ListenOptions,
  host: string,
  port: number,
): Promise<Datagrams> {
  const { logger, resolver } = options;
  const type = isIPv6(host) ? "udp6" : "udp4";
  const socket = createSocket({
    ...{ type, reusePort: REUSE_PORT, ipv6Only: type === "udp6" },
  });
  socket.on("message", (bytes: Buffer, from: RemoteInfo) => {
    resolver.hear(bytes, false, (reply) =>
      // The asker may be gone: nobody is to hear of that.
      socket.send(reply, from.port, from.address, () => undefined),
    );
  });
  await bindDatagrams(socket, port, host);
  socket.on("error", (error) =>
    logger.warn({ error: error.message }, "the resolver's socket failed"),
  );
  return socket;
}

/** Only Linux gives each of several sockets its part. */
const REUSE_PORT = process.platform === "linux";

async function listenForConnections(
  options: ListenOptions,
  host: string,
  port: number,
): Promise<OpenResolver> {
  const { clock, logger } = options;
  const open = new Set<Socket>();
  const server: Server = createServer(
    { noDelay: true, allowHalfOpen: true },
    (socket) => {
      if (open.size >= MOST_CONNECTIONS) open.values().next().value?.destroy();
      open.add(socket);
      socket.on("close", () => open.delete(socket));
      serve(options, socket);
    },
  );
  const bound = await listenOn(
    clock,
    server,
    { host, port, ipv6Only: isIPv6(host), reusePort: REUSE_PORT },
    (error) =>
      logger.warn({ error: error.message }, "the resolver accepted nothing"),
  );
  return {
    port: bound.port,
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

function serve({ clock, resolver }: ListenOptions, socket: Socket): void {
  let waiting = 0;
  let ended = false;
  const idle = (): Cancel => clock.after(IDLE, () => socket.destroy());
  let stop = idle();
  const moved = (): void => {
    stop();
    if (!socket.destroyed) stop = idle();
  };
  socket.on("close", () => stop());
  socket.on("error", () => undefined);
  const goOn = (): void => {
    if (waiting >= MOST_OPEN || socket.writableNeedDrain) socket.pause();
    else socket.resume();
  };
  const reader = new MessageReader(LONGEST_QUESTION, (message) => {
    waiting += 1;
    const heard = resolver.hear(message, true, (reply) => {
      waiting -= 1;
      if (socket.destroyed) return;
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
}
