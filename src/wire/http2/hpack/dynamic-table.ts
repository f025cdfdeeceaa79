/** The decoder's dynamic table (RFC 7541 2.3.2, 4): the last fields that the peer told us to remember. */
import type { WireField } from "./names.ts";

export class DynamicTable {
  /** A ring; its length is a power of two. */
  #ring: (WireField | undefined)[] = new Array<undefined>(64).fill(undefined);
  /** Where the next entry goes, counted without end. */
  #next = 0;
  #entries = 0;
  #octets = 0;
  #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#entries;
  }

  /** Bytes taken, of `limit` at most. */
  get size(): number {
    return this.#octets;
  }

  get maxSize(): number {
    return this.#limit;
  }

  /** The entry at `index`, 0 being the newest. */
  get(index: number): WireField | undefined {
    if (index >= this.#entries) return undefined;
    return this.#ring[(this.#next - 1 - index) & (this.#ring.length - 1)];
  }

  /** Adds an entry, evicting old ones; one larger than the table empties it (4.4). */
  add(field: WireField): void {
    this.#shrink(this.#limit - field.size);
    if (field.size > this.#limit) return;
    if (this.#entries === this.#ring.length) this.#grow();
    this.#ring[this.#next & (this.#ring.length - 1)] = field;
    this.#next = (this.#next + 1) >>> 0;
    this.#entries += 1;
    this.#octets += field.size;
  }

  resize(limit: number): void {
    this.#limit = limit;
    this.#shrink(limit);
  }

  #shrink(room: number): void {
    const mask = this.#ring.length - 1;
    while (this.#entries > 0 && this.#octets > room) {
      const oldest = (this.#next - this.#entries) & mask;
      this.#octets -= this.#ring[oldest]?.size ?? 0;
      this.#ring[oldest] = undefined;
      this.#entries -= 1;
    }
  }

  #grow(): void {
    const larger = new Array<WireField | undefined>(this.#ring.length * 2).fill(
      undefined,
    );
    for (let index = 0; index < this.#entries; index++)
      larger[(this.#next - 1 - index) & (larger.length - 1)] = this.get(index);
    this.#ring = larger;
  }
}
