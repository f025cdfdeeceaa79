/** Latest value and its changes: config, credentials and trust reach their users through this alone. */

export interface Watch<T> {
  readonly value: T;
  /** Calls `onChange` at each later change, not for the present value. Returns the way to stop. */
  subscribe(onChange: (value: T) => void): () => void;
}

export interface WatchSource<T> extends Watch<T> {
  set(value: T): void;
}

/** Makes a watch that its owner can set; setting the identical value tells nobody. */
export function watchSource<T>(initial: T): WatchSource<T> {
  return new Source(initial);
}

/** A class, since each request asks for values: V8 keeps an object literal that has getters as a dictionary. */
class Source<T> implements WatchSource<T> {
  #current: T;
  readonly #subscribers = new Set<(value: T) => void>();

  constructor(initial: T) {
    this.#current = initial;
  }

  get value(): T {
    return this.#current;
  }

  set(value: T): void {
    if (Object.is(value, this.#current)) return;
    this.#current = value;
    for (const subscriber of [...this.#subscribers]) subscriber(value);
  }

  subscribe(onChange: (value: T) => void): () => void {
    // A wrapper of its own, so that one function may subscribe twice and leave once.
    const subscriber = (value: T): void => onChange(value);
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }
}

/** Resolves with the first value, present or later, that `accept` takes; rejects when `signal` aborts. */
export function waitFor<T>(
  watch: Watch<T>,
  accept: (value: T) => boolean,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    if (accept(watch.value)) {
      resolve(watch.value);
      return;
    }
    const onAbort = (): void => {
      leave();
      reject(signal.reason as Error);
    };
    const leave = watch.subscribe((value) => {
      if (!accept(value)) return;
      leave();
      signal.removeEventListener("abort", onAbort);
      resolve(value);
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
