/**
 * The open streams of a connection by id. Not a `Map`: one that is filled and emptied all the time makes new tables all the
 * time, each pointing to its successor and to what it held, so that one dead table in the old generation kept every
 * exchange after it alive until the next full collection (measured: 3 KiB a request, and half of the process's memory).
 */

/** Slots at first; a power of two. */
const SLOTS = 16;

/** Open addressing, and an entry is put back in place of a removed one (Knuth 6.4, algorithm R), so that nothing piles up. */
export class StreamTable<S extends { readonly id: number }> {
  #slots: (S | undefined)[] = empty<S>(SLOTS);
  #mask: number = SLOTS - 1;
  #count = 0;

  get size(): number {
    return this.#count;
  }

  get(id: number): S | undefined {
    return this.#slots[this.#find(id)];
  }

  set(id: number, stream: S): void {
    // At most half full: a search ends after a step or two.
    if (this.#count * 2 >= this.#slots.length) this.#grow();
    const at = this.#find(id);
    if (this.#slots[at] === undefined) this.#count += 1;
    this.#slots[at] = stream;
  }

  delete(id: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let hole = this.#find(id);
    if (slots[hole] === undefined) return;
    this.#count -= 1;
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const stream = slots[at];
      if (stream === undefined) break;
      // Whatever would have stood in the hole, had it been free, moves there.
      const home = homeOf(stream.id) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      slots[hole] = stream;
      hole = at;
    }
    slots[hole] = undefined;
  }

  clear(): void {
    this.#slots = empty(SLOTS);
    this.#mask = SLOTS - 1;
    this.#count = 0;
  }

  /** Those of now: what comes and goes meanwhile changes nothing. */
  values(): S[] {
    return this.#slots.filter((stream) => stream !== undefined);
  }

  /** Where the stream stands, or where it would. */
  #find(id: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    let at = homeOf(id) & mask;
    for (;;) {
      const stream = slots[at];
      if (stream === undefined || stream.id === id) return at;
      at = (at + 1) & mask;
    }
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = empty(before.length * 2);
    this.#mask = this.#slots.length - 1;
    for (const stream of before)
      if (stream !== undefined) this.#slots[this.#find(stream.id)] = stream;
  }
}

/** The streams of one side have every other number, in a row. */
function homeOf(id: number): number {
  return id >>> 1;
}

function empty<S>(length: number): (S | undefined)[] {
  return new Array<S | undefined>(length).fill(undefined);
}
