/** The signatures that are asked for: a few at a time, the others in their order, and each within a time limit. A fleet that renews at once does not pile up here. */
import type { Clock } from "../../core/clock.ts";

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

export class SigningQueue {
  readonly #clock: Clock;
  readonly #limits: SigningLimits;
  readonly #waiting = new Set<() => void>();
  #running = 0;

  constructor(clock: Clock, limits: SigningLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Resolves and rejects as `sign` does, or rejects with the reason why that was not waited for. The signal ends its work then. */
  async run<T>(sign: (signal: AbortSignal) => T | Promise<T>): Promise<T> {
    const { timeout, waiting } = this.#limits;
    const over = new AbortController();
    const { signal } = over;
    const cancel = this.#clock.after(timeout, () =>
      over.abort(
        new Error(
          `it was not signed within ${timeout / 1000} s, with ${this.#running} signatures in progress and ${this.#waiting.size} waiting`,
        ),
      ),
    );
    try {
      if (this.#running >= this.#limits.atOnce) {
        if (this.#waiting.size >= waiting)
          throw new Error(
            `${waiting} signatures are waited for already: try again`,
          );
        await this.#turn(signal);
      } else this.#running += 1;
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
  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(enter);
        reject(signal.reason as Error);
      };
      const enter = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.add(enter);
    });
  }

  #pass(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#running -= 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), {
      once: true,
    });
  });
}
