/** What both ends of the codec do with a socket: listen to it in one way, and end it so that the end is not mistaken for another. */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Buffers } from "./buffers.ts";
import { onData } from "../runtime/socket-data.ts";
import { countBroken } from "./machine-error.ts";

/** Hears of what happens on a socket. */
export interface SocketUser {
  received(chunk: Buffer): void;
  /** The peer's FIN. */
  finished(): void;
  /** The last event; with the error that ended the connection, where one did. */
  closed(error: Error | undefined): void;
}

/** Starts the flow of the socket to its user. What becomes of a connection that the peer half closes is the user's to say. */
export function attend(
  socket: Socket,
  user: SocketUser,
  buffers: Buffers,
): void {
  let failure: Error | undefined;
  socket.allowHalfOpen = true;
  socket.setNoDelay(true);
  onData(socket, (chunk) => user.received(chunk), buffers);
  socket.on("end", () => user.finished());
  socket.on("error", (error: Error) => {
    failure = error;
    countBroken(error);
  });
  socket.on("close", () => user.closed(failure));
  socket.resume();
}

/**
 * A reset where the transport is bare TCP; other kinds have none that Node would let us send. While our FIN is on its way libuv
 * refuses a reset (EINVAL), and Node 26 then never closes the socket: such a one is destroyed.
 */
export function reset(socket: Socket): void {
  const isTcp = socket.remoteFamily !== undefined;
  const ending = socket.writableEnded && !socket.writableFinished;
  if (isTcp && !ending && !(socket instanceof TLSSocket))
    socket.resetAndDestroy();
  else socket.destroy();
}
