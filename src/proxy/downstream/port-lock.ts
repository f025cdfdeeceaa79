/**
 * Keeps a second process off the ports of this one. Sockets with SO_REUSEPORT share a port with every other such socket of the same
 * user, and the kernel would hand this sidecar's connections to a stranger in silence.
 *
 * So each port is first bound without it, which the kernel refuses where anybody listens there, with or without SO_REUSEPORT, and
 * on an address that overlaps; and only then, that socket closed, with it. Between the two another sidecar that is just starting could
 * step in: all of them do it one after the other, while they hold a name that one process of a network namespace can have at a time.
 *
 * Anybody on the machine may take such a name, and must not keep a sidecar from starting with it. The kernel says whose it is. Another
 * user's process cannot share our ports, so there is nothing to wait for: the ports are opened out of turn, and the log says so.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { systemCode, UserError } from "../../core/errors.ts";
import { withoutIpv6 } from "../../core/listening.ts";
import type { Logger } from "../../core/log.ts";
import { keepAlive } from "../../core/keep-alive.ts";
import { again } from "../../core/machine/again.ts";
import { peerProcess } from "../../runtime/unix/peer-process.ts";

/** In the abstract namespace: no file, and free when its holder ends, however it ends. */
const NAME = `\0wherry-sidecar-starts-${String(process.getuid?.() ?? "")}`;
/** Milliseconds that another may take to open its ports. */
const GIVE_UP = 10_000;
/** Milliseconds before the name is tried again where its holder could not be asked. */
const AGAIN = 10;

/** Runs `open` while no other sidecar with several workers opens its ports. */
export async function inTurn<T>(
  clock: Clock,
  logger: Logger,
  open: () => Promise<T>,
): Promise<T> {
  if (process.platform !== "linux")
    throw new UserError(
      "several workers need Linux, which gives each its part of the connections: leave --concurrency out",
    );
  // At a start nothing else may keep the process alive.
  const letGo = keepAlive();
  const giveBack = await takeTurn(clock, logger).finally(letGo);
  try {
    return await open();
  } finally {
    giveBack();
  }
}

/** Resolves with the way to give the turn back. Waiting processes hold a connection, and its end tells them that it is free. */
async function takeTurn(clock: Clock, logger: Logger): Promise<() => void> {
  const waiting = new Set<Socket>();
  const deadline = clock.now() + GIVE_UP;
  for (;;) {
    try {
      const entered = (socket: Socket): void => {
        socket.on("error", ignore);
        socket.on("close", () => waiting.delete(socket));
        waiting.add(socket);
      };
      const server = await again(clock, () => listen(NAME, entered));
      return () => {
        server.close();
        for (const socket of waiting) socket.destroy();
      };
    } catch (thrown) {
      if (systemCode(thrown) !== "EADDRINUSE") throw thrown;
      const left = deadline - clock.now();
      if (left <= 0)
        throw new UserError(
          `another sidecar has been opening its ports for ${GIVE_UP / 1000} s: stop it, or wait for it`,
          { cause: thrown },
        );
      const foreign = await itsEnd(clock, left);
      if (foreign === undefined) continue;
      logger.warn(
        { holder: foreign },
        "another user holds the name by which sidecars take turns to open their ports: opening them out of turn",
      );
      return ignore;
    }
  }
}

/**
 * Resolves when the holder of the turn gives it back, and after `ms` in any case; at once, and with who it is, where that is another
 * user. A holder that lets nobody in is one: ours has room for all that wait.
 */
function itsEnd(clock: Clock, ms: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(NAME);
    let cancel = clock.after(ms, () => socket.destroy());
    const settle = (foreign: string | undefined): void => {
      cancel();
      socket.destroy();
      resolve(foreign);
    };
    socket.on("connect", () => {
      const holder = peerProcess(socket)?.uid;
      if (holder !== undefined && holder !== process.getuid?.())
        settle(`uid ${holder}`);
    });
    socket.on("error", (error) => {
      if (systemCode(error) === "EAGAIN") settle("unknown");
    });
    socket.on("close", () => {
      cancel();
      cancel = clock.after(AGAIN, () => settle(undefined));
    });
  });
}

/** Rejects as `listen` does where anybody listens on `port` of `host`. */
export async function assertFree(host: string, port: number): Promise<void> {
  let server: Server;
  try {
    server = await listen({ host, port, ipv6Only: host === "::1" }, (socket) =>
      socket.destroy(),
    );
  } catch (thrown) {
    const every = withoutIpv6(host, thrown);
    if (every === undefined) throw thrown;
    await assertFree(every, port);
    return;
  }
  await new Promise((resolve) => server.close(resolve));
}

function listen(
  where: string | { host: string; port: number; ipv6Only: boolean },
  accept: (socket: Socket) => void,
): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(accept);
    server.once("error", reject);
    const listening = (): void => {
      server.off("error", reject);
      // A connection that could not be accepted, where the process is out of file handles. Its end comes all the same.
      server.on("error", ignore);
      resolve(server);
    };
    if (typeof where === "string") server.listen(where, listening);
    else server.listen(where, listening);
  });
}

function ignore(): void {
  // An error of a socket is followed by "close".
}
