/** Writes the newest of what it is given: one write at a time, what came meanwhile is left out, and what failed is tried again. */
import type { Cancel, Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";

export interface NewestWriteOptions<T> {
  readonly write: (value: T) => Promise<void>;
  /** After each write: why it failed, or undefined. */
  readonly onEnd: (failure: string | undefined) => void;
  readonly clock: Clock;
}

/** Milliseconds until a write that failed is tried again: disks are made room on, and mounted anew. */
const RETRY = 30_000;

export class NewestWrite<T> {
  readonly #options: NewestWriteOptions<T>;
  #next: { readonly value: T } | undefined;
  #writing: Promise<void> | undefined;
  #cancelRetry: Cancel = () => undefined;

  constructor(options: NewestWriteOptions<T>) {
    this.#options = options;
  }

  put(value: T): void {
    this.#next = { value };
    this.#cancelRetry();
    this.#writing ??= this.#run();
  }

  /** Resolves when the newest is written, or could not be. */
  async close(): Promise<void> {
    await this.#writing;
    this.#cancelRetry();
  }

  async #run(): Promise<void> {
    const { write, onEnd, clock } = this.#options;
    for (let next = this.#take(); next !== undefined; next = this.#take()) {
      const { value } = next;
      this.#cancelRetry();
      try {
        await write(value);
        onEnd(undefined);
      } catch (thrown) {
        this.#cancelRetry = clock.after(RETRY, () => this.put(value));
        onEnd(messageOf(thrown));
      }
    }
    this.#writing = undefined;
  }

  #take(): { readonly value: T } | undefined {
    const next = this.#next;
    this.#next = undefined;
    return next;
  }
}
