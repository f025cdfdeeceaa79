/** A few go at a time; the others wait in the order in which they came. */
export class Turnstile {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(most: number) {
    this.#free = most;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** The way out, to be taken once; undefined where there is no room now. */
  enterNow(): (() => void) | undefined {
    if (this.#free === 0) return undefined;
    this.#free -= 1;
    return this.#wayOut();
  }

  /** Resolves with the way out when there is room. */
  enter(): Promise<() => void>;
  /** Or with undefined, where the signal aborts before there is. */
  enter(givenUp: AbortSignal): Promise<(() => void) | undefined>;
  async enter(givenUp?: AbortSignal): Promise<(() => void) | undefined> {
    return (
      this.enterNow() ??
      ((await this.#wait(givenUp)) ? this.#wayOut() : undefined)
    );
  }

  #wayOut(): () => void {
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      const [next] = this.#waiting;
      if (next === undefined) this.#free += 1;
      else next();
    };
  }

  /** False where it was given up. */
  #wait(givenUp: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const enter = (): void => {
        this.#waiting.delete(enter);
        givenUp?.removeEventListener("abort", leave);
        resolve(true);
      };
      const leave = (): void => {
        this.#waiting.delete(enter);
        resolve(false);
      };
      this.#waiting.add(enter);
      givenUp?.addEventListener("abort", leave, { once: true });
    });
  }
}

/** The same among several holders: each has at most a share of the room, so that one that is slow leaves some to the others. */
export class SharedTurnstile {
  readonly #all: Turnstile;
  readonly #share: number;
  readonly #holders = new Map<
    string,
    { readonly own: Turnstile; guests: number }
  >();

  constructor(most: number, share: number) {
    this.#all = new Turnstile(most);
    this.#share = share;
  }

  /** Resolves with the way out when there is room for the holder. */
  async enter(name: string): Promise<() => void> {
    const holder = this.#holders.get(name) ?? {
      own: new Turnstile(this.#share),
      guests: 0,
    };
    this.#holders.set(name, holder);
    holder.guests += 1;
    const leaveOwn = await holder.own.enter();
    const leaveAll = await this.#all.enter();
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      leaveAll();
      leaveOwn();
      holder.guests -= 1;
      if (holder.guests === 0) this.#holders.delete(name);
    };
  }
}
