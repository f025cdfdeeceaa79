/**
 * The circuit breaker of one (client, service) in one worker, by opossum: rolling error rate, and one probe at a time when half open.
 *
 * opossum is told of a call when the call's outcome is known, not when it starts. So what says nothing of the service (a refused
 * stream, a caller who left) is never counted, takes no probe for good, and a straggler from before the breaker opened cannot
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

/** Tells opossum what became of a call. */
function count(circuit: Opossum, failed: boolean): void {
  circuit.fire(failed).catch(ignore);
}

export function makeBreaker(options: BreakerOptions): Breaker {
  const { clock, settings } = options;
  /** Grows with each change of state: a permit of an earlier one counts no more. */
  let epoch = 1;
  let state: BreakerState = "closed";
  let probing = false;
  let openedAt = 0;
  let closed = false;
  let circuit = watched();
  /** Successes in the closed state that are not in opossum's window yet. */
  let successes = 0;

  /**
   * A success in the closed state decides nothing, and telling opossum of each by `fire` took a promise and a microsecond: they are
   * added up, and put into the window where `fire` would have put them before anyone looks at it or it moves on.
   */
  function gather(): void {
    const [bucket] = circuit.status.window;
    if (successes === 0 || bucket === undefined) return;
    bucket.fires += successes;
    bucket.successes += successes;
    successes = 0;
  }
  // Before opossum's own listener, whichever circuit it is of.
  options.rotation.controller.prependListener("rotate", gather);

  function change(next: BreakerState): void {
    if (closed) return;
    state = next;
    epoch += 1;
    probing = false;
    if (next === "open") openedAt = clock.now();
    options.onState(next);
  }

  function watched(): Opossum {
    const made = makeCircuit(settings, options.rotation);
    made.on("open", () => change("open"));
    made.on("halfOpen", () => change("half-open"));
    made.on("close", () => {
      // The failures that opened it are still in its window, and one more would open it at once: start with an empty one.
      made.shutdown();
      circuit = watched();
      change("closed");
    });
    return made;
  }

  return {
    get state() {
      return state;
    },
    get retryAfter() {
      return state === "closed"
        ? 0
        : Math.max(0, openedAt + settings.resetTimeout - clock.now());
    },
    get window() {
      gather();
      const { fires, failures } = circuit.stats;
      return { calls: fires, failures };
    },
    enter() {
      if (state === "closed") return epoch * 2;
      if (state === "open" || probing) return -1;
      probing = true;
      return epoch * 2 + 1;
    },
    settle(permit, effect) {
      if (permit < 0 || permit >> 1 !== epoch || closed) return;
      if (effect === "none") {
        // It proved nothing: the next call may be the probe.
        if ((permit & 1) === 1) probing = false;
        return;
      }
      if (effect === "success" && state === "closed") {
        successes += 1;
        return;
      }
      gather();
      count(circuit, effect === "failure");
    },
    close() {
      closed = true;
      options.rotation.controller.off("rotate", gather);
      circuit.shutdown();
    },
  };
}
