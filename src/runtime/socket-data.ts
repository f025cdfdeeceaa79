/** How everything that reads from a socket does so: what came goes to its user, V8's collector hears of it, and Node's stream is kept from looking for more. */
import type { Socket } from "node:net";
import type { Bytes } from "../core/units.ts";
import { madeBuffer, wasRead } from "./collecting.ts";

/** Bytes that one read brings where that is not known to be worth more, and where nothing much is free. */
export const USUAL_READ = 16_384;
export const LEAST_READ = 4096;

/** How much may be read at once; `wire/buffers.ts` counts it for all sockets together. */
export interface ReadRoom {
  /** Bytes that one read may bring. */
  readonly readBytes: Bytes;
  /** There is room for sockets that read 64 KiB at once. */
  readonly roomy: boolean;
  /** A socket may bring `bytes` more in one read than it might before; fewer where it is negative. */
  promise(bytes: number): void;
  /** A socket asks to read so many times 64 KiB more at once; it gives that up by `small`. */
  large(times: number): boolean;
  small(times: number): void;
}

/** A socket as Node has it inside; where it no longer is so, it goes on as it would. */
interface Inside {
  readonly _readableState?: { readingMore?: boolean };
  readonly _handle?: { useUserBuffer?: (buffer: Uint8Array) => void } | null;
  [part: symbol]: unknown;
}

/** For a codec without a proxy around it. */
const UNBOUNDED: ReadRoom = {
  readBytes: USUAL_READ,
  roomy: true,
  promise: nothing,
  large: () => true,
  small: nothing,
};

/** As much as libuv reads at once, and the kernel has ready of a body that comes fast: so many times that. */
const READ = 64 * 1024;
const FAST = 4;
/**
 * Sockets of this thread that may read so at once. What they hold together must be little beside what is read between two collections of
 * the nursery (`collecting.ts`): what outlives two of them waits for a full one.
 */
const MOST_FAST = 8;
let fast = 0;
/**
 * What comes at once where there is more to come: a whole record of TLS, all that is usually read. From then on the socket has a buffer
 * of its own, whose parts are given away without a copy, and another when no room for so much is left: for as many
 * sockets as the proxy may hold as much of.
 */
const MUCH_TLS = 16 * 1024;
const MUCH_TCP = 48 * 1024;
/** Bytes that are not worth a part of it: with them the socket goes back to the buffer of all. */
const LITTLE = 8 * 1024;

const POOL = 8 * 1024;

/**
 * What the usual reads of all sockets go into: each is copied before there is another. Less than libuv would read, as thousands of
 * sockets may bring that much in one turn, before anything can stop them; and less again where not much is free.
 */
const SHARED: Buffer = Buffer.allocUnsafeSlow(USUAL_READ);
const SHARED_SHORT: Buffer = SHARED.subarray(0, LEAST_READ);

function shared(buffers: ReadRoom): Buffer {
  return buffers.readBytes < USUAL_READ ? SHARED_SHORT : SHARED;
}

/**
 * Gives `use` all that comes, from when the socket flows; `buffers` say how much may come at once. Returns the way to drop what comes
 * from then on, which then costs no memory.
 */
export function onData(
  socket: Socket,
  use: (chunk: Buffer) => void,
  buffers: ReadRoom = UNBOUNDED,
): () => void {
  const user: User = { use };
  skipReadingMore(socket as unknown as Inside);
  socket.on("data", (chunk: Buffer) => {
    wasRead(chunk.length);
    user.use?.(chunk);
  });
  readByCopy(socket, user, buffers);
  return () => (user.use = undefined);
}

interface User {
  use: ((chunk: Buffer) => void) | undefined;
}

/**
 * Node makes an ArrayBuffer of 64 KiB for each read, of which a call fills some hundred bytes. V8 counts all of it, and stops
 * everything for a full collection once some hundred calls have left theirs. So reads go to buffers of ours, as they do
 * for sockets that are made with `onread`, an option that accepted sockets and those of TLS do not have.
 */
function readByCopy(socket: Socket, user: User, buffers: ReadRoom): void {
  const inside = socket as unknown as Inside;
  const handle = inside._handle;
  if (socket.connecting || typeof handle?.useUserBuffer !== "function") return;
  const parts = partsOf(socket);
  if (parts === undefined) return;
  const reads = new Reads(
    socket,
    "encrypted" in socket ? MUCH_TLS : MUCH_TCP,
    buffers,
  );
  const first = reads.current;
  inside[parts.buffer] = first;
  inside[parts.callback] = (octets: number): boolean => {
    const { use } = user;
    if (use === undefined) return true;
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
  handle.useUserBuffer(first);
}

/**
 * For a reader of the first bytes of a socket by "readable" events: it brings no more at once than others do, where thousands that
 * come together would bring 64 KiB each. To be called off when that is over.
 */
export function readLittle(socket: Socket, buffers: ReadRoom): () => void {
  const inside = socket as unknown as Inside;
  const handle = inside._handle;
  const parts = partsOf(socket);
  if (parts === undefined || typeof handle?.useUserBuffer !== "function")
    return nothing;
  const buffer = shared(buffers);
  inside[parts.buffer] = buffer;
  inside[parts.callback] = (octets: number): boolean =>
    socket.push(copy(buffer, octets));
  inside[parts.generator] = null;
  handle.useUserBuffer(buffer);
  buffers.promise(buffer.length);
  let over = false;
  const end = (): void => {
    socket.off("close", end);
    if (!over) buffers.promise(-buffer.length);
    over = true;
  };
  socket.on("close", end);
  return end;
}

function nothing(): void {
  // Node reads as it would.
}

/** What a socket is read into, and what becomes of it. */
class Reads {
  current: Buffer;
  #next: Buffer | undefined;
  /** `current` or the next is a buffer of its own, which is counted: so many times 64 KiB. */
  #own = 0;
  /** The next buffer of its own is made: at once, or with the next read where the socket has been stopped. */
  #another: "at once" | "with a read" | undefined;
  readonly #socket: Socket;
  /** Bytes that come at once where there is more to come. */
  readonly #much: number;
  readonly #buffers: ReadRoom;

  constructor(socket: Socket, much: number, buffers: ReadRoom) {
    this.#socket = socket;
    this.#much = much;
    this.#buffers = buffers;
    this.current = shared(buffers);
    buffers.promise(this.current.length);
    socket.on("close", () => {
      this.#giveUp();
      buffers.promise(-this.current.length);
    });
  }

  /** The bytes that have just been read, for their user to keep. */
  take(octets: number): Buffer {
    const { current } = this;
    // Read into the buffer of all: for the first time, or after a stop.
    if (current.buffer === SHARED.buffer) {
      const more =
        octets === current.length &&
        (this.#own > 0 ? this.#buffers.roomy : this.#grow(1));
      if (more) this.#another = "at once";
      else this.#giveUp();
      return copy(current, octets);
    }
    if (octets < LITTLE) {
      this.#next = this.#giveUp();
      return copy(current, octets);
    }
    const left = current.length - octets;
    if (left >= this.#much) this.#next = current.subarray(octets);
    else if (!this.#buffers.roomy) this.#next = this.#giveUp();
    else {
      // One read has filled the usual one. What TLS gives out is never that much.
      if (octets === READ) this.#grow(FAST);
      this.#another = this.#own < FAST ? "at once" : "with a read";
    }
    return current.subarray(0, octets);
  }

  #grow(times: number): boolean {
    const more = times - this.#own;
    if (more === 0) return true;
    if (times === FAST && fast >= MOST_FAST) return false;
    if (!this.#buffers.large(more)) return false;
    if (times === FAST) fast += 1;
    this.#own = times;
    return true;
  }

  /** The buffer from now on; undefined where it stays. */
  next(): Buffer | undefined {
    let next = this.#next;
    if (this.#another !== undefined) next = this.#fresh();
    else if (this.#own === 0 && this.current.length !== this.#buffers.readBytes)
      next ??= shared(this.#buffers);
    if (next === undefined) return undefined;
    // What is left of a buffer of its own is the next read; large ones are counted by themselves.
    const { length } = this.current;
    if (next.length !== length) this.#buffers.promise(next.length - length);
    this.current = next;
    this.#next = undefined;
    return next;
  }

  /**
   * Node asks for the buffer of the next read at once, also where the user has just stopped the socket. A large one would lie there
   * for as long, beside the one that waits to be sent: it is made after one small read more.
   */
  #fresh(): Buffer {
    const rests = this.#another === "with a read" && this.#socket.isPaused();
    this.#another = undefined;
    if (rests) return shared(this.#buffers);
    const size = this.#own * READ;
    madeBuffer(size);
    return Buffer.allocUnsafeSlow(size);
  }

  #giveUp(): Buffer {
    if (this.#own === FAST) fast -= 1;
    if (this.#own > 0) this.#buffers.small(this.#own);
    this.#own = 0;
    return shared(this.#buffers);
  }
}

/** What small chunks are copied into, and how much of it is taken. Keeping a chunk keeps this: Node's own, of 64 KiB, would be too much. */
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
