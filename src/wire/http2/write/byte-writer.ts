/** A buffer that frames and field blocks are written into one after the other; blocks of memory go back to a pool when they are free. */
import { FRAME_HEADER } from "../frames/frames.ts";

/** Bytes of a pooled block: what a connection writes in one turn of the event loop mostly fits. */
const BLOCK = 32_768;
/** Blocks kept for later: an idle connection holds none. */
const POOLED = 64;

const NONE: Buffer = Buffer.alloc(0);
const pool: Buffer[] = [];

function takeBlock(): Buffer {
  return pool.pop() ?? Buffer.allocUnsafeSlow(BLOCK);
}

export function giveBlock(block: Buffer): void {
  if (block.length === BLOCK && pool.length < POOLED) pool.push(block);
}

export class ByteWriter {
  bytes: Buffer = NONE;
  length = 0;

  /** Makes room for `more` bytes behind `length`. `bytes` may be another buffer afterwards. */
  reserve(more: number): void {
    const needed = this.length + more;
    if (needed > this.bytes.length) this.#enlarge(needed);
  }

  /** Copies `source[from, to)`. */
  copy(source: Buffer, from: number, to: number): void {
    this.reserve(to - from);
    const { bytes } = this;
    let at = this.length;
    // A call into the runtime costs as much as copying some fifty bytes here.
    if (to - from <= 48)
      for (let i = from; i < to; i++) bytes[at++] = source[i] ?? 0;
    else at += source.copy(bytes, at, from, to);
    this.length = at;
  }

  /** Writes a frame's first nine bytes (RFC 9113 4.1). */
  header(length: number, type: number, flags: number, id: number): void {
    this.reserve(FRAME_HEADER);
    writeHeader(this.bytes, this.length, length, type, flags, id);
    this.length += FRAME_HEADER;
  }

  uint32(value: number): void {
    this.reserve(4);
    this.bytes.writeUInt32BE(value >>> 0, this.length);
    this.length += 4;
  }

  uint16(value: number): void {
    this.reserve(2);
    this.bytes.writeUInt16BE(value, this.length);
    this.length += 2;
  }

  /** Gives up the buffer, which the caller now owns. */
  release(): Buffer {
    const { bytes } = this;
    this.bytes = NONE;
    this.length = 0;
    return bytes;
  }

  #enlarge(needed: number): void {
    if (this.bytes.length === 0 && needed <= BLOCK) {
      this.bytes = takeBlock();
      return;
    }
    const larger = Buffer.allocUnsafeSlow(
      Math.max(needed, this.bytes.length * 2),
    );
    this.bytes.copy(larger, 0, 0, this.length);
    giveBlock(this.bytes);
    this.bytes = larger;
  }
}

export function writeHeader(
  bytes: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  id: number,
): void {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  bytes[at + 5] = id >>> 24;
  bytes[at + 6] = id >>> 16;
  bytes[at + 7] = id >>> 8;
  bytes[at + 8] = id;
}
