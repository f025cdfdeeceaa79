/** The connections that a pool has: which of them a request gets, which have been idle for too long, and which worker of the peer each goes to. */
import type { ClientConnection, WorkerPlace } from "../../../wire/exchange.ts";
import { LinkSpreading } from "./link-spreading.ts";
import type { PoolOptions } from "./options.ts";

/** Milliseconds that a connection may have been silent and still carry a request that may not be repeated (law 3). */
export const FRESH = 1000;
/**
 * Milliseconds that a link may have been silent with requests out and still carry such a request: a twentieth of the time in which it is
 * found dead, so that of twenty of them one is lost. Where it lives, a PING costs a round trip, of which a response that takes longer than
 * this makes little.
 */
const FRESH_IN_USE = 100;
/**
 * Connections that are dialled for a peer's workers at most, and milliseconds for which that holds: enough to find each of 64, whatever
 * the peer says of how many it has, or does with them.
 */
const MOST_SOUGHT = 512;
const SOUGHT_WITHIN = 10_000;

export interface PooledConnection {
  readonly connection: ClientConnection;
  requests: number;
  /** Monotonic milliseconds since it carries nothing; NaN while it carries something. */
  idleSince: number;
  /** Monotonic milliseconds since it carries something; of a link, and as it was when it carried something last. */
  busySince: number;
  leaving: boolean;
  /** Which of the peer's workers has it; undefined where it has not said, and has one. */
  worker: number | undefined;
}

type Options = Pick<PoolOptions, "clock" | "settings" | "spread" | "watch">;

export class PooledConnections {
  readonly #options: Options;
  /** Those that are idle are in the order of use: the last was used last, and is used next (law 3: stale connections are the field's random 503s). */
  readonly #all: PooledConnection[] = [];
  /** Made once the peer says that it has several workers. */
  #spread: LinkSpreading | undefined;
  /** Dialled for its workers since then, monotonic milliseconds. */
  #sought = 0;
  #soughtSince: number;

  constructor(options: Options) {
    this.#options = options;
    this.#soughtSince = options.clock.now();
  }

  get size(): number {
    return this.#all.length;
  }

  /** Requests in flight on all of them. */
  get active(): number {
    let active = 0;
    for (const { connection } of this.#all) active += connection.active;
    return active;
  }

  /** Workers of the peer that none of them goes to, as far as these are worth another try. */
  get missing(): number {
    if (this.#all.length === 0 || this.#sought >= MOST_SOUGHT) return 0;
    return this.#spread?.missing(this.#all) ?? 0;
  }

  add(connection: ClientConnection): PooledConnection {
    const pooled: PooledConnection = {
      connection,
      requests: 0,
      idleSince: this.#now(),
      busySince: Number.NaN,
      leaving: false,
      worker: undefined,
    };
    this.#all.push(pooled);
    return pooled;
  }

  /** The one that a request gets now, if any has room. */
  find(mayRepeat: boolean): PooledConnection | undefined {
    const all = this.#all;
    if (this.#spread !== undefined) return this.#spread.choose(all);
    for (let index = all.length - 1; index >= 0; index -= 1) {
      const pooled = all[index];
      if (pooled === undefined || pooled.leaving) continue;
      const { connection } = pooled;
      if (connection.capacity <= 0) continue;
      if (connection.protocol === "h2") return pooled;
      // A sweep lets go of it: a call that comes after a long silence must not wait for thousands to be closed.
      if (this.#isStale(pooled)) continue;
      // Those below have been idle for longer: none of them is fresher.
      if (!mayRepeat && !this.isFresh(pooled)) return undefined;
      return pooled;
    }
    return undefined;
  }

  /** It gets a request now. */
  busy(pooled: PooledConnection): void {
    pooled.requests += 1;
    pooled.idleSince = Number.NaN;
    const { watch } = this.#options;
    if (watch === undefined) return;
    watch.wake();
    if (pooled.connection.active === 0) pooled.busySince = this.#now();
  }

  isFresh({ connection, idleSince, busySince }: PooledConnection): boolean {
    const now = this.#now();
    if (connection.protocol !== "h2")
      // Half of the time that the server keeps it: at the end of that it closes it, whatever has just been sent.
      return (
        now - idleSince <
        Math.min(FRESH, (connection.keepAlive ?? Infinity) / 2)
      );
    const { heardAt } = connection;
    if (now - heardAt >= FRESH) return false;
    return (
      this.#options.watch === undefined ||
      connection.active === 0 ||
      now - Math.max(heardAt, busySince) < FRESH_IN_USE
    );
  }

  #isStale({ connection, idleSince }: PooledConnection): boolean {
    const { idleTimeout } = this.#options.settings();
    const limit = Math.min(idleTimeout, connection.keepAlive ?? Infinity);
    return this.#now() - idleSince >= limit;
  }

  /** It carries nothing any more. */
  idle(pooled: PooledConnection): void {
    pooled.idleSince = this.#now();
    const all = this.#all;
    if (pooled.connection.protocol === "h2" || all.at(-1) === pooled) return;
    const index = all.lastIndexOf(pooled);
    if (index < 0) return;
    all.splice(index, 1);
    all.push(pooled);
  }

  /** It takes no new request; what becomes of those in flight is the caller's to say. */
  remove(pooled: PooledConnection): void {
    pooled.leaving = true;
    const index = this.#all.lastIndexOf(pooled);
    if (index >= 0) this.#all.splice(index, 1);
  }

  /** Removes all of them, and gives them. */
  removeAll(): readonly PooledConnection[] {
    const all = this.#all.splice(0);
    for (const pooled of all) pooled.leaving = true;
    return all;
  }

  /** It says which worker of the peer it goes to, and is let go where another goes there. True where workers may be missing now. */
  introduced(pooled: PooledConnection, place: WorkerPlace): boolean {
    const { clock, spread: own } = this.#options;
    if (own === undefined) return false;
    this.#spread = LinkSpreading.over(
      this.#spread,
      { clock, own },
      place.workers,
    );
    if (this.#spread === undefined || pooled.leaving) return false;
    if (this.#spread.introduced(this.#all, pooled, place)) {
      this.remove(pooled);
      pooled.connection.drain();
    }
    return true;
  }

  /** A connection is dialled for a missing worker. */
  seek(): void {
    this.#sought += 1;
  }

  /** A dial for a missing worker has failed. */
  missed(): void {
    this.#spread?.failed();
  }

  /** Lets go of up to `most` that have been idle for too long; gives how many. */
  sweep(most: number): number {
    const now = this.#now();
    const { multiplexedIdleTimeout } = this.#options.settings();
    let count = 0;
    // A copy: what is let go of leaves.
    for (const pooled of [...this.#all]) {
      if (count === most) break;
      const { connection, idleSince } = pooled;
      if (connection.active > 0) continue;
      const stale =
        connection.protocol === "h2"
          ? now - Math.max(connection.heardAt, idleSince || 0) >=
            multiplexedIdleTimeout
          : this.#isStale(pooled);
      if (!stale) continue;
      count += 1;
      this.#discard(pooled);
    }
    return count;
  }

  /** Asked now and then: whether missing workers are worth another try. */
  again(): boolean {
    const now = this.#now();
    const over = now - this.#soughtSince >= SOUGHT_WITHIN;
    const stopped = over && this.#sought >= MOST_SOUGHT;
    if (over) {
      this.#sought = 0;
      this.#soughtSince = now;
    }
    return this.#spread?.again(now) === true || stopped;
  }

  #discard(pooled: PooledConnection): void {
    this.remove(pooled);
    pooled.connection.destroy();
  }

  #now(): number {
    return this.#options.clock.now();
  }
}
