/** Services that are called: noted at the first call, and known by the minute of the last. */

interface Use {
  readonly service: string;
  /** Wanted from the start, and for good. */
  readonly declared: boolean;
  /** The minute of its last call. */
  seen: number;
}

export class Uses {
  readonly #byService = new Map<string, Use>();
  /** By the keys of destinations, so that a call finds its Service without putting a text together. */
  readonly #byDestination = new Map<string, Use>();
  #minute = 0;

  constructor(declared: Iterable<string> = []) {
    for (const service of declared)
      this.#byService.set(service, { service, declared: true, seen: 0 });
  }

  /** Whether calls to the destination are noted already. */
  called(destination: string): boolean {
    const use = this.#byDestination.get(destination);
    if (use === undefined) return false;
    use.seen = this.#minute;
    return true;
  }

  /** Whether the Service is in use. */
  has(service: string): boolean {
    return this.#byService.has(service);
  }

  /** Notes a call. True where the Service was not in use before. */
  note(service: string, destination?: string): boolean {
    const known = this.#byService.get(service);
    const use = known ?? { service, declared: false, seen: 0 };
    use.seen = this.#minute;
    this.#byService.set(service, use);
    if (destination !== undefined) this.#byDestination.set(destination, use);
    return known === undefined;
  }

  /** Another snapshot has other destinations: the next call to each finds its Service anew. */
  forgetDestinations(): void {
    this.#byDestination.clear();
  }

  remove(service: string): void {
    this.#byService.delete(service);
    for (const [destination, use] of this.#byDestination)
      if (use.service === service) this.#byDestination.delete(destination);
  }

  /** Those of this minute. */
  recent(): string[] {
    return this.#which(({ seen }) => seen === this.#minute);
  }

  /** Those that were not called in the last so many minutes. */
  unused(minutes: number): string[] {
    return this.#which(
      ({ seen, declared }) => !declared && this.#minute - seen >= minutes,
    );
  }

  /** A minute is over. */
  tick(): void {
    this.#minute += 1;
  }

  /** Each with the minutes since its last call; undefined of one that was declared. */
  *entries(): Generator<
    readonly [service: string, minutes: number | undefined]
  > {
    for (const { service, declared, seen } of this.#byService.values())
      yield [service, declared ? undefined : this.#minute - seen];
  }

  #which(wanted: (use: Use) => boolean): string[] {
    return Array.from(this.#byService.values())
      .filter(wanted)
      .map(({ service }) => service);
  }
}
