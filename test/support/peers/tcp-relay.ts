/** An application that is a server of another process: bytes and ends go both ways as they come. */
import { connect, type Socket } from "node:net";
import type { Transform } from "node:stream";

/** `change`: makes what the bytes of a caller pass on their way to the server. */
export function relayTo(
  port: number,
  change?: () => Transform,
): (socket: Socket) => void {
  return (socket) => {
    const server = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const changed = change?.();
    if (changed === undefined) socket.pipe(server);
    else socket.pipe(changed).pipe(server);
    server.pipe(socket);
    socket.on("error", () => server.resetAndDestroy());
    server.on("error", () => socket.resetAndDestroy());
  };
}
