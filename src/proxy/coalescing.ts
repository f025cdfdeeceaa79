/**
 * Calls of the local application that come one by one wait for each other, a fraction of a millisecond, as packets do in a network
 * adapter (interrupt coalescing, `ethtool -C`). A call by itself wakes both sidecars on its way there and again on its way back, each
 * time with cold caches, and that costs more than the call; those that come together share it (decision 021).
 *
 * From the first call on the thread does not wait for whatever comes next but for answers, and for what others call, until about two
 * more calls must have come. So neither is held up, nor a call that finds nobody to share with: where they come more seldom than
 * `SELDOM` none waits.
 *
 * ```
 *   measure ─ they come neither seldom nor often ─→ coalesce ─ they come less often than before ─→ rest
 *      ↑                                               │ COALESCED phases are over                  │ twice as long each time
 *      └───────────────────────────────────────────────┴────────────────────────────────────────────┘
 * ```
 *
 * Callers who wait for each answer before they call again would only be slowed down: that shows in how often they call, and ends it.
 */
import type { Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import { makeNap, type Nap } from "../core/nap.ts";
import { beforeWaiting } from "../core/turn.ts";

export interface Coalescing {
  /** A call of the local application came. */
  arrived(): void;
  /** What comes on this socket does not wait: answers, and calls of others. */
  exempt(socket: Socket): void;
  close(): void;
}

export interface CoalescingOptions {
  readonly clock: Clock;
  /** The thread is about to wait for exempt sockets alone: for a metric. Must not throw. */
  readonly onWait?: () => void;
  readonly nap?: () => Nap | undefined;
  /** Runs it once, just before the event loop waits. */
  readonly beforeWaiting?: (run: () => void) => void;
}

/** Calls after which it is looked how often they come. */
export const PHASE = 64;
/** Phases after which that is measured anew: while they wait nobody can tell how often they would come without. */
export const COALESCED = 32;
/** Calls at most that are let be after callers were slowed down. */
export const LONGEST_REST = 65_536;
/** Milliseconds between two calls on average: where they come more seldom, waiting for company costs more time than it saves work, ... */
export const SELDOM = 0.3;
/** ... and where they come more often, they find each other anyway. */
export const OFTEN = 0.14;
/** How long to wait, in times of that: for two calls more. */
const PATIENCE = 2;
/** Times the milliseconds between two calls by which it shows that callers wait for answers. Chance alone makes a sixth. */
const SLOWED = 1.4;
/** Milliseconds by which a nap is longer than it was told to be (timer slack, prctl(2)); what is no longer is not worth its system call. */
const LATE = 0.05;

export function makeCoalescing(options: CoalescingOptions): Coalescing {
  return new Coalescer(options);
}

type State = "measuring" | "coalescing" | "resting";

class Coalescer implements Coalescing {
  readonly #clock: Clock;
  readonly #onWait: (() => void) | undefined;
  readonly #makeNap: () => Nap | undefined;
  readonly #beforeWaiting: (run: () => void) => void;
  /** Made when it is needed first; null where this system has none, and at the end. */
  #nap: Nap | undefined | null;
  /** What is exempt, until there is a nap that knows it. */
  readonly #sockets = new Set<Socket>();
  #state: State = "measuring";
  /** Calls until the next decision, and when they began to be counted. */
  #left = PHASE;
  #since: number;
  /** Phases until it is measured anew. */
  #phases = 0;
  /** Calls that the next rest lasts. */
  #rest = PHASE;
  /** Milliseconds between two calls when none waited, and what follows from it for the wait. */
  #interval = 0;
  #wait = 0;
  /** Calls wait, until then. */
  #waiting = false;
  #until = 0;

  constructor(options: CoalescingOptions) {
    this.#clock = options.clock;
    this.#onWait = options.onWait;
    this.#makeNap = options.nap ?? makeNap;
    this.#beforeWaiting = options.beforeWaiting ?? beforeWaiting;
    this.#since = this.#clock.now();
  }

  arrived(): void {
    this.#left -= 1;
    if (this.#left === 0) this.#decide();
    if (this.#state !== "coalescing" || this.#waiting) return;
    this.#waiting = true;
    this.#until = this.#clock.now() + this.#wait;
    this.#beforeWaiting(this.#waitOn);
  }

  exempt(socket: Socket): void {
    if (this.#nap === null) return;
    if (this.#nap !== undefined) {
      this.#nap.endsWith(socket);
      return;
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  close(): void {
    this.#nap?.close();
    this.#nap = null;
    this.#state = "resting";
    this.#sockets.clear();
  }

  #decide(): void {
    const now = this.#clock.now();
    const interval = (now - this.#since) / PHASE;
    this.#since = now;
    this.#left = PHASE;
    switch (this.#state) {
      case "measuring":
        if (interval >= OFTEN && interval <= SELDOM) this.#begin(interval);
        return;
      case "coalescing":
        this.#judge(interval);
        return;
      case "resting":
        this.#state = "measuring";
    }
  }

  #begin(interval: number): void {
    if (this.#nap === undefined) this.#nap = this.#openNap();
    if (this.#nap === null) return;
    this.#state = "coalescing";
    this.#phases = COALESCED;
    this.#interval = interval;
    this.#wait = interval * PATIENCE;
  }

  #judge(interval: number): void {
    this.#phases -= 1;
    if (interval > this.#interval * SLOWED) {
      this.#state = "resting";
      this.#left = this.#rest;
      this.#rest = Math.min(this.#rest * 2, LONGEST_REST);
    } else if (this.#phases === 0) {
      this.#state = "measuring";
      this.#rest = PHASE;
    }
  }

  #openNap(): Nap | null {
    const nap = this.#makeNap() ?? null;
    for (const socket of this.#sockets) nap?.endsWith(socket);
    this.#sockets.clear();
    return nap;
  }

  /** What comes on exempt sockets is handled in between. */
  readonly #waitOn = (): void => {
    const ms = this.#until - this.#clock.now() - LATE;
    if (ms > LATE && this.#nap != null) {
      this.#onWait?.();
      if (this.#nap.take(ms)) {
        this.#beforeWaiting(this.#waitOn);
        return;
      }
    }
    this.#waiting = false;
  };
}
