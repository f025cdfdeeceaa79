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

/** Octets of the memory of one process; pages that no key touches are never backed. */
export const RATE_TABLE_BYTES: number = OWNERS + 4 * REGIONS;

/** The memory for `rateTable`. `seed`: eight octets that nobody outside knows. */
export function rateTableMemory(seed: Uint8Array): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(RATE_TABLE_BYTES);
  new Uint8Array(memory, 0, 8).set(seed.subarray(0, 8));
  return memory;
}

/** One thread's view of the buckets in `memory`; all threads of a process use the same. */
export function rateTable(memory: SharedArrayBuffer): RateTable {
  const seed: HashWords = new Int32Array(memory, 0, SEED_WORDS);
  /** Nanoseconds; 0 was never used. */
  const times = new BigInt64Array(memory, TIMES, BUCKETS);
  /** Part of the key's hash; 0 is nobody's. */
  const names = new Int32Array(memory, NAMES, BUCKETS);
  /** Hash of the limit that a region belongs to; 0 is nobody's. */
  const owners = new Int32Array(memory, OWNERS, REGIONS);
  const known = new Map<string, Place>();
  const hash: HashWords = new Int32Array(2);
  const key = new Int32Array(2);

  interface Place {
    /** Index of its region's first bucket. */
    readonly keyed: () => number;
    /** Distinguishes equal keys of different limits. */
    readonly words: HashWords;
  }

  function placeOf(id: string): Place {
    const found = known.get(id);
    if (found !== undefined) return found;
    const words = new Int32Array(2);
    keyedHash(id, seed, words);
    let region = -1;
    const place = {
      words,
      keyed: () => (region < 0 ? (region = claim(words)) : region),
    };
    known.set(id, place);
    return place;
  }

  /** A region for the limit: its own, a free one, or with all of them taken one that it shares. */
  function claim(words: HashWords): number {
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

  /** The bucket of the key; −1 where it has none and `now` does not say that it shall get one. */
  function bucketOf(id: string, text: string, now: MonotonicMs): number {
    const place = placeOf(id);
    key[0] = (seed[0] ?? 0) ^ (place.words[0] ?? 0);
    key[1] = (seed[1] ?? 0) ^ (place.words[1] ?? 0);
    keyedHash(text, key, hash);
    const region = text === "" ? 0 : place.keyed();
    const base = region + (((hash[0] ?? 0) >>> 0) % SETS) * WAYS;
    const name = (hash[1] ?? 0) || 1;
    // Where another thread takes the place at the same moment, the next look finds it taken.
    for (let turn = 0; ; turn += 1) {
      let least = base;
      let debt = Number.POSITIVE_INFINITY;
      let holder = 0;
      for (let at = base; at < base + WAYS; at += 1) {
        const there = Atomics.load(names, at);
        if (there === name) return at;
        const owed = Number(Atomics.load(times, at));
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

  return {
    take(id, text, { cost, burst }, nowMs) {
      const now = nowMs * 1e6;
      const at = bucketOf(id, text, now);
      const full = cost * burst;
      for (;;) {
        const seen = Atomics.load(times, at);
        // A debt that this limit cannot know is another's, from before its settings changed or its bucket was taken over. Not so what is
        // a moment too much: another thread has read the clock later.
        const foreign = Number(seen) > now + 2 * full + SECOND;
        const owed = foreign ? now + full : Math.max(Number(seen), now);
        // A nanosecond for the rounding.
        const room = owed + cost <= now + full + 1;
        const wait = room ? 0 : (owed + cost - full - now) / 1e6;
        if (!room && !foreign) return wait;
        const next = BigInt(Math.round(room ? owed + cost : owed));
        if (Atomics.compareExchange(times, at, seen, next) === seen)
          return wait;
      }
    },
    giveBack(id, text, { cost }) {
      const at = bucketOf(id, text, Number.NaN);
      if (at >= 0) Atomics.sub(times, at, BigInt(Math.round(cost)));
    },
    retain(ids) {
      const kept = new Set<number>();
      for (const id of ids) kept.add((placeOf(id).words[0] ?? 0) || 1);
      for (let region = 1; region < REGIONS; region += 1) {
        const owner = Atomics.load(owners, region);
        if (owner !== 0 && !kept.has(owner))
          Atomics.compareExchange(owners, region, owner, 0);
      }
      known.clear();
    },
  };
}
