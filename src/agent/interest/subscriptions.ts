/** What a stream says of changes of interest: those of one turn in one message, and none twice. */

export interface Subscriptions {
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
}

/** Takes what a stream's later requests are to say. */
export type Send = (change: Subscriptions) => void;

export class PendingSubscriptions {
  readonly #wanted = new Map<string, boolean>();
  #send: Send | undefined;

  /** From now on changes go there; without a stream there are none, for its first request says all. */
  attach(send: Send | undefined): void {
    this.#wanted.clear();
    this.#send = send;
  }

  subscribe(name: string): void {
    this.#put(name, true);
  }

  unsubscribe(name: string): void {
    this.#put(name, false);
  }

  #put(name: string, wanted: boolean): void {
    if (this.#send === undefined) return;
    if (this.#wanted.size === 0) queueMicrotask(() => this.#flush());
    // The last word counts: to subscribe to what is subscribed to changes nothing.
    this.#wanted.set(name, wanted);
  }

  #flush(): void {
    const changes = [...this.#wanted];
    this.#wanted.clear();
    if (changes.length === 0) return;
    const names = (which: boolean): string[] =>
      changes.filter(([, wanted]) => wanted === which).map(([name]) => name);
    this.#send?.({ subscribe: names(true), unsubscribe: names(false) });
  }
}
