/** A lock that the threads of a process share, in one word of their memory. */

/** Tries before a waiter sleeps: what a lock guards takes less than a microsecond. */
const SPINS = 200;
/** Milliseconds of one sleep, and sleeps after which the lock is taken over. */
const SLEEP = 1;
const SLEEPS = 1000;

/**
 * Takes the lock in `words[at]`. Its holder does arithmetic alone before it gives the lock back. So a lock that is held for a whole
 * second belongs to a worker that no longer runs, and is taken over.
 */
export function lock(words: Int32Array, at: number): void {
  let sleeps = 0;
  for (
    let spins = 0;
    Atomics.compareExchange(words, at, 0, 1) !== 0;
    spins += 1
  ) {
    if (spins < SPINS) continue;
    if (sleeps === SLEEPS) return;
    sleeps += 1;
    Atomics.wait(words, at, 1, SLEEP);
  }
}

export function unlock(words: Int32Array, at: number): void {
  Atomics.store(words, at, 0);
  Atomics.notify(words, at, 1);
}
