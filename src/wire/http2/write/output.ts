/** What a connection has to say, gathered over one turn of the event loop and handed to the socket in one write. */
import type { Socket } from "node:net";
import { BULK_SHARES, type Buffers } from "../../buffers.ts";
import { ByteWriter, giveBlock } from "./byte-writer.ts";
import { Flag, FrameType } from "../frames/frames.ts";

/** DATA from this size on is queued by reference, smaller is copied (measured: 44 against 70 µs for 64 KiB). */
const BY_REFERENCE = 4096;

const NOTHING: Buffer = Buffer.alloc(0);

export class Output {
  /** Where frames and field blocks are written. */
  readonly frames: ByteWriter = new ByteWriter();
  /** Bytes that are gathered for one write. */
  most: number;
  #wide = false;
  readonly #socket: Socket;
  readonly #onDrained: () => void;
  readonly #buffers: Buffers;
  /**
   * What Node calls when it is done with a write: with TLS that is never at once. The kernel mostly takes all of a write at once, and
   * then Node makes a tick for the call: there it is asked for only where something is left.
   */
  readonly #always: (() => void) | undefined;
  /** Chunks queued by reference, and the places in `frames` before which they belong. */
  #references: Buffer[] = [];
  #places: number[] = [];
  #referenced = 0;
  /** The buffer that the socket still holds; it is not written to until the socket has let go of it. */
  #lent: Buffer | undefined;
  #writes = 0;
  #written = 0;
  #closed = false;
  /** Bytes that the socket has been given so far, and how many those were when the kernel had taken all of them. */
  #handed = 0;
  #settled = 0;
  /** Bytes that wait here and in the socket, as far as they have been counted. */
  #counted = 0;
  /** Where the flags of the last HEADERS or DATA frame stand, as long as nothing was written behind it. */
  #lastFlags = -1;
  #lastStream = 0;
  #lastEnd = 0;

  constructor(
    socket: Socket,
    most: number,
    onDrained: () => void,
    buffers: Buffers,
  ) {
    this.#socket = socket;
    this.most = most;
    this.#onDrained = onDrained;
    this.#buffers = buffers;
    this.#always = "encrypted" in socket ? this.#onWritten : undefined;
  }

  /** Bytes that the socket has not been given yet. */
  get size(): number {
    return this.frames.length + this.#referenced;
  }

  /** The socket is still busy with the last write. */
  get busy(): boolean {
    return this.#lent !== undefined;
  }

  /** The number of the write that the socket is busy with. */
  get pendingWrite(): number | undefined {
    return this.#lent === undefined ? undefined : this.#writes;
  }

  /** The socket is busy and more than `bytes` wait: `onDrained` will come when it has taken them. */
  stuckOver(bytes: number): boolean {
    return this.#lent !== undefined && this.size > bytes;
  }

  /** Whether bulk may join what waits: no more of it than is worth one write, so that small frames do not wait behind it. */
  hasRoom(): boolean {
    // A socket that is busy may be one that nobody reads from.
    if (!this.busy) {
      if (this.size >= this.most && !this.#widen()) this.flush();
      return this.size < this.most;
    }
    const { share, bulk } = this.#buffers;
    if (this.size < Math.min(this.most, this.#wide ? bulk : share)) return true;
    return this.size >= this.most && this.#widen() && this.size < bulk;
  }

  /** More waits than goes into one write: from now on more does, where there is room for another such connection. */
  #widen(): boolean {
    if (this.#wide || this.#closed || !this.#buffers.wide()) return false;
    this.#wide = true;
    this.most *= BULK_SHARES;
    return true;
  }

  /** Bytes written here since the beginning: a mark to compare with `handedOver`. */
  get position(): number {
    return this.#handed + this.size;
  }

  /** Bytes below this position may have left the process; those above it have not. */
  get handedOver(): number {
    return this.#handed;
  }

  /** A DATA frame with `chunk[from, to)`. */
  data(
    id: number,
    chunk: Buffer,
    from: number,
    to: number,
    ends: boolean,
  ): void {
    const length = to - from;
    const { frames } = this;
    const start = frames.length;
    frames.header(length, FrameType.DATA, ends ? Flag.END_STREAM : 0, id);
    if (length >= BY_REFERENCE) {
      this.#references.push(
        length === chunk.length ? chunk : chunk.subarray(from, to),
      );
      this.#places.push(frames.length);
      this.#referenced += length;
    } else {
      frames.copy(chunk, from, to);
    }
    this.mark(id, start);
  }

  /** The frame that began at `start` is the last one, of stream `id`, and may yet be made to end its stream. */
  mark(id: number, start: number): void {
    this.#lastFlags = start + 4;
    this.#lastStream = id;
    this.#lastEnd = this.frames.length;
  }

  /** Sets END_STREAM on the last frame if it is still here and the stream's own; saves an empty DATA frame. */
  endLast(id: number): boolean {
    const { frames } = this;
    if (
      this.#lastStream !== id ||
      this.#lastFlags < 0 ||
      this.#lastEnd !== frames.length
    )
      return false;
    frames.bytes[this.#lastFlags] =
      (frames.bytes[this.#lastFlags] ?? 0) | Flag.END_STREAM;
    this.#lastFlags = -1;
    return true;
  }

  /** Gives everything to the socket, unless it is busy: then `onDrained` comes when it no longer is. */
  flush(): void {
    const socket = this.#socket;
    const { frames } = this;
    if (this.#lent !== undefined) {
      this.#count(this.#handed - this.#settled + this.size);
      return;
    }
    // A socket that is dead already takes nothing: what is here then never left, and is known not to have.
    if (this.size === 0 || this.#closed || !socket.writable) return;
    this.#handed += this.size;
    this.#writes += 1;
    this.#lastFlags = -1;
    if (this.#references.length === 0)
      socket.write(frames.bytes.subarray(0, frames.length), this.#always);
    else this.#writeAll(socket);
    const bytes = frames.release();
    // Only what the kernel took at once may be written over; otherwise the socket refers to it until it calls back.
    if (socket.writableLength === 0) {
      giveBlock(bytes);
      this.#settled = this.#handed;
      if (this.#always === undefined) this.#written = this.#writes;
    } else {
      this.#lent = bytes;
      this.#count(this.#handed - this.#settled);
      if (this.#always === undefined) socket.write(NOTHING, this.#onWritten);
    }
  }

  #count(bytes: number): void {
    if (bytes === this.#counted) return;
    this.#buffers.change(bytes - this.#counted);
    this.#counted = bytes;
  }

  /** Nothing more goes out. */
  close(): void {
    if (this.#wide && !this.#closed) this.#buffers.narrow();
    this.#closed = true;
    this.discard();
    this.#count(0);
  }

  /** Forgets what the socket has not been given. */
  discard(): void {
    this.#lastFlags = -1;
    this.#references = [];
    this.#places = [];
    this.#referenced = 0;
    giveBlock(this.frames.release());
  }

  #writeAll(socket: Socket): void {
    const { frames } = this;
    const references = this.#references;
    const places = this.#places;
    let from = 0;
    socket.cork();
    for (let i = 0; i < references.length; i++) {
      const place = places[i] ?? 0;
      if (place > from) socket.write(frames.bytes.subarray(from, place));
      from = place;
      const chunk = references[i];
      if (chunk === undefined) continue;
      if (i === references.length - 1 && from === frames.length)
        socket.write(chunk, this.#always);
      else socket.write(chunk);
    }
    if (from < frames.length)
      socket.write(frames.bytes.subarray(from, frames.length), this.#always);
    socket.uncork();
    this.#references = [];
    this.#places = [];
    this.#referenced = 0;
  }

  /** Called for each flush that is asked about, in order; for those that the kernel took at once it comes late and changes nothing. */
  readonly #onWritten = (): void => {
    this.#written += 1;
    if (this.#lent === undefined || this.#written !== this.#writes) return;
    giveBlock(this.#lent);
    this.#lent = undefined;
    this.#settled = this.#handed;
    if (this.#closed) return;
    this.#count(0);
    this.#onDrained();
  };
}
