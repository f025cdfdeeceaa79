/**
 * The buckets of all rate limits of a process, in memory that its threads share: a fixed number of them, whatever keys come.
 *
 * A bucket is one number, as in GCRA (ITU-T I.371, "virtual scheduling"): the time at which it will be full again. It is in the past
 * for a key that owes nothing, so such a bucket may be given away without a loss. A new key that finds all places of its set in debt
 * takes over the one with the least debt, and the debt with it ("space saving", Metwally et al. 2005). So no caller
 * passes a limit by inventing keys until its own is forgotten: to push out a debt, a caller runs up as much under other keys. Keys
 * that share a bucket then get less than their limit, never more.
 */
import type { MonotonicMs } from "../units.ts";
import { keyedHash, type HashWords } from "./keyed-hash.ts";

export interface Rate {
  /** Nanoseconds that one request costs. */
  readonly cost: number;
  /** Requests that may come at once. */
  readonly burst: number;
}

export interface RateTable {
  /** Takes one request from the bucket of `key` under the limit `id`: 0, or the milliseconds after which there will be room. `now` in monotonic milliseconds of the process. */
  take(id: string, key: string, rate: Rate, now: MonotonicMs): number;
  /** Gives back what `take` took for a request that another limit refused. */
  giveBack(id: string, key: string, rate: Rate): void;
  /** Limits that are there no longer leave their region to others. */
  retain(ids: ReadonlySet<string>): void;
}

/** Places that one key may have. */
const WAYS = 8;
const SETS = 1024;
/** Keys in debt that one limit can tell apart. */
export const KEYS_PER_LIMIT: number = WAYS * SETS;
/** The first is that of all limits without a key; each of the others is one limit's own as long as there are enough. */
const REGIONS = 32;
const BUCKETS = KEYS_PER_LIMIT * REGIONS;

/** Nanoseconds. */
const SECOND = 1e9;

const SEED_WORDS = 2;
const TIMES = 8 * (SEED_WORDS / 2);
const NAMES = TIMES + 8 * BUCKETS;
const OWNERS = NAMES + 4 * BUCKETS;

/** Bytes of the memory of one process; pages that no key touches are never backed. */
export const RATE_TABLE_BYTES: number = OWNERS + 4 * REGIONS;

/** The memory for `rateTable`. `seed`: eight bytes that nobody outside knows. */
export function rateTableMemory(seed: Uint8Array): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(RATE_TABLE_BYTES);
  new Uint8Array(memory, 0, 8).set(seed.subarray(0, 8));
  return memory;
}

/** One thread's view of the buckets in `memory`; all threads of a process use the same. */
export function rateTable(memory: SharedArrayBuffer): RateTable {
  return new Buckets(memory);
}

/** A limit's place in the table. */
interface Owner {
  /** Distinguishes equal keys of different limits. */
  readonly words: HashWords;
  /** Index of its region's first bucket; −1 until its first key asks for one. */
  region: number;
}

class Buckets implements RateTable {
  readonly #seed: HashWords;
  /** Nanoseconds; 0 was never used. */
  readonly #times: BigInt64Array;
  /** Part of the key's hash; 0 is nobody's. */
  readonly #names: Int32Array;
  /** Hash of the limit that a region belongs to; 0 is nobody's. */
  readonly #owners: Int32Array;
  readonly #known = new Map<string, Owner>();
  readonly #hash: HashWords = new Int32Array(2);
  readonly #key: HashWords = new Int32Array(2);

  constructor(memory: SharedArrayBuffer) {
    this.#seed = new Int32Array(memory, 0, SEED_WORDS);
    this.#times = new BigInt64Array(memory, TIMES, BUCKETS);
    this.#names = new Int32Array(memory, NAMES, BUCKETS);
    this.#owners = new Int32Array(memory, OWNERS, REGIONS);
  }

  take(
    id: string,
    key: string,
    { cost, burst }: Rate,
    nowMs: MonotonicMs,
  ): number {
    const now = nowMs * 1e6;
    const at = this.#bucketOf(id, key, now);
    const full = cost * burst;
    for (;;) {
      const seen = Atomics.load(this.#times, at);
      // A debt that this limit cannot know is another's, from before its settings changed or its bucket was taken over. A debt that is
      // a moment too large is this limit's own: another thread has read the clock later.
      const foreign = Number(seen) > now + 2 * full + SECOND;
      const owed = foreign ? now + full : Math.max(Number(seen), now);
      // A nanosecond for the rounding.
      const room = owed + cost <= now + full + 1;
      const wait = room ? 0 : (owed + cost - full - now) / 1e6;
      if (!room && !foreign) return wait;
      const next = BigInt(Math.round(room ? owed + cost : owed));
      if (Atomics.compareExchange(this.#times, at, seen, next) === seen)
        return wait;
    }
  }

  giveBack(id: string, key: string, { cost }: Rate): void {
    const at = this.#bucketOf(id, key, Number.NaN);
    if (at >= 0) Atomics.sub(this.#times, at, BigInt(Math.round(cost)));
  }

  retain(ids: ReadonlySet<string>): void {
    const kept = new Set<number>();
    for (const id of ids) kept.add((this.#ownerOf(id).words[0] ?? 0) || 1);
    for (let region = 1; region < REGIONS; region += 1) {
      const owner = Atomics.load(this.#owners, region);
      if (owner !== 0 && !kept.has(owner))
        Atomics.compareExchange(this.#owners, region, owner, 0);
    }
    this.#known.clear();
  }

  #ownerOf(id: string): Owner {
    const found = this.#known.get(id);
    if (found !== undefined) return found;
    const words = new Int32Array(2);
    keyedHash(id, this.#seed, words);
    const owner = { words, region: -1 };
    this.#known.set(id, owner);
    return owner;
  }

  /** The bucket of the key; −1 where it has none and `now` is NaN, so that it gets none. */
  #bucketOf(id: string, text: string, now: number): number {
    const owner = this.#ownerOf(id);
    const key = this.#key;
    const hash = this.#hash;
    key[0] = (this.#seed[0] ?? 0) ^ (owner.words[0] ?? 0);
    key[1] = (this.#seed[1] ?? 0) ^ (owner.words[1] ?? 0);
    keyedHash(text, key, hash);
    const region = text === "" ? 0 : this.#regionOf(owner);
    const base = region + (((hash[0] ?? 0) >>> 0) % SETS) * WAYS;
    return this.#find(base, (hash[1] ?? 0) || 1, now);
  }

  /** Finds the name in the set that begins at `base`, or gives it the place with the least debt. */
  #find(base: number, name: number, now: number): number {
    const names = this.#names;
    // Where another thread takes the place at the same moment, the next look finds it taken.
    for (let turn = 0; ; turn += 1) {
      let least = base;
      let debt = Number.POSITIVE_INFINITY;
      let holder = 0;
      for (let at = base; at < base + WAYS; at += 1) {
        const there = Atomics.load(names, at);
        if (there === name) return at;
        const owed = Number(Atomics.load(this.#times, at));
        if (owed < debt) {
          debt = owed;
          least = at;
          holder = there;
        }
      }
      if (Number.isNaN(now)) return -1;
      const mine = Atomics.compareExchange(names, least, holder, name);
      if (mine === holder || turn === WAYS) return least;
    }
  }

  #regionOf(owner: Owner): number {
    if (owner.region < 0) owner.region = this.#claim(owner.words);
    return owner.region;
  }

  /** A region for the limit: its own, a free one, or with all of them taken one that it shares. */
  #claim(words: HashWords): number {
    const owners = this.#owners;
    const name = (words[0] ?? 0) || 1;
    const start = (words[1] ?? 0) >>> 0;
    for (let step = 0; step < REGIONS - 1; step += 1) {
      const region = 1 + ((start + step) % (REGIONS - 1));
      const owner = Atomics.load(owners, region);
      if (
        owner === name ||
        (owner === 0 && Atomics.compareExchange(owners, region, 0, name) === 0)
      )
        return region * KEYS_PER_LIMIT;
      if (Atomics.load(owners, region) === name) return region * KEYS_PER_LIMIT;
    }
    return (1 + (start % (REGIONS - 1))) * KEYS_PER_LIMIT;
  }
}
