/** How much of what was written to a socket waits in this process, counted, and whether its writer should wait as well. */
import type { Socket } from "node:net";
import type { Buffers } from "./buffers.ts";

/** Bytes below which what TLS has not sent says nothing: its writes are never over at once. */
const USUAL_TLS = 16 * 1024;
/** Bytes that are gathered for one write in any case. */
const BULK = 64 * 1024;
const NOTHING: Buffer = Buffer.alloc(0);

/**
 * "Full" means that the socket holds as much in user space as it may: Node's high-water mark (64 KiB), or the share of one queue where
 * little is free. That the kernel took everything at once does not make it full, though Node's own `write` then says false as well.
 */
export class SocketRoom {
  full = false;
  readonly #socket: Socket;
  readonly #onRoom: () => void;
  readonly #buffers: Buffers;
  /** Bytes below which nothing is counted. */
  readonly #usual: number;
  #counted = 0;
  /** The end of what waits is marked, and it will be told when that has been taken. */
  #marked = false;

  /** `onRoom` is called when the socket was full and no longer is. */
  constructor(socket: Socket, onRoom: () => void, buffers: Buffers) {
    this.#socket = socket;
    this.#onRoom = onRoom;
    this.#buffers = buffers;
    this.#usual = "encrypted" in socket ? USUAL_TLS : 0;
    socket.on("drain", () => this.#taken());
    socket.on("close", () => this.#count(0));
  }

  /** Bytes of bulk that are worth gathering for one write: more where the socket takes all that it is given, and has no buffer of its own that would grow. */
  get bulk(): number {
    const socket = this.#socket;
    return this.#usual > 0 || socket.writableLength > 0
      ? BULK
      : Math.max(BULK, this.#buffers.bulk);
  }

  /** Something was written: what of it waits? */
  written(): void {
    const socket = this.#socket;
    const waiting = socket.writableLength;
    if (waiting <= this.#usual) return;
    this.#count(waiting);
    const most = socket.writableHighWaterMark;
    // Only when all has been taken is it no longer full: otherwise a write just before would swallow that.
    if (waiting >= Math.min(most, this.#buffers.share)) this.full = true;
    // Node does not say when less than its high-water mark has been taken.
    if (waiting >= most || this.#marked || !socket.writable) return;
    this.#marked = true;
    socket.write(NOTHING, this.#markTaken);
  }

  readonly #markTaken = (): void => {
    this.#marked = false;
    this.#taken();
  };

  /** The socket has taken all that waited when it was marked, or all of it. */
  #taken(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    if (socket.writableLength > this.#usual) {
      this.written();
      return;
    }
    this.#count(0);
    if (!this.full) return;
    this.full = false;
    this.#onRoom();
  }

  #count(octets: number): void {
    if (octets === this.#counted) return;
    this.#buffers.change(octets - this.#counted);
    this.#counted = octets;
  }
}
