/**
 * The circuit breaker of one (client, service) where the client has several workers: one state for all, decided on the sum of what
 * they saw, and one probe among all of them.
 *
 * ```
 *   worker 0: opossum ─┐ counts what the others publish as its own,        ┌─▶ state and epoch, in shared memory:
 *   worker 1: opossum ─┘ and decides at each failure that is its worker's ─┘   every worker looks there before each call
 * ```
 * A worker publishes its successes and failures as it counts them. At a failure of its own, and whenever the window moves on, its
 * opossum takes in what the others have published since; so the volume threshold and the error rate hold over the sum, whoever has
 * the last failure. Who opens the breaker has the timer; once it is half open, whoever has a call makes the probe and judges it.
 */
import type { Commons } from "../../../core/shared/shared-state.ts";
import type { Region } from "../../../core/shared/shared-memory.ts";
import {
  count,
  makeBreaker,
  makeCircuit,
  type Breaker,
  type BreakerOptions,
  type BreakerState,
  type Opossum,
} from "./breaker.ts";

/** The breaker that all workers know as `name`. */
export function breakerOf(
  commons: Commons,
  name: string,
  options: BreakerOptions,
): Breaker {
  const region = commons.memory?.region(
    // Other settings are another breaker, wherever a worker is on its way from the one to the other.
    `breaker ${name} ${JSON.stringify(options.settings)}`,
    LINE * (1 + commons.workers),
  );
  return region === undefined
    ? makeBreaker(options)
    : sharedBreaker(region, commons, options);
}

/** Words of the first line: epoch and state in one, so that they change together, and who probes (its place and one). */
const WORD = 0;
const PROBER = 1;
/** A number of the first line: monotonic milliseconds. */
const OPENED_AT = 1;
/** Words of a line of the processor's cache; each worker's counts stand in its own. */
const LINE = 16;
const SUCCESSES = 0;
const FAILURES = 1;

const CLOSED = 0;
const HALF_OPEN = 1;
const OPEN = 2;
const NAMES: readonly BreakerState[] = ["closed", "half-open", "open"];

/** Milliseconds by which the timer of the one who opened it may be late before another goes on without him. */
const GRACE = 1000;

function sharedBreaker(
  region: Region,
  commons: Commons,
  options: BreakerOptions,
): Breaker {
  const { words, numbers } = region;
  const { clock, rotation, settings } = options;
  const own = LINE * (1 + commons.worker);
  const others: { readonly at: number; successes: number; failures: number }[] =
    [];
  for (let worker = 0; worker < commons.workers; worker += 1)
    if (worker !== commons.worker)
      others.push({ at: LINE * (1 + worker), successes: 0, failures: 0 });
  /** Of this worker's own successes, those that opossum knows of. */
  let told = 0;
  let seen = Atomics.load(words, WORD);
  let closed = false;
  let circuit = watched((seen & 3) === HALF_OPEN);
  forget();

  /** What was published up to now counts no more: a new window begins. */
  function forget(): void {
    told = words[own + SUCCESSES] ?? 0;
    for (const other of others) {
      other.successes = Atomics.load(words, other.at + SUCCESSES);
      other.failures = Atomics.load(words, other.at + FAILURES);
    }
  }

  /** Puts into opossum's window what it has not been told of: this worker's successes, and all of the others'. */
  function gather(): void {
    const [bucket] = circuit.status.window;
    if (bucket === undefined || (seen & 3) !== CLOSED) return;
    const mine = words[own + SUCCESSES] ?? 0;
    let successes = (mine - told) >>> 0;
    told = mine;
    let failures = 0;
    for (const other of others) {
      const succeeded = Atomics.load(words, other.at + SUCCESSES);
      const failed = Atomics.load(words, other.at + FAILURES);
      successes += (succeeded - other.successes) >>> 0;
      failures += (failed - other.failures) >>> 0;
      other.successes = succeeded;
      other.failures = failed;
    }
    bucket.fires += successes + failures;
    bucket.successes += successes;
    bucket.failures += failures;
  }
  rotation.controller.prependListener("rotate", gather);

  function watched(halfOpen: boolean): Opossum {
    const made = makeCircuit(settings, rotation, halfOpen);
    made.on("open", () => change(OPEN));
    made.on("halfOpen", () => change(HALF_OPEN));
    made.on("close", () => change(CLOSED));
    return made;
  }

  /** What this worker's opossum decided becomes the state of all, unless another was quicker. */
  function change(next: number): void {
    if (closed) return;
    if (next === OPEN) numbers[OPENED_AT] = clock.now();
    if (next === HALF_OPEN) Atomics.store(words, PROBER, 0);
    const word = (((seen >>> 2) + 1) << 2) | next;
    if (Atomics.compareExchange(words, WORD, seen, word) !== seen) {
      look();
      return;
    }
    seen = word;
    if (next === CLOSED) restart(false);
    options.onState(nameOf(word));
  }

  function restart(halfOpen: boolean): void {
    circuit.shutdown();
    circuit = watched(halfOpen);
    forget();
  }

  /** Goes along with what another worker changed. */
  function look(): void {
    const word = Atomics.load(words, WORD);
    if (word !== seen) {
      seen = word;
      restart((word & 3) === HALF_OPEN);
    }
    if ((word & 3) !== OPEN) return;
    const due = (numbers[OPENED_AT] ?? 0) + settings.resetTimeout + GRACE;
    if (clock.now() < due) return;
    restart(true);
    change(HALF_OPEN);
  }

  return {
    get state() {
      if (!closed) look();
      return nameOf(seen);
    },
    get retryAfter() {
      if (closed || (Atomics.load(words, WORD) & 3) === CLOSED) return 0;
      const due = (numbers[OPENED_AT] ?? 0) + settings.resetTimeout;
      return Math.max(0, due - clock.now());
    },
    get window() {
      if (!closed) gather();
      const { fires, failures } = circuit.stats;
      return { calls: fires, failures };
    },
    enter() {
      // Of a service that is no more, for a request that outlives it.
      if (closed) return 0;
      if (Atomics.load(words, WORD) !== seen || (seen & 3) === OPEN) look();
      const permit = (seen >>> 2) * 2;
      if ((seen & 3) === CLOSED) return permit;
      if ((seen & 3) === OPEN) return -1;
      const prober = Atomics.compareExchange(
        words,
        PROBER,
        0,
        commons.worker + 1,
      );
      return prober === 0 ? permit + 1 : -1;
    },
    settle(permit, effect) {
      if (permit < 0 || closed) return;
      if (Atomics.load(words, WORD) !== seen) look();
      if (permit >> 1 !== seen >>> 2) return;
      if (effect === "none") {
        // It proved nothing: the next call may be the probe.
        if ((permit & 1) === 1) Atomics.store(words, PROBER, 0);
        return;
      }
      if ((seen & 3) === CLOSED) {
        if (effect === "success") {
          words[own + SUCCESSES] = ((words[own + SUCCESSES] ?? 0) + 1) | 0;
          return;
        }
        Atomics.add(words, own + FAILURES, 1);
        gather();
      }
      count(circuit, effect === "failure");
    },
    close() {
      if (closed) return;
      closed = true;
      rotation.controller.off("rotate", gather);
      circuit.shutdown();
      region.close();
    },
  };
}

function nameOf(word: number): BreakerState {
  return NAMES[word & 3] ?? "closed";
}
