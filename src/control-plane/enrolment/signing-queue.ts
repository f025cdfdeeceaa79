/** The signatures that are asked for: a few at a time, those that ask by turns, and each within a time limit. A fleet that renews at once does not pile up here. */
import type { Clock } from "../../core/clock.ts";
import type { SigningMeters } from "../meters.ts";

export interface SigningLimits {
  /** Signatures at a time. */
  readonly atOnce: number;
  /** How many wait for their turn besides. */
  readonly waiting: number;
  /** Milliseconds, the wait included. Below what a sidecar waits: it hears the reason. */
  readonly timeout: number;
}

export const SIGNING: SigningLimits = {
  atOnce: 16,
  waiting: 2000,
  timeout: 10_000,
};

/** What became of one: `full`, it was refused at once; `late`, it was not waited for any longer. */
type Result = "signed" | "failed" | "late" | "full";

export class SigningQueue {
  readonly #clock: Clock;
  readonly #limits: SigningLimits;
  readonly #meters: SigningMeters;
  readonly #issuer: string;
  /** By those that ask; the one whose turn it is comes first, and its own are in their order. */
  readonly #waiting = new Map<string, Set<() => void>>();
  #waits = 0;
  #running = 0;

  /** `issuer`: the kind of it, for the metrics. */
  constructor(
    clock: Clock,
    limits: SigningLimits,
    meters: SigningMeters,
    issuer: string,
  ) {
    this.#clock = clock;
    this.#limits = limits;
    this.#meters = meters;
    this.#issuer = issuer;
  }

  /**
   * Resolves and rejects as `sign` does, or rejects with the reason why that was not waited for. The signal ends its work then. `asker`: one
   * that asks for many keeps no other waiting behind all of them.
   */
  async run<T>(
    asker: string,
    sign: (signal: AbortSignal) => T | Promise<T>,
  ): Promise<T> {
    const from = this.#clock.now();
    let result: Result = "signed";
    const over = new AbortController();
    try {
      if (this.#isFull) {
        result = "full";
        throw new Error(
          `${this.#limits.waiting} signatures are waited for already: try again`,
        );
      }
      return await this.#run(asker, sign, over);
    } catch (thrown) {
      if (result !== "full") result = over.signal.aborted ? "late" : "failed";
      throw thrown;
    } finally {
      this.#show();
      this.#meters.duration
        .with(this.#issuer, result)
        .record((this.#clock.now() - from) / 1000);
    }
  }

  get #isFull(): boolean {
    const { atOnce, waiting } = this.#limits;
    return this.#running >= atOnce && this.#waits >= waiting;
  }

  async #run<T>(
    asker: string,
    sign: (signal: AbortSignal) => T | Promise<T>,
    over: AbortController,
  ): Promise<T> {
    const { timeout, atOnce } = this.#limits;
    const { signal } = over;
    const cancel = this.#clock.after(timeout, () =>
      over.abort(
        new Error(
          `it was not signed within ${timeout / 1000} s, with ${this.#running} signatures in progress and ${this.#waits} waiting`,
        ),
      ),
    );
    try {
      if (this.#running >= atOnce) await this.#turn(asker, signal);
      else this.#running += 1;
      this.#show();
      try {
        return await Promise.race([sign(signal), aborted(signal)]);
      } finally {
        this.#pass();
      }
    } finally {
      cancel();
    }
  }

  /** Resolves with the place of one that has ended. */
  #turn(asker: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const line = this.#waiting.get(asker) ?? new Set();
      const leave = (): void => {
        this.#takeOut(asker, line, enter);
        reject(signal.reason as Error);
      };
      const enter = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.set(asker, line.add(enter));
      this.#waits += 1;
      this.#show();
    });
  }

  #show(): void {
    this.#meters.signatures.with("in_progress").set(this.#running);
    this.#meters.signatures.with("waiting").set(this.#waits);
  }

  #pass(): void {
    for (const [asker, line] of this.#waiting) {
      const [next] = line;
      if (next === undefined) continue;
      this.#takeOut(asker, line, next);
      // The others have their turns before its next one.
      if (this.#waiting.delete(asker)) this.#waiting.set(asker, line);
      next();
      return;
    }
    this.#running -= 1;
  }

  #takeOut(asker: string, line: Set<() => void>, enter: () => void): void {
    line.delete(enter);
    this.#waits -= 1;
    if (line.size === 0) this.#waiting.delete(asker);
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), {
      once: true,
    });
  });
}
