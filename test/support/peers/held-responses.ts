/** Responses that a test keeps back: it waits until as many have come as it needs, and lets them go when it wants. */

export class HeldResponses {
  readonly #held: (() => void)[] = [];
  readonly #waiting = new Set<() => void>();

  get count(): number {
    return this.#held.length;
  }

  keep(respond: () => void): void {
    this.#held.push(respond);
    this.changed();
  }

  /** Responds to the first so many; to all where nothing is said. */
  release(count: number = this.#held.length): void {
    for (const respond of this.#held.splice(0, count)) respond();
  }

  /** Resolves when `done` says so: it is asked now, and after each response that is kept and each `changed`. */
  until(done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!done()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Something else that is waited for has happened. */
  changed(): void {
    for (const look of [...this.#waiting]) look();
  }
}
