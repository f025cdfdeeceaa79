/**
 * A socket that hands on what has come before it fails. A server may respond and break off before it has read all of a request; the
 * error of the write is known first then, and Node would throw away with the socket what the kernel has received.
 */
import type { Socket } from "node:net";

/** For a connected socket whose user reads it to the end, or destroys it. */
export function readFirst(socket: Socket): void {
  const write = socket._write.bind(socket);
  const writeAll = socket._writev?.bind(socket);
  const late =
    (done: Done): Done =>
    (error) => {
      if (error === undefined || error === null) {
        done(error);
        return;
      }
      // A connection that cannot be written to is at its end, so that one of the two comes.
      const tell = (): void => {
        socket.off("end", tell);
        socket.off("close", tell);
        done(error);
      };
      socket.on("end", tell);
      socket.on("close", tell);
    };
  socket._write = (chunk, encoding, done) => write(chunk, encoding, late(done));
  if (writeAll !== undefined)
    socket._writev = (chunks, done) => writeAll(chunks, late(done));
}

type Done = (error?: Error | null) => void;
