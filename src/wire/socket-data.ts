/** How everything that reads from a socket does so: what came goes to its user, V8's collector is told of it, and Node's stream is kept from looking for more. */
import type { Socket } from "node:net";
import { wasRead } from "./collecting.ts";

/** A socket as Node has it inside; where it no longer is so, it goes on as it would. */
interface Inside {
  readonly _readableState?: { readingMore?: boolean };
  readonly _handle?: { useUserBuffer?: (buffer: Uint8Array) => void } | null;
  [part: symbol]: unknown;
}

/** As much as libuv reads at once. */
const READ = 64 * 1024;
/**
 * What comes at once where there is more to come: a whole record of TLS, most of what libuv reads. From then on the socket has a buffer
 * of its own, whose parts are given away without a copy, and another when no room for so much is left.
 */
const MUCH_TLS = 16 * 1024;
const MUCH_TCP = 48 * 1024;
/** Octets that are not worth a part of it: with them the socket goes back to the buffer of all. */
const LITTLE = 8 * 1024;

const POOL = 8 * 1024;

/** What small reads of all sockets are read into: each is copied before there is another. */
const SHARED: Buffer = Buffer.allocUnsafeSlow(READ);

/** Gives `use` all that comes, from when the socket flows. */
export function onData(socket: Socket, use: (chunk: Buffer) => void): void {
  skipReadingMore(socket as unknown as Inside);
  socket.on("data", (chunk: Buffer) => {
    wasRead(chunk.length);
    use(chunk);
  });
  readByCopy(socket, use);
}

/**
 * Node makes an ArrayBuffer of 64 KiB for each read, of which a call fills some hundred octets. V8 counts all of it, and stops
 * everything for a full collection once some hundred calls have left theirs. So reads go to buffers of ours, as they do
 * for sockets that are made with `onread`, an option that accepted sockets and those of TLS do not have.
 */
function readByCopy(socket: Socket, use: (chunk: Buffer) => void): void {
  const inside = socket as unknown as Inside;
  const handle = inside._handle;
  if (socket.connecting || typeof handle?.useUserBuffer !== "function") return;
  const parts = partsOf(socket);
  if (parts === undefined) return;
  const reads = new Reads("encrypted" in socket ? MUCH_TLS : MUCH_TCP);
  inside[parts.buffer] = SHARED;
  inside[parts.callback] = (octets: number): boolean => {
    const chunk = reads.take(octets);
    // TLS gives out what it has deciphered though it was told to stop; and what waits goes first.
    if (socket.isPaused() || socket.readableLength > 0)
      return socket.push(chunk);
    try {
      use(chunk);
    } catch (defect) {
      // The next buffer is not asked for, and the chunk would be written over.
      socket.destroy();
      throw defect;
    }
    return true;
  };
  // Asked after each read.
  inside[parts.generator] = () => reads.next();
  handle.useUserBuffer(SHARED);
}

/** What a socket is read into, and what becomes of it. */
class Reads {
  #current: Buffer = SHARED;
  #next: Buffer | undefined;
  readonly #much: number;

  constructor(much: number) {
    this.#much = much;
  }

  /** The octets that have just been read, for their user to keep. */
  take(octets: number): Buffer {
    const current = this.#current;
    if (current !== SHARED && octets >= LITTLE) {
      const left = current.length - octets;
      this.#next = left < this.#much ? fresh() : current.subarray(octets);
      return current.subarray(0, octets);
    }
    if (octets >= this.#much) this.#next = fresh();
    else if (current !== SHARED) this.#next = SHARED;
    return copy(current, octets);
  }

  /** The buffer from now on; undefined where it stays. */
  next(): Buffer | undefined {
    const next = this.#next;
    if (next === undefined) return undefined;
    this.#current = next;
    this.#next = undefined;
    return next;
  }
}

/** What small chunks are copied into, and how much of it is taken. Whoever keeps a chunk keeps this: Node's own, of 64 KiB, would be too much. */
let pool: Buffer = Buffer.allocUnsafeSlow(POOL);
let taken = 0;

function copy(from: Buffer, octets: number): Buffer {
  let chunk: Buffer;
  if (octets > POOL / 4) {
    wasRead(octets);
    chunk = Buffer.allocUnsafeSlow(octets);
  } else {
    if (octets > POOL - taken) {
      pool = Buffer.allocUnsafeSlow(POOL);
      taken = 0;
    }
    chunk = pool.subarray(taken, taken + octets);
    taken += octets;
  }
  from.copy(chunk, 0, 0, octets);
  return chunk;
}

function fresh(): Buffer {
  wasRead(READ);
  return Buffer.allocUnsafeSlow(READ);
}

interface Parts {
  readonly buffer: symbol;
  readonly callback: symbol;
  readonly generator: symbol;
}

let known: Parts | undefined;

/** Where Node's `onread` is kept; the same symbols in every socket. */
function partsOf(socket: Socket): Parts | undefined {
  if (known !== undefined) return known;
  const find = (name: string): symbol | undefined =>
    Object.getOwnPropertySymbols(socket).find(
      ({ description }) => description === name,
    );
  const buffer = find("kBuffer");
  const callback = find("kBufferCb");
  const generator = find("kBufferGen");
  if (buffer === undefined || callback === undefined || generator === undefined)
    return undefined;
  known = { buffer, callback, generator };
  return known;
}

/**
 * After each chunk a stream of Node's looks, a tick later, whether its buffer has room and reads more. A socket reads by itself as long as
 * it is not stopped, so that look finds nothing, and it costs a tenth of a small call. Where a stream says that such a look
 * is due already, it asks for no other.
 */
function skipReadingMore({ _readableState: state }: Inside): void {
  if (state?.readingMore === false) state.readingMore = true;
}
