/** Work on one thing at a time, in the order of the calls: what is read of it stays true until it is written. */
export class KeyedQueue {
  /** The newest work of each key; never rejects. */
  readonly #last = new Map<string, Promise<void>>();

  /** Resolves and rejects as `run` does. */
  run<T>(key: string, run: () => Promise<T>): Promise<T> {
    const result = (this.#last.get(key) ?? Promise.resolve()).then(run);
    const over = (): void => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    };
    const settled = result.then(over, over);
    this.#last.set(key, settled);
    return result;
  }

  /** Resolves when nothing that was queued at the call is left. */
  async idle(): Promise<void> {
    await Promise.all(this.#last.values());
  }
}
