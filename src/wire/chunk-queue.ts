/**
 * Chunks of a body that must wait. A chunk is a slice of what one read brought, and keeps all of it alive: a peer that sends one
 * byte of a stream with 64 KiB of others each time could make us hold 64 KiB a byte. So a small slice of something large is
 * copied behind the one before it; the others wait as they are.
 */

/** A slice is copied where what it was cut from is more than so many times as large, unless told otherwise: memory may exceed content that far. */
const WASTE = 16;
/** Bytes of the blocks that small slices are copied into: each is as large as all before it, within these bounds. */
const SMALLEST = 256;
const LARGEST = 4096;

export class ChunkQueue {
  /** Oldest first. */
  readonly chunks: Buffer[] = [];
  /** The last chunk is the end of the first `filled` bytes of this block, which has room behind them. */
  #block: Buffer | undefined;
  #filled = 0;
  #copied = 0;

  push(chunk: Buffer, waste: number = WASTE): void {
    if (chunk.length * waste >= chunk.buffer.byteLength) {
      this.#block = undefined;
      this.chunks.push(chunk);
      return;
    }
    for (let from = 0; from < chunk.length;) from += this.#copy(chunk, from);
  }

  /** Takes the oldest away. */
  shift(): void {
    this.chunks.shift();
    if (this.chunks.length === 0) this.#block = undefined;
  }

  /** Copies as much of `chunk` from `from` on as the block takes; gives how much that was. */
  #copy(chunk: Buffer, from: number): number {
    const block = this.#block ?? this.#begin();
    const last = this.chunks.length - 1;
    const start = this.#filled - (this.chunks[last]?.length ?? 0);
    const taken = chunk.copy(block, this.#filled, from);
    this.#filled += taken;
    this.#copied += taken;
    this.chunks[last] = block.subarray(start, this.#filled);
    if (this.#filled === block.length) this.#block = undefined;
    return taken;
  }

  #begin(): Buffer {
    const size = Math.min(LARGEST, Math.max(SMALLEST, this.#copied));
    const block = Buffer.allocUnsafeSlow(size);
    this.#block = block;
    this.#filled = 0;
    this.chunks.push(block.subarray(0, 0));
    return block;
  }
}
