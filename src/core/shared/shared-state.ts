/** What the workers of one process have in common: with one worker nothing but plain numbers, with more memory that all of them see. */
import { randomBytes } from "node:crypto";
import { rateTableMemory } from "./rate-table.ts";
import {
  makeSharedMemory,
  shareMemory,
  type SharedMemory,
} from "./shared-memory.ts";

export interface SharedState {
  /** This worker's place among `workers`, from 0. */
  readonly worker: number;
  readonly workers: number;
  /** Undefined where there is one worker. */
  readonly memory: SharedMemory | undefined;
  /** The buckets of the rate limits (`rateTable`). Undefined where there is one worker: it makes its own when it has a limit. */
  readonly rates: SharedArrayBuffer | undefined;
}

/** The state of a worker that is the only one. */
export const LOCAL_STATE: SharedState = {
  worker: 0,
  workers: 1,
  memory: undefined,
  rates: undefined,
};

/** What a worker needs to see the same as the first one; it can be posted to a thread. */
export interface SharedStateData {
  readonly workers: number;
  readonly memory: SharedArrayBuffer;
  readonly rates: SharedArrayBuffer;
}

/** For the first worker. */
export function makeSharedState(workers: number): SharedState {
  if (workers === 1) return LOCAL_STATE;
  return {
    worker: 0,
    workers,
    memory: makeSharedMemory(),
    rates: rateTableMemory(randomBytes(8)),
  };
}

/** For another worker. */
export function joinSharedState(
  worker: number,
  data: SharedStateData,
): SharedState {
  const { workers, memory, rates } = data;
  return { worker, workers, memory: shareMemory(memory), rates };
}

/** A number that all workers see. */
export interface Counter {
  readonly value: number;
  /** Adds one, unless `limit` is reached: exact, whatever else does the same at this moment. */
  enter(limit: number): boolean;
  /** Whether no more are in than `enter` would let in by that limit. */
  isWithin(limit: number): boolean;
  /** Takes back what `enter` added. */
  leave(): void;
  /** Not used any more, but for `leave` of requests that are still in. */
  close(): void;
}

/** The counter of that name; where there is no room for one more, this worker counts alone against its share of the limit. */
export function counterOf(sharedState: SharedState, name: string): Counter {
  const region = sharedState.memory?.region(name, 1);
  return region === undefined
    ? new OwnCounter(sharedState.workers)
    : new SharedCounter(region.words, () => region.close());
}

class OwnCounter implements Counter {
  value = 0;
  readonly #share: number;

  constructor(workers: number) {
    this.#share = workers;
  }

  enter(limit: number): boolean {
    if (this.value >= limit / this.#share) return false;
    this.value += 1;
    return true;
  }

  isWithin(limit: number): boolean {
    return this.value - 1 < limit / this.#share;
  }

  leave(): void {
    this.value -= 1;
  }

  close(): void {
    // Nothing is held.
  }
}

class SharedCounter implements Counter {
  #words: Int32Array;
  readonly #release: () => void;
  /** This worker's part. */
  #own = 0;
  #closed = false;

  constructor(words: Int32Array, release: () => void) {
    this.#words = words;
    this.#release = release;
  }

  get value(): number {
    return Atomics.load(this.#words, 0);
  }

  enter(limit: number): boolean {
    const words = this.#words;
    for (;;) {
      const seen = Atomics.load(words, 0);
      if (seen >= limit) return false;
      if (Atomics.compareExchange(words, 0, seen, seen + 1) === seen) {
        this.#own += 1;
        return true;
      }
    }
  }

  isWithin(limit: number): boolean {
    return this.value <= limit;
  }

  leave(): void {
    this.#own -= 1;
    Atomics.sub(this.#words, 0, 1);
    if (this.#closed && this.#own === 0) this.#letGo();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#own === 0) this.#letGo();
  }

  /** The words may be another's from here on: a request that outlives its cluster and still enters is counted apart. */
  #letGo(): void {
    this.#words = new Int32Array(1);
    this.#release();
  }
}
