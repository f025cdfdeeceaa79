/**
 * Keeps a second process off the ports of this one. Sockets with SO_REUSEPORT share a port with every other such socket of the same
 * user, and the kernel would hand this sidecar's connections to a stranger in silence.
 *
 * So each port is first bound without it, which the kernel refuses where anybody listens there, with or without SO_REUSEPORT, and
 * on an address that overlaps; and only then, that socket closed, with it. Between the two another sidecar that is just starting could
 * step in: all of them do it one after the other, while they hold a name that one process of a network namespace can have at a time.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { systemCode, UserError } from "../../core/errors.ts";

/** In the abstract namespace: no file, and free when its holder ends, however it ends. */
const NAME = "\0wherry-sidecar-starts";
/** Milliseconds that another may take to open its ports. */
const GIVE_UP = 10_000;

/** Runs `open` while no other sidecar with several workers opens its ports. */
export async function inTurn<T>(
  clock: Clock,
  open: () => Promise<T>,
): Promise<T> {
  if (process.platform !== "linux")
    throw new UserError(
      "several workers need Linux, which gives each its part of the connections: leave --concurrency out",
    );
  const giveBack = await takeTurn(clock);
  try {
    return await open();
  } finally {
    giveBack();
  }
}

/** Resolves with the way to give the turn back. Those who wait hold a connection, and its end tells them that it is free. */
async function takeTurn(clock: Clock): Promise<() => void> {
  const waiting = new Set<Socket>();
  const deadline = clock.now() + GIVE_UP;
  for (;;) {
    try {
      const server = await listen(NAME, (socket) => {
        socket.on("error", ignore);
        socket.on("close", () => waiting.delete(socket));
        waiting.add(socket);
      });
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
      await itsEnd(clock, left);
    }
  }
}

/** Resolves when whoever has the turn gives it back, and after `ms` in any case. */
function itsEnd(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(NAME);
    const cancel = clock.after(ms, () => socket.destroy());
    socket.on("error", ignore);
    socket.on("close", () => {
      cancel();
      resolve();
    });
  });
}

/** Rejects as `listen` does where anybody listens on `port` of `host`. */
export async function assertFree(host: string, port: number): Promise<void> {
  const server = await listen(
    { host, port, ipv6Only: host === "::1" },
    (socket) => socket.destroy(),
  );
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
      resolve(server);
    };
    if (typeof where === "string") server.listen(where, listening);
    else server.listen(where, listening);
  });
}

function ignore(): void {
  // An error is followed by "close".
}
