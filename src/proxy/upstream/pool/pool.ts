/** The connections to one address under one expected identity: who gets which, when another is dialled, when one is let go. */
import type { Cancel, Clock } from "../../../core/clock.ts";
import { MeshError } from "../../../mesh/errors.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
  WorkerPlace,
} from "../../../wire/exchange.ts";
import type {
  ConnectionNeed,
  ConnectionWaiter,
} from "../../exchange/route-plan.ts";
import { LinkSpreading } from "./link-spreading.ts";

export interface PoolSettings {
  /** Milliseconds: an HTTP/1.1 connection without a request lives this long, or less where the peer says so. */
  readonly idleTimeout: number;
  /** Milliseconds: an HTTP/2 connection without a stream lives this long. */
  readonly multiplexedIdleTimeout: number;
  /** Requests after which a connection is let go; 0 is never. */
  readonly maxRequestsPerConnection: number;
  /** Milliseconds to wait for a connection, and for the answer to a PING. */
  readonly connectTimeout: number;
}

/** Makes one connection. Rejects with a MeshError that is `unprocessed`. */
export type Dial = (
  observer: ClientConnectionObserver,
  signal: AbortSignal,
) => Promise<ClientConnection>;

export interface PoolOptions {
  readonly clock: Clock;
  /** Read at each use: the newest snapshot decides. */
  readonly settings: () => PoolSettings;
  readonly dial: Dial;
  /** Many streams share a connection: one is dialled, more only when it is full. Otherwise each waiter dials. */
  readonly multiplexed: boolean;
  /** The peer is a sidecar, which may have several workers: each is to get its part. This is the worker that calls. */
  readonly spread?: WorkerPlace | undefined;
}

/** Milliseconds that a connection may have been silent and still carry a request that may not be repeated (law 3). */
export const FRESH = 1000;

interface Entry {
  readonly connection: ClientConnection;
  requests: number;
  /** Monotonic milliseconds since it carries nothing; NaN while it carries something. */
  idleSince: number;
  leaving: boolean;
  /** Which of the peer's workers has it; undefined where it has not said, and has one. */
  worker: number | undefined;
}

interface Waiting {
  readonly need: ConnectionNeed;
  readonly waiter: ConnectionWaiter;
  over: boolean;
  /** Where it waits in the pool that came after this one. */
  moved?: Cancel | undefined;
}

export class Pool {
  readonly #options: PoolOptions;
  /** Those that are idle stand in the order of use: the last was used last, and is used next (law 3: stale connections are the field's random 503s). */
  readonly #entries: Entry[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #dials = new Set<AbortController>();
  #closed = false;
  #successor: Pool | undefined;
  /** Made once the peer says that it has several workers. */
  #spread: LinkSpreading | undefined;
  readonly #listeners = new Set<(notice: Buffer) => void>();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Connections there are, connections being made, requests under way. */
  get connections(): number {
    return this.#entries.length;
  }
  get dialling(): number {
    return this.#dials.size;
  }
  get waiting(): number {
    return this.#waiting.length;
  }
  get active(): number {
    let active = 0;
    for (const entry of this.#entries) active += entry.connection.active;
    return active;
  }

  /** Undefined where the waiter has been served already. */
  acquire(need: ConnectionNeed, waiter: ConnectionWaiter): Cancel | undefined {
    if (this.#closed) {
      waiter.failed(closing());
      return undefined;
    }
    if (this.#waiting.length === 0) {
      const entry = this.#find(need);
      if (entry !== undefined) {
        if (need.mayRepeat || this.#isFresh(entry)) {
          this.#serve(entry, waiter, true);
          return undefined;
        }
        if (entry.connection.protocol === "h2")
          return this.#afterPing(entry, need, waiter);
      }
    }
    const waiting: Waiting = { need, waiter, over: false };
    this.#waiting.push(waiting);
    this.#dialForWaiting();
    return () => {
      waiting.over = true;
      waiting.moved?.();
      const index = this.#waiting.indexOf(waiting);
      if (index >= 0) this.#waiting.splice(index, 1);
    };
  }

  /** Hears the notices of whoever is at the other end; what it is given may be kept no longer than the call. */
  listen(listener: (notice: Buffer) => void): Cancel {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The connection that a request gets now, if any has room. */
  #find(need: ConnectionNeed): Entry | undefined {
    const entries = this.#entries;
    if (this.#spread !== undefined) return this.#spread.choose(entries);
    for (let index = entries.length - 1; index >= 0; index -= 1) {
      const entry = entries[index];
      if (entry === undefined || entry.leaving) continue;
      const { connection } = entry;
      if (connection.capacity <= 0) continue;
      if (connection.protocol === "h2") return entry;
      if (this.#isStale(entry)) {
        this.#discard(entry);
        continue;
      }
      // Entries below have been idle for longer: none of them is fresher.
      if (!need.mayRepeat && !this.#isFresh(entry)) return undefined;
      return entry;
    }
    return undefined;
  }

  #isStale(entry: Entry): boolean {
    const { idleTimeout } = this.#options.settings();
    const limit = Math.min(idleTimeout, entry.connection.keepAlive ?? Infinity);
    return this.#options.clock.now() - entry.idleSince >= limit;
  }

  #isFresh(entry: Entry): boolean {
    const since =
      entry.connection.protocol === "h2"
        ? entry.connection.heardAt
        : entry.idleSince;
    return this.#options.clock.now() - since < FRESH;
  }

  #serve(entry: Entry, waiter: ConnectionWaiter, reused: boolean): void {
    entry.requests += 1;
    entry.idleSince = Number.NaN;
    waiter.connected(entry.connection, reused);
    // Its place does not matter while it carries something; it is moved when it no longer does.
    if (entry.connection.active === 0) this.#idle(entry);
    const { maxRequestsPerConnection } = this.#options.settings();
    if (
      maxRequestsPerConnection > 0 &&
      entry.requests >= maxRequestsPerConnection
    ) {
      this.#remove(entry);
      entry.connection.drain();
    }
  }

  #now(): number {
    return this.#options.clock.now();
  }

  #idle(entry: Entry): void {
    entry.idleSince = this.#now();
    const entries = this.#entries;
    if (entry.connection.protocol === "h2" || entries.at(-1) === entry) return;
    const index = entries.lastIndexOf(entry);
    if (index < 0) return;
    entries.splice(index, 1);
    entries.push(entry);
  }

  /** A request that may not be repeated meets a silent HTTP/2 connection: the answer to a PING proves that it lives. */
  #afterPing(
    entry: Entry,
    need: ConnectionNeed,
    waiter: ConnectionWaiter,
  ): Cancel {
    const waiting: Waiting = { need, waiter, over: false };
    let inner: Cancel | undefined;
    let answered = false;
    const settle = (alive: boolean): void => {
      if (answered) return;
      answered = true;
      cancelTimer();
      if (!alive) {
        this.#remove(entry);
        entry.connection.destroy(
          new MeshError(
            "UPSTREAM_RESET",
            "the connection did not acknowledge a PING in time",
            { source: "upstream" },
          ),
        );
      }
      if (waiting.over) return;
      if (alive && !entry.leaving && entry.connection.capacity > 0)
        this.#serve(entry, waiter, true);
      else inner = this.acquire(need, waiter);
    };
    const cancelTimer = this.#options.clock.after(
      this.#options.settings().connectTimeout,
      () => settle(false),
    );
    entry.connection.ping().then(
      () => settle(true),
      () => settle(false),
    );
    return () => {
      waiting.over = true;
      inner?.();
    };
  }

  /** Enough dials for those who wait: one for all where streams share, one for each otherwise. */
  #dialForWaiting(): void {
    const wanted = this.#options.multiplexed
      ? Math.min(1, this.#waiting.length)
      : this.#waiting.length;
    while (this.#dials.size < wanted) this.#dial(false);
  }

  /** Where the peer has several workers: a connection to each of them, as far as they can be reached. */
  #dialForSpread(): void {
    if (this.#closed || this.#entries.length === 0) return;
    const missing = this.#spread?.missing(this.#entries) ?? 0;
    while (this.#dials.size < missing) this.#dial(true);
  }

  #introduced(entry: Entry, place: WorkerPlace): void {
    const { clock, spread: own } = this.#options;
    if (own === undefined) return;
    this.#spread = LinkSpreading.over(
      this.#spread,
      { clock, own },
      place.workers,
    );
    if (this.#spread === undefined || entry.leaving) return;
    if (this.#spread.introduced(this.#entries, entry, place)) {
      this.#remove(entry);
      entry.connection.drain();
    }
    this.#dialForSpread();
  }

  /** `more`: nobody waits for it in particular. */
  #dial(more: boolean): void {
    const abort = new AbortController();
    this.#dials.add(abort);
    let entry: Entry | undefined;
    let gone = false;
    const observer: ClientConnectionObserver = {
      available: () => {
        if (entry !== undefined) this.#available(entry);
      },
      introduced: (place) => {
        if (entry !== undefined) this.#introduced(entry, place);
      },
      noticed: (notice) => {
        for (const listener of this.#listeners) listener(notice);
      },
      draining: () => {
        gone = true;
        if (entry !== undefined) this.#leave(entry);
      },
      closed: () => {
        gone = true;
        if (entry !== undefined) this.#leave(entry);
      },
    };
    this.#options.dial(observer, abort.signal).then(
      (connection) => {
        this.#dials.delete(abort);
        if (gone || (this.#closed && this.#waiting.length === 0)) {
          connection.destroy();
          if (this.#closed) this.#handOver();
          else this.#failOne(closing());
          return;
        }
        entry = {
          connection,
          requests: 0,
          idleSince: this.#now(),
          leaving: false,
          worker: undefined,
        };
        this.#entries.push(entry);
        this.#serveWaiting(entry, false);
        if (this.#closed) {
          this.#remove(entry);
          connection.drain();
          this.#handOver();
        } else this.#dialForWaiting();
      },
      (error: unknown) => {
        this.#dials.delete(abort);
        if (this.#closed) {
          this.#handOver();
          return;
        }
        if (more) {
          this.#spread?.failed();
          this.#dialForWaiting();
          return;
        }
        const reason =
          error instanceof MeshError
            ? error
            : new MeshError("INTERNAL", "", { source: "proxy", cause: error });
        if (this.#options.multiplexed) {
          for (const waiting of this.#waiting.splice(0))
            waiting.waiter.failed(reason);
        } else this.#failOne(reason);
      },
    );
  }

  #failOne(error: MeshError): void {
    this.#waiting.shift()?.waiter.failed(error);
  }

  #available(entry: Entry): void {
    if (entry.leaving) return;
    if (entry.connection.active === 0) this.#idle(entry);
    if (this.#waiting.length > 0) this.#serveWaiting(entry, true);
  }

  #serveWaiting(entry: Entry, reused: boolean): void {
    let again = reused;
    while (!entry.leaving && entry.connection.capacity > 0) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) return;
      this.#serve(entry, waiting.waiter, again);
      again = true;
    }
  }

  /** It takes no new request; those under way go on. */
  #leave(entry: Entry): void {
    this.#remove(entry);
    if (this.#waiting.length > 0) this.#dialForWaiting();
    this.#dialForSpread();
  }

  #remove(entry: Entry): void {
    entry.leaving = true;
    const index = this.#entries.lastIndexOf(entry);
    if (index >= 0) this.#entries.splice(index, 1);
  }

  #discard(entry: Entry): void {
    this.#remove(entry);
    entry.connection.destroy();
  }

  /** Lets go of what has been idle for too long; the owner of the pools calls it now and then. */
  sweep(): void {
    const now = this.#now();
    const { multiplexedIdleTimeout } = this.#options.settings();
    for (const entry of [...this.#entries]) {
      if (entry.connection.active > 0) continue;
      const stale =
        entry.connection.protocol === "h2"
          ? now - Math.max(entry.connection.heardAt, entry.idleSince || 0) >=
            multiplexedIdleTimeout
          : this.#isStale(entry);
      if (stale) this.#discard(entry);
    }
    if (this.#spread?.again(now) === true) this.#dialForSpread();
  }

  /**
   * No new requests; those under way finish, then the connections close. With a `successor`, who waits for a connection that is being made gets it, and the
   * others wait on in the successor: no handshake is broken off, which the peer would count, and no call fails. Without, whoever waits is refused.
   */
  drain(successor?: Pool): void {
    if (successor === undefined) this.#stop();
    else {
      this.#closed = true;
      this.#successor = successor;
      this.#handOver();
    }
    for (const entry of this.#entries.splice(0)) {
      entry.leaving = true;
      entry.connection.drain();
    }
  }

  destroy(): void {
    this.#stop();
    for (const entry of this.#entries.splice(0)) {
      entry.leaving = true;
      entry.connection.destroy();
    }
  }

  #stop(): void {
    this.#closed = true;
    for (const dial of this.#dials) dial.abort(closing());
    this.#dials.clear();
    for (const waiting of this.#waiting.splice(0))
      waiting.waiter.failed(closing());
  }

  /** Those for whom no connection is being made any more go to the successor. */
  #handOver(): void {
    const successor = this.#successor;
    if (successor === undefined) return;
    const { size } = this.#dials;
    const kept = this.#options.multiplexed && size > 0 ? Infinity : size;
    for (const waiting of this.#waiting.splice(kept))
      waiting.moved = successor.acquire(waiting.need, waiting.waiter);
  }
}

function closing(): MeshError {
  // "Refused", not "failed": it says nothing of the endpoint.
  return new MeshError(
    "STREAM_REFUSED",
    "the connection was let go before it was used",
    { source: "proxy", unprocessed: true },
  );
}
