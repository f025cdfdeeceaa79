/**
 * What a stream of HTTP/2 writes, in pieces shorter than a record of TLS. Node hands on all that a stream has at once, and TLS makes its
 * buffer as large as the largest of these writes, and keeps it for as long as the connection lasts.
 */
import type { Duplex } from "node:stream";

/** Bytes: with the heads of its frames, a piece stays below 16 KiB, from which on Node makes the buffer fit. */
export const PIECE = 16_000;

/** For a stream that ends with trailers: one that ends with its last byte would end with its first piece. */
export function writeInPieces(stream: Duplex): void {
  const write = stream._write.bind(stream);
  // Without it, what has gathered is written one by one.
  Object.defineProperty(stream, "_writev", { value: null });
  stream._write = (chunk: unknown, encoding, done) => {
    if (!Buffer.isBuffer(chunk) || chunk.length <= PIECE) {
      write(chunk, encoding, done);
      return;
    }
    let from = 0;
    const next = (error?: Error | null): void => {
      if (error !== undefined && error !== null) done(error);
      else if (from >= chunk.length) done();
      else {
        const piece = chunk.subarray(from, from + PIECE);
        from += PIECE;
        write(piece, encoding, next);
      }
    };
    next();
  };
}
