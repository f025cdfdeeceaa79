/** How everything that reads from a socket does so: what came goes to its user, V8's collector is told of it, and Node's stream is kept from looking for more. */
import type { Socket } from "node:net";
import { wasRead } from "./collecting.ts";

/** A stream as Node has it inside; where it no longer is so, it goes on as it would. */
interface Inside {
  readonly _readableState?: { readingMore?: boolean };
}

/** Gives `use` all that comes, from when the socket flows. */
export function onData(socket: Socket, use: (chunk: Buffer) => void): void {
  skipReadingMore(socket);
  socket.on("data", (chunk: Buffer) => {
    wasRead(chunk.length);
    use(chunk);
  });
}

/**
 * After each chunk a stream of Node's looks, a tick later, whether its buffer has room and reads more. A socket reads by itself as long as
 * it is not stopped, so that look finds nothing, and it costs a tenth of a small call. Where a stream says that such a look
 * is due already, it asks for no other.
 */
function skipReadingMore(socket: Socket & Inside): void {
  const state = socket._readableState;
  if (state?.readingMore === false) state.readingMore = true;
}
