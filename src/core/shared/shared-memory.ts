/**
 * Memory that all workers of a process see, given out in regions by name: who asks for the same name gets the same words.
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
/** Octets: pages that nothing was put into are never backed. */
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
  const all = new Int32Array(buffer);
  const seed = new Int32Array(buffer, SEED * 4, 2);
  const hash = new Int32Array(2);

  /** The entry of the name that `hash` is of, or the empty one where it belongs. */
  const entryOf = (): number => {
    const [high = 0, low = 0] = hash;
    let index = homeOf(low);
    for (;;) {
      const at = DIRECTORY + index * ENTRY;
      const users = all[at + 3] ?? 0;
      if (users === 0 || (all[at] === high && all[at + 1] === low)) return at;
      index = (index + 1) % ENTRIES;
    }
  };

  const take = (size: number): number | undefined => {
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
  };

  /** Takes an entry out and moves those behind it up, so that every search still ends at an empty one (Knuth 6.4, algorithm R). */
  const forget = (at: number): void => {
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
  };

  return {
    buffer,
    region(name, words) {
      const size = sizeOf(words);
      lock(all, LOCK);
      try {
        keyedHash(name, seed, hash);
        const at = entryOf();
        const [high = 0, low = 0] = hash;
        if (all[at + 3] === 0) {
          // Never full: a search for a name that is not there ends at an empty entry.
          const count = all[LOCK + 1] ?? 0;
          const start = count < ENTRIES - 1 ? take(size) : undefined;
          if (start === undefined) return undefined;
          all[LOCK + 1] = count + 1;
          all.set([high, low, start], at);
        }
        all[at + 3] = (all[at + 3] ?? 0) + 1;
        const start = all[at + 2] ?? 0;
        let closed = false;
        return {
          words: new Int32Array(buffer, start * 4, size),
          close() {
            if (closed) return;
            closed = true;
            lock(all, LOCK);
            hash[0] = high;
            hash[1] = low;
            const entry = entryOf();
            all[entry + 3] = (all[entry + 3] ?? 1) - 1;
            if (all[entry + 3] === 0) {
              const list = FREE + Math.log2(size);
              all[start] = all[list] ?? 0;
              all[list] = start;
              // The search of `forget` ends at entries without users: this one counts as one until it is moved over.
              forget(entry);
            }
            unlock(all, LOCK);
          },
        };
      } finally {
        unlock(all, LOCK);
      }
    },
  };
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
