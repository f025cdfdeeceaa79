/**
 * How a pool shares its calls out among the workers of one peer: the kernel gives each connection to a worker by chance, so the pool
 * dials until each has one, and then takes turns.
 */
import type { Clock } from "../../../core/clock.ts";
import type { WorkerPlace } from "../../../wire/exchange.ts";

/** A connection of the pool, as far as this is concerned. */
interface Link {
  readonly connection: { readonly capacity: number };
  readonly leaving: boolean;
  worker: number | undefined;
}

/** Workers that a peer is believed to have at most: each costs a connection. */
const MAX_WORKERS = 64;
/** Dials in a row, for each worker, that may find none but workers that have a connection already. */
const TRIES = 8;
/** Milliseconds after which it is tried again. */
const AGAIN = 10_000;
/** Milliseconds of a turn, where there are enough workers on this side for each on the other. */
const TURN = 20;

export interface LinkSpreadingOptions {
  readonly clock: Clock;
  /** Whose pool this is: which of how many of its own process. */
  readonly own: WorkerPlace;
}

export class LinkSpreading {
  /** How many the peer has. */
  readonly workers: number;
  readonly #options: LinkSpreadingOptions;
  /** Dials in a row that brought nothing. */
  #misses = 0;
  #gaveUpAt = Number.NaN;
  #turn = 0;
  #turning = false;

  constructor(options: LinkSpreadingOptions, workers: number) {
    this.#options = options;
    this.workers = workers;
  }

  /** The spread over `workers`: `present` where it is that; none where there is nothing to share out. */
  static over(
    present: LinkSpreading | undefined,
    options: LinkSpreadingOptions,
    workers: number,
  ): LinkSpreading | undefined {
    if (workers < 2 || workers > MAX_WORKERS) return undefined;
    return present?.workers === workers
      ? present
      : new LinkSpreading(options, workers);
  }

  /** `link` is the peer's worker `worker`; true where there is another to that worker, and this one is not needed. */
  introduced(
    links: readonly Link[],
    link: Link,
    { worker }: WorkerPlace,
  ): boolean {
    const known = links.some(
      (other) =>
        other !== link &&
        other.worker === worker &&
        other.connection.capacity > 0,
    );
    link.worker = worker;
    this.#misses = known ? this.#misses + 1 : 0;
    return known;
  }

  /** A dial that was made for this alone has failed: the peer has other troubles now. */
  failed(): void {
    this.#misses = Number.POSITIVE_INFINITY;
  }

  /** How many workers are without a connection; 0 where it has been tried often enough. */
  missing(links: readonly Link[]): number {
    if (this.#misses >= TRIES * this.workers) return 0;
    const reached = new Set<number>();
    for (const { worker } of links)
      if (worker !== undefined) reached.add(worker);
    return Math.max(0, this.workers - reached.size);
  }

  /** Asked now and then: whether what was given up is worth another try. */
  again(now: number): boolean {
    if (this.#misses < TRIES * this.workers) return false;
    if (Number.isNaN(this.#gaveUpAt)) this.#gaveUpAt = now;
    if (now - this.#gaveUpAt < AGAIN) return false;
    this.#gaveUpAt = Number.NaN;
    this.#misses = 0;
    return true;
  }

  /**
   * A worker that shares its turn out among several links makes each of them carry less at a time, and what is read and written
   * together costs the less the more it is. So where this side has as many workers as the other, each of them keeps to one of the
   * other's for a while, every one to another; all change at the same moments, and each inbound worker gets the same in the end
   * however uneven the outbound ones are. A side with fewer workers would leave some of the other's idle: it takes turns as below.
   */
  choose<L extends Link>(links: readonly L[]): L | undefined {
    const { clock, own } = this.#options;
    if (own.workers < this.workers) return this.#inTurn(links);
    const turn = Math.floor(clock.now() / TURN) + own.worker;
    const worker = turn % this.workers;
    for (const link of links)
      if (
        link.worker === worker &&
        !link.leaving &&
        link.connection.capacity > 0
      )
        return link;
    return this.#inTurn(links);
  }

  /**
   * Not with each call: all that is called in one turn of the event loop goes out in one write and comes to one worker in one read,
   * and a call that comes by itself gets a turn by itself.
   */
  #inTurn<L extends Link>(links: readonly L[]): L | undefined {
    if (!this.#turning) {
      this.#turning = true;
      setImmediate(() => {
        this.#turning = false;
        this.#turn += 1;
      });
    }
    const count = links.length;
    for (let step = 0; step < count; step += 1) {
      const link = links[(this.#turn + step) % count];
      if (link !== undefined && !link.leaving && link.connection.capacity > 0)
        return link;
    }
    return undefined;
  }
}
