/** The retry budget of a service, whichever worker its requests came to: each counts its own, and a retry is paid from the sum. */
import type { Commons } from "../../../core/shared/shared-state.ts";
import {
  lock,
  unlock,
  type Region,
} from "../../../core/shared/shared-memory.ts";
import { retryBudget, type RetryBudget } from "../../../policy/retry.ts";
import type { RetryConstraint } from "../../../resources/traffic-policy/schema.ts";

export interface HeldBudget extends RetryBudget {
  close(): void;
}

/** The budget that all workers know as `name`. */
export function budgetOf(
  commons: Commons,
  name: string,
  settings: RetryConstraint<number>,
): HeldBudget {
  const words = OWN + commons.workers * PER_WORKER;
  const region = commons.memory?.region(
    // Other settings are another budget, wherever a worker is on its way from the one to the other.
    `budget ${name} ${JSON.stringify(settings)}`,
    words,
  );
  return region === undefined
    ? { ...retryBudget(settings), close: nothing }
    : sharedBudget(region, commons, settings);
}

const SLOTS = 10;
/**
 * Word 0 is the lock of those who pay, word 1 says that the floor was filled for the first time; numbers 1 and 2 are its tokens and when
 * that was. Then, for each worker, the number, the requests and the retries of each slot: none but that worker writes them.
 */
const FILLED = 1;
const TOKENS = 1;
const FILLED_AT = 2;
const OWN = 16;
const PER_WORKER = 32;
const REQUESTS = SLOTS;
const RETRIES = 2 * SLOTS;

function sharedBudget(
  region: Region,
  commons: Commons,
  { budget, minRetryRate }: RetryConstraint<number>,
): HeldBudget {
  const { words, numbers } = region;
  const width = Math.max(1, budget.interval / SLOTS);
  const own = OWN + commons.worker * PER_WORKER;
  const rate = minRetryRate.count / Math.max(1, minRetryRate.interval);
  let closed = false;

  /** This worker's slot of now, emptied where it was that of an earlier time. */
  const slotAt = (now: number): number => {
    const slot = Math.floor(now / width) | 0;
    const at = own + (((slot % SLOTS) + SLOTS) % SLOTS);
    if (words[at] !== slot) {
      words[at + REQUESTS] = 0;
      words[at + RETRIES] = 0;
      Atomics.store(words, at, slot);
    }
    return at;
  };

  const sums = (now: number): { requests: number; retries: number } => {
    const slot = Math.floor(now / width) | 0;
    let requests = 0;
    let retries = 0;
    for (let worker = 0; worker < commons.workers; worker += 1) {
      const first = OWN + worker * PER_WORKER;
      for (let at = first; at < first + SLOTS; at += 1) {
        const age = (slot - Atomics.load(words, at)) | 0;
        if (age < 0 || age >= SLOTS) continue;
        requests += Atomics.load(words, at + REQUESTS);
        retries += Atomics.load(words, at + RETRIES);
      }
    }
    return { requests, retries };
  };

  /** The floor's bucket, as `tokenBucket` fills it. */
  const takeFloor = (now: number): boolean => {
    const first = words[FILLED] === 0;
    const filledAt = first ? now : (numbers[FILLED_AT] ?? now);
    const before = first ? minRetryRate.count : (numbers[TOKENS] ?? 0);
    const tokens = Math.min(
      minRetryRate.count,
      before + Math.max(0, now - filledAt) * rate,
    );
    words[FILLED] = 1;
    numbers[FILLED_AT] = Math.max(now, filledAt);
    numbers[TOKENS] = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  };

  return {
    request(now) {
      if (closed) return;
      const at = slotAt(now) + REQUESTS;
      words[at] = (words[at] ?? 0) + 1;
    },
    take(now) {
      // A request that outlives its cluster repeats nothing.
      if (closed) return false;
      lock(words, 0);
      const { requests, retries } = sums(now);
      const paid = retries + 1 <= (requests * budget.percent) / 100;
      if (paid) {
        const at = slotAt(now) + RETRIES;
        words[at] = (words[at] ?? 0) + 1;
      }
      const taken = paid || takeFloor(now);
      unlock(words, 0);
      return taken;
    },
    usage: (now) => (closed ? { requests: 0, retries: 0 } : sums(now)),
    close() {
      if (closed) return;
      closed = true;
      region.close();
    },
  };
}

function nothing(): void {
  // One worker's budget holds nothing that others need.
}
