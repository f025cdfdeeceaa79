/**
 * Memory that all workers of a process see, given out in regions by name: the same name gives the same words.
 *
 * ```
 *   header (locks, free lists) │ directory: hash of name → region, users │ regions, each a power of two of words, zero at first
 * ```
 * Finding and letting go of a region take the directory's lock; using one takes none but what its owner makes of its words.
 */
import { randomFillSync } from "node:crypto";
import { keyedHash } from "./keyed-hash.ts";
import { lock, unlock } from "./lock.ts";

/** Words of one region. A worker that holds it may use them; after `close` it may not. */
export interface Region {
  readonly words: Int32Array;
  /** Lets go of it; the last one to do so gives it back. */
  close(): void;
}

export interface SharedMemory {
  readonly buffer: SharedArrayBuffer;
  /** At least `words` words for `name`; undefined where there is no room left. */
  region(name: string, words: number): Region | undefined;
}

const LOCK = 0;
const SEED = 2;
const USED = 4;
/** Heads of the lists of free regions, by the logarithm of their size. */
const FREE = 8;
const SIZES = 24;
const DIRECTORY = 64;
/** Names at most. */
const ENTRIES = 16_384;
/** Two words of hash, the region's first word, users. */
const ENTRY = 4;
const FIRST_REGION = DIRECTORY + ENTRIES * ENTRY;
/** A line of the processor's cache: two workers' regions never share one. */
const SMALLEST = 16;
/** Bytes: pages that nothing was put into are never backed. */
const OCTETS = 8 * 1024 * 1024;

/** Made by one worker, which hands `buffer` to the others. */
export function makeSharedMemory(): SharedMemory {
  const buffer = new SharedArrayBuffer(OCTETS);
  randomFillSync(new Int32Array(buffer, SEED * 4, 2));
  new Int32Array(buffer)[USED] = FIRST_REGION;
  return shareMemory(buffer);
}

/** One worker's view of the memory. */
export function shareMemory(buffer: SharedArrayBuffer): SharedMemory {
  return new Regions(buffer);
}

class Regions implements SharedMemory {
  readonly buffer: SharedArrayBuffer;
  readonly #all: Int32Array;
  readonly #seed: Int32Array;
  readonly #hash = new Int32Array(2);

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#all = new Int32Array(buffer);
    this.#seed = new Int32Array(buffer, SEED * 4, 2);
  }

  region(name: string, words: number): Region | undefined {
    const size = sizeOf(words);
    lock(this.#all, LOCK);
    try {
      keyedHash(name, this.#seed, this.#hash);
      const [high = 0, low = 0] = this.#hash;
      const start = this.#join(high, low, size);
      return start === undefined
        ? undefined
        : this.#open(high, low, start, size);
    } finally {
      unlock(this.#all, LOCK);
    }
  }

  /** Adds a user to the name's region, which is made where there is none: its first word. */
  #join(high: number, low: number, size: number): number | undefined {
    const all = this.#all;
    const at = this.#entryOf(high, low);
    if (all[at + 3] === 0) {
      // Never full: a search for a name that is not there ends at an empty entry.
      const count = all[LOCK + 1] ?? 0;
      const start = count < ENTRIES - 1 ? this.#take(size) : undefined;
      if (start === undefined) return undefined;
      all[LOCK + 1] = count + 1;
      all.set([high, low, start], at);
    }
    all[at + 3] = (all[at + 3] ?? 0) + 1;
    return all[at + 2] ?? 0;
  }

  #open(high: number, low: number, start: number, size: number): Region {
    let closed = false;
    return {
      words: new Int32Array(this.buffer, start * 4, size),
      close: () => {
        if (closed) return;
        closed = true;
        lock(this.#all, LOCK);
        this.#leave(high, low, start, size);
        unlock(this.#all, LOCK);
      },
    };
  }

  #leave(high: number, low: number, start: number, size: number): void {
    const all = this.#all;
    const entry = this.#entryOf(high, low);
    all[entry + 3] = (all[entry + 3] ?? 1) - 1;
    if (all[entry + 3] !== 0) return;
    const list = FREE + Math.log2(size);
    all[start] = all[list] ?? 0;
    all[list] = start;
    // The search of `#forget` ends at entries without users: this one counts as one until it is moved over.
    this.#forget(entry);
  }

  /** The entry of the name with this hash, or the empty one where it belongs. */
  #entryOf(high: number, low: number): number {
    const all = this.#all;
    let index = homeOf(low);
    for (;;) {
      const at = DIRECTORY + index * ENTRY;
      const users = all[at + 3] ?? 0;
      if (users === 0 || (all[at] === high && all[at + 1] === low)) return at;
      index = (index + 1) % ENTRIES;
    }
  }

  #take(size: number): number | undefined {
    const all = this.#all;
    const list = FREE + Math.log2(size);
    const free = all[list] ?? 0;
    if (free !== 0) {
      all[list] = all[free] ?? 0;
      all.fill(0, free, free + size);
      return free;
    }
    const start = all[USED] ?? 0;
    if (start + size > all.length) return undefined;
    all[USED] = start + size;
    return start;
  }

  /** Takes an entry out and moves those behind it up, so that every search still ends at an empty one (Knuth 6.4, algorithm R). */
  #forget(at: number): void {
    const all = this.#all;
    let hole = (at - DIRECTORY) / ENTRY;
    for (let index = (hole + 1) % ENTRIES; ; index = (index + 1) % ENTRIES) {
      const entry = DIRECTORY + index * ENTRY;
      if (all[entry + 3] === 0) break;
      const home = homeOf(all[entry + 1] ?? 0);
      const between =
        hole <= index
          ? hole < home && home <= index
          : hole < home || home <= index;
      if (between) continue;
      all.copyWithin(DIRECTORY + hole * ENTRY, entry, entry + ENTRY);
      hole = index;
    }
    const empty = DIRECTORY + hole * ENTRY;
    all.fill(0, empty, empty + ENTRY);
    all[LOCK + 1] = (all[LOCK + 1] ?? 0) - 1;
  }
}

function homeOf(low: number): number {
  return (low >>> 0) % ENTRIES;
}

function sizeOf(words: number): number {
  const size = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(words)));
  if (size > 2 ** (SIZES - 1))
    throw new RangeError(`${words} words are too many`);
  return size;
}
