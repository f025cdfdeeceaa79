/**
 * The circuit breaker of one (client, service) in one worker, by opossum: rolling error rate, and one probe at a time when half open.
 *
 * opossum learns of a call when the call's outcome is known, not when it starts. So what says nothing of the service (a refused
 * stream, a caller that left) is never counted, takes no probe for good, and a straggler from before the breaker opened cannot
 * close it again. opossum's own timer and clock are the one exception to law 11.
 */
import { EventEmitter } from "node:events";
import CircuitBreaker from "opossum";
import type { Cancel, Clock } from "../../../core/clock.ts";
import type { Effects } from "../../../policy/outcome.ts";
import type { CircuitBreaker as Settings } from "../../../resources/traffic-policy/settings.ts";

export type BreakerState = "closed" | "half-open" | "open";

/** What `settle` needs to know of the call: an opaque number; below 0 is a refusal. */
export type Permit = number;

export interface Breaker {
  readonly state: BreakerState;
  /** A permit for one call, below 0 where the call must not be made. Every permit is settled once. */
  enter(): Permit;
  settle(permit: Permit, effect: Effects["breaker"]): void;
  /** Milliseconds until the next probe is let through; 0 where calls are let through now. */
  readonly retryAfter: number;
  /** Calls and failures in the window, for `/clusters`. */
  readonly window: { readonly calls: number; readonly failures: number };
  close(): void;
}

export interface BreakerOptions {
  readonly clock: Clock;
  readonly rotation: Rotation;
  readonly settings: Settings<number>;
  onState(state: BreakerState): void;
}

/** The tick that moves the windows of all breakers on: one timer for the process. */
export interface Rotation {
  readonly controller: EventEmitter;
  close(): void;
}

/** Milliseconds: the precision of every breaker's window. */
const BUCKET = 1000;

export function startRotation(clock: Clock): Rotation {
  const controller = new EventEmitter();
  controller.setMaxListeners(0);
  const cancel: Cancel = clock.every(BUCKET, () => controller.emit("rotate"));
  return { controller, close: cancel };
}

const DONE = Promise.resolve();
const FAILED = Promise.reject(new Error("the call failed"));
FAILED.catch(ignore);

/** What opossum guards: the outcome of a call that is over. */
function outcome(failed: boolean): Promise<void> {
  return failed ? FAILED : DONE;
}

function ignore(): void {
  // opossum has counted it; nobody waits for the promise.
}

type Opossum = CircuitBreaker<[boolean], void>;

function makeCircuit(settings: Settings<number>, rotation: Rotation): Opossum {
  return new CircuitBreaker(outcome, {
    timeout: false,
    errorThresholdPercentage: settings.errorThresholdPercent,
    volumeThreshold: settings.volumeThreshold,
    rollingCountTimeout: settings.window,
    rollingCountBuckets: Math.max(1, Math.round(settings.window / BUCKET)),
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
    rotateBucketController: rotation.controller,
    resetTimeout: settings.resetTimeout,
  });
}

export function makeBreaker(options: BreakerOptions): Breaker {
  return new OpossumBreaker(options);
}

class OpossumBreaker implements Breaker {
  readonly #options: BreakerOptions;
  /** Grows with each change of state and each probe. */
  #serial = 1;
  /** Its value at the latest change of state: a permit of an earlier one counts no more. */
  #since = 1;
  #state: BreakerState = "closed";
  /** Monotonic milliseconds when the latest probe was let through; -Infinity where none is in flight. */
  #probedAt = Number.NEGATIVE_INFINITY;
  #openedAt = 0;
  #closed = false;
  #circuit: Opossum;
  /** Successes in the closed state that are not in opossum's window yet. */
  #successes = 0;

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.#circuit = this.#watched();
    // Before opossum's own listener, whichever circuit it is of.
    options.rotation.controller.prependListener("rotate", this.#gather);
  }

  get state(): BreakerState {
    return this.#state;
  }

  get retryAfter(): number {
    const { clock, settings } = this.#options;
    return this.#state === "closed"
      ? 0
      : Math.max(0, this.#openedAt + settings.resetTimeout - clock.now());
  }

  get window(): { readonly calls: number; readonly failures: number } {
    this.#gather();
    const { fires, failures } = this.#circuit.stats;
    return { calls: fires, failures };
  }

  enter(): Permit {
    if (this.#state === "closed") return this.#serial * 2;
    if (this.#state === "open") return -1;
    const { clock, settings } = this.#options;
    const now = clock.now();
    // A call that streams, or whose caller takes its time, may wait for ever: it must not keep all others out for as long.
    if (now < this.#probedAt + settings.resetTimeout) return -1;
    this.#probedAt = now;
    this.#serial += 1;
    return this.#serial * 2 + 1;
  }

  settle(permit: Permit, effect: Effects["breaker"]): void {
    if (permit < this.#since * 2 || this.#closed) return;
    if (effect === "none") {
      // It proved nothing: the next call may be the probe, unless one is in flight.
      if (permit === this.#serial * 2 + 1)
        this.#probedAt = Number.NEGATIVE_INFINITY;
      return;
    }
    if (effect === "success" && this.#state === "closed") {
      this.#successes += 1;
      return;
    }
    this.#gather();
    this.#circuit.fire(effect === "failure").catch(ignore);
  }

  close(): void {
    this.#closed = true;
    this.#options.rotation.controller.off("rotate", this.#gather);
    this.#circuit.shutdown();
  }

  /**
   * A success in the closed state decides nothing, and telling opossum of each by `fire` took a promise and a microsecond. So they are
   * added up, and put into the window where `fire` would have put them before anyone looks at it or it moves on.
   */
  readonly #gather = (): void => {
    const [bucket] = this.#circuit.status.window;
    if (this.#successes === 0 || bucket === undefined) return;
    bucket.fires += this.#successes;
    bucket.successes += this.#successes;
    this.#successes = 0;
  };

  #change(next: BreakerState): void {
    if (this.#closed) return;
    this.#state = next;
    this.#serial += 1;
    this.#since = this.#serial;
    this.#probedAt = Number.NEGATIVE_INFINITY;
    if (next === "open") this.#openedAt = this.#options.clock.now();
    this.#options.onState(next);
  }

  #watched(): Opossum {
    const { settings, rotation } = this.#options;
    const made = makeCircuit(settings, rotation);
    made.on("open", () => this.#change("open"));
    made.on("halfOpen", () => this.#change("half-open"));
    made.on("close", () => {
      // The failures that opened it are still in its window, and one more would open it at once: start with an empty one.
      made.shutdown();
      this.#circuit = this.#watched();
      this.#change("closed");
    });
    return made;
  }
}
