/** An application that is a server of another process: bytes and ends go both ways as they come. */
import { connect, type Socket } from "node:net";

export function relayTo(port: () => number): (socket: Socket) => void {
  return (socket) => {
    const server = connect({
      port: port(),
      host: "127.0.0.1",
      allowHalfOpen: true,
    });
    for (const [from, to] of [
      [socket, server],
      [server, socket],
    ] as const) {
      from.pipe(to);
      from.on("error", () => to.resetAndDestroy());
    }
  };
}
