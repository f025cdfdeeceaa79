/** Writes the newest of what it is given: one write at a time, what came meanwhile is left out, and what failed is tried again. */
import type { Cancel, Clock } from "../core/clock.ts";

export interface NewestWriteOptions<T> {
  readonly write: (value: T) => Promise<void>;
  /** A small write to the same place: where it fails, so would `write`, which costs more. */
  readonly probe: () => Promise<void>;
  /** After each write: what was thrown, or undefined. */
  readonly onEnd: (failure: unknown) => void;
  readonly clock: Clock;
}

/** Milliseconds until a write that failed is tried again, and at most: disks are made room on, and mounted anew. */
const AGAIN = 2000;
const LONGEST = 4000;

export class NewestWrite<T> {
  readonly #options: NewestWriteOptions<T>;
  #next: { readonly value: T } | undefined;
  #writing: Promise<void> | undefined;
  /** Failures in a row. While there are any, only the timer writes. */
  #failures = 0;
  #cancelRetry: Cancel = () => undefined;
  /** Once it was closed: another process may write to the same place. */
  #closing: Promise<void> | undefined;

  constructor(options: NewestWriteOptions<T>) {
    this.#options = options;
  }

  put(value: T): void {
    if (this.#closing !== undefined) return;
    this.#next = { value };
    if (this.#failures === 0) this.#writing ??= this.#run();
  }

  /** Resolves when the newest is written, or could not be. */
  async settled(): Promise<void> {
    await this.#writing;
    if (this.#next !== undefined) await (this.#writing ??= this.#run());
  }

  /** The same, and nothing is written any more: what could not be is dropped. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    await this.#writing;
    if (this.#next !== undefined) await this.#run();
    this.#next = undefined;
    this.#cancelRetry();
  }

  async #run(): Promise<void> {
    const { write, onEnd } = this.#options;
    for (let next = this.#take(); next !== undefined; next = this.#take())
      try {
        await write(next.value);
        this.#failures = 0;
        onEnd(undefined);
      } catch (thrown) {
        this.#failures += 1;
        this.#next ??= next;
        this.#retryIn(Math.min(LONGEST, AGAIN * this.#failures));
        onEnd(thrown);
        break;
      }
    this.#writing = undefined;
  }

  #retryIn(ms: number): void {
    this.#cancelRetry();
    this.#cancelRetry = this.#options.clock.after(ms, () => {
      this.#writing ??= this.#retry();
    });
  }

  async #retry(): Promise<void> {
    try {
      await this.#options.probe();
    } catch {
      this.#writing = undefined;
      this.#retryIn(AGAIN);
      return;
    }
    await this.#run();
  }

  #take(): { readonly value: T } | undefined {
    const next = this.#next;
    this.#next = undefined;
    return next;
  }
}
