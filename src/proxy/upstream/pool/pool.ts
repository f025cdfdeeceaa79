/** The connections to one address under one expected identity: which call gets which, when another is dialled, when one is let go. */
import { afterArrivals, type Cancel } from "../../../core/clock.ts";
import { MeshError } from "../../../mesh/errors.ts";
import type { ClientConnectionObserver } from "../../../wire/exchange.ts";
import type {
  ConnectionNeed,
  ConnectionWaiter,
} from "../../exchange/route-plan.ts";
import { isThere, JUDGED_WITHIN, type WatchedLink } from "./link-watch.ts";
import type { PoolOptions } from "./options.ts";
import {
  PooledConnections,
  type PooledConnection,
} from "./pooled-connections.ts";
import { closing, silent } from "./refusals.ts";

interface Waiting {
  readonly need: ConnectionNeed;
  readonly waiter: ConnectionWaiter;
  over: boolean;
  /** No other connection could be made: it waits for one that there is, for a while. */
  patient?: boolean;
  /** Where it waits in the pool that came after this one. */
  moved?: Cancel | undefined;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #connections: PooledConnections;
  readonly #waiting: Waiting[] = [];
  readonly #dials = new Set<AbortController>();
  #closed = false;
  #successor: Pool | undefined;
  readonly #listeners = new Set<(notice: Buffer) => void>();
  readonly #deathListeners = new Set<(evidence: string) => void>();
  /** Those that take no new request are among them. */
  readonly #watched = new Set<WatchedLink>();

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#connections = new PooledConnections(options);
  }

  /** Connections there are, connections being made, requests in flight. */
  get connections(): number {
    return this.#connections.size;
  }
  get dialling(): number {
    return this.#dials.size;
  }
  get waiting(): number {
    return this.#waiting.length;
  }
  get active(): number {
    return this.#connections.active;
  }

  /** Undefined where the waiter has been served already. */
  acquire(need: ConnectionNeed, waiter: ConnectionWaiter): Cancel | undefined {
    if (this.#closed) {
      waiter.failed(closing());
      return undefined;
    }
    if (this.#waiting.length === 0) {
      const pooled = this.#connections.find(need.mayRepeat);
      if (pooled !== undefined) {
        if (need.mayRepeat || this.#connections.isFresh(pooled)) {
          this.#serve(pooled, waiter, true);
          return undefined;
        }
        if (pooled.connection.protocol === "h2")
          return this.#afterPing(pooled, need, waiter);
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

  /** Hears the notices of the other end; what it is given may be kept no longer than the call. */
  listen(listener: (notice: Buffer) => void): Cancel {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Hears that a connection was found dead, or late, and on what evidence, before what was in flight on it fails. */
  onDead(listener: (evidence: string) => void): Cancel {
    this.#deathListeners.add(listener);
    return () => this.#deathListeners.delete(listener);
  }

  #serve(
    pooled: PooledConnection,
    waiter: ConnectionWaiter,
    reused: boolean,
  ): void {
    this.#connections.busy(pooled);
    waiter.connected(pooled.connection, reused);
    // Its place does not matter while it carries something; it is moved when it no longer does.
    if (pooled.connection.active === 0) this.#connections.idle(pooled);
    const { maxRequestsPerConnection } = this.#options.settings();
    if (
      maxRequestsPerConnection > 0 &&
      pooled.requests >= maxRequestsPerConnection
    ) {
      this.#connections.remove(pooled);
      pooled.connection.drain();
    }
  }

  /**
   * A request that may not be repeated meets a silent HTTP/2 connection: the acknowledgement of a PING proves that it lives. Where there is none,
   * another is dialled. If requests are out on a link, or its host is there, it is the watch that judges it, and this one goes elsewhere.
   * With nowhere else to go, it waits for that judgement.
   */
  #afterPing(
    pooled: PooledConnection,
    need: ConnectionNeed,
    waiter: ConnectionWaiter,
  ): Cancel {
    const { connection } = pooled;
    const waiting: Waiting = { need, waiter, over: false };
    let inner: Cancel | undefined;
    let answered = false;
    const { clock, settings, watch } = this.#options;
    const { connectTimeout } = settings();
    const evidence = `no acknowledgement of a PING within ${connectTimeout / 1000} s`;
    const askedAt = clock.now();
    let watched = watch !== undefined && connection.active > 0;
    const settle = (answer: "alive" | "ended" | "silent"): void => {
      if (answered) return;
      answered = true;
      cancelTimer();
      if (answer === "silent" && !watched) this.#dead(pooled, evidence);
      if (waiting.over) return;
      const alive = answer === "alive";
      if (alive && !pooled.leaving && connection.capacity > 0)
        this.#serve(pooled, waiter, true);
      else if (alive || !watched || (answer === "ended" && waiter.isLast?.()))
        inner = this.acquire(need, waiter);
      else waiter.failed(silent(evidence, true));
    };
    const giveUp = (): void => settle("silent");
    const late = (): void => {
      if (
        !watched &&
        watch !== undefined &&
        isThere(connection, clock, askedAt)
      ) {
        watched = true;
        for (const link of this.#watched) link.ask();
      }
      if (!watched || waiting.over || waiter.isLast?.() !== true) giveUp();
      else cancelTimer = afterArrivals(clock, JUDGED_WITHIN, giveUp);
    };
    let cancelTimer = afterArrivals(clock, connectTimeout, late);
    connection.ping().then(
      () => settle("alive"),
      () => settle("ended"),
    );
    return () => {
      waiting.over = true;
      if (watched) cancelTimer();
      inner?.();
    };
  }

  /**
   * It is silent, and does not acknowledge a PING. The others are asked at once, as they go the same way. What is in flight fails last: its
   * repeat finds the endpoint out. One that carries nothing proves nothing of the endpoint: the way may have forgotten it, and a dial will tell.
   */
  #dead(pooled: PooledConnection, evidence: string): void {
    const { connection } = pooled;
    this.#connections.remove(pooled);
    if (connection.active > 0)
      for (const listener of this.#deathListeners) listener(evidence);
    for (const link of this.#watched) link.ask();
    connection.destroy(silent(evidence, false));
  }

  /**
   * Its host is there, its process says nothing. What is in flight waits. Where the endpoint is not the only one, new requests go to others;
   * and whatever takes a new connection proves that more than this link is alive.
   */
  #late({ connection }: PooledConnection, evidence: string, first: boolean) {
    if (first && connection.active > 0)
      for (const listener of this.#deathListeners) listener(evidence);
    if (!this.#closed && this.#dials.size === 0) this.#dial(true);
  }

  /** Enough dials for those that wait: one for all where streams share, one for each otherwise. */
  #dialForWaiting(): void {
    const wanted = this.#options.multiplexed
      ? Math.min(1, this.#waiting.length)
      : this.#waiting.length;
    while (this.#dials.size < wanted) this.#dial(false);
  }

  /** Where the peer has several workers: a connection to each of them, as far as they can be reached. */
  #dialForSpread(): void {
    if (this.#closed) return;
    const { missing } = this.#connections;
    while (this.#dials.size < missing) {
      this.#connections.seek();
      this.#dial(true);
    }
  }

  /** `more`: nobody waits for it in particular. */
  #dial(more: boolean): void {
    const abort = new AbortController();
    this.#dials.add(abort);
    let pooled: PooledConnection | undefined;
    let gone = false;
    let link: WatchedLink | undefined;
    const leave = (): void => {
      gone = true;
      if (pooled !== undefined) this.#leave(pooled);
    };
    const observer: ClientConnectionObserver = {
      available: () => {
        if (pooled !== undefined) this.#available(pooled);
      },
      introduced: (place) => {
        if (pooled === undefined) return;
        if (this.#connections.introduced(pooled, place)) this.#dialForSpread();
      },
      noticed: (notice) => {
        for (const listener of this.#listeners) listener(notice);
      },
      draining: leave,
      closed: () => {
        if (link !== undefined) this.#unwatch(link);
        leave();
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
        for (const each of this.#watched) each.outdone();
        pooled = this.#connections.add(connection);
        link = this.#watch(pooled);
        this.#options.connected?.();
        this.#dialled(pooled);
      },
      (error: unknown) => {
        this.#dials.delete(abort);
        this.#dialFailed(error, more);
      },
    );
  }

  #watch(pooled: PooledConnection): WatchedLink | undefined {
    const link = this.#options.watch?.enter(pooled.connection, {
      died: (evidence) => this.#dead(pooled, evidence),
      late: (evidence, first) => this.#late(pooled, evidence, first),
    });
    if (link !== undefined) this.#watched.add(link);
    return link;
  }

  #unwatch(link: WatchedLink): void {
    this.#watched.delete(link);
    this.#options.watch?.leave(link);
  }

  #dialled(pooled: PooledConnection): void {
    this.#serveWaiting(pooled, false);
    if (this.#closed) {
      this.#connections.remove(pooled);
      pooled.connection.drain();
      this.#handOver();
    } else this.#dialForWaiting();
  }

  #dialFailed(error: unknown, more: boolean): void {
    if (this.#closed) {
      this.#handOver();
      return;
    }
    if (more) {
      this.#connections.missed();
      this.#dialForWaiting();
      return;
    }
    const reason =
      error instanceof MeshError
        ? error
        : new MeshError("INTERNAL", "", { source: "proxy", cause: error });
    // This machine lacks something, and the connections that there are need no more of it.
    if (reason.code === "MACHINE_ERROR" && this.#connections.size > 0)
      this.#waitOn(reason);
    else if (this.#options.multiplexed) {
      for (const waiting of this.#waiting.splice(0))
        waiting.waiter.failed(reason);
    } else this.#failOne(reason);
  }

  #failOne(error: MeshError): void {
    this.#waiting.shift()?.waiter.failed(error);
  }

  /** Those that this dial was for wait as long as it could have taken for a connection that another request uses. */
  #waitOn(reason: MeshError): void {
    const { clock, settings, multiplexed } = this.#options;
    const all = this.#waiting.filter(({ patient }) => patient !== true);
    for (const waiting of multiplexed ? all : all.slice(0, 1)) {
      waiting.patient = true;
      afterArrivals(clock, settings().connectTimeout, () => {
        const index = this.#waiting.indexOf(waiting);
        if (index < 0) return;
        this.#waiting.splice(index, 1);
        waiting.waiter.failed(reason);
      });
    }
  }

  #available(pooled: PooledConnection): void {
    if (pooled.leaving) return;
    if (pooled.connection.active === 0) this.#connections.idle(pooled);
    if (this.#waiting.length > 0) this.#serveWaiting(pooled, true);
  }

  #serveWaiting(pooled: PooledConnection, reused: boolean): void {
    let again = reused;
    while (!pooled.leaving && pooled.connection.capacity > 0) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) return;
      this.#serve(pooled, waiting.waiter, again);
      again = true;
    }
  }

  /** It takes no new request; those in flight go on. */
  #leave(pooled: PooledConnection): void {
    this.#connections.remove(pooled);
    if (this.#waiting.length > 0) this.#dialForWaiting();
    this.#dialForSpread();
  }

  /** Lets go of up to `most` connections that have been idle for too long; gives how many. The owner of the pools calls it now and then. */
  sweep(most: number): number {
    const count = this.#connections.sweep(most);
    if (this.#connections.again()) this.#dialForSpread();
    return count;
  }

  /**
   * No new requests; those in flight finish, then the connections close. With a `successor`, a waiter for a connection that is being made gets it, and the
   * others wait on in the successor: no handshake is broken off, which the peer would count, and no call fails. Without, all that wait are refused.
   */
  drain(successor?: Pool): void {
    if (successor === undefined) this.#stop();
    else {
      this.#closed = true;
      this.#successor = successor;
      this.#handOver();
    }
    for (const { connection } of this.#connections.removeAll())
      connection.drain();
  }

  destroy(): void {
    this.#stop();
    for (const { connection } of this.#connections.removeAll())
      connection.destroy();
  }

  #stop(): void {
    this.#closed = true;
    for (const dial of this.#dials) dial.abort(closing());
    this.#dials.clear();
    for (const waiting of this.#waiting.splice(0))
      waiting.waiter.failed(closing());
  }

  /** Requests for which no connection is being made any more go to the successor. */
  #handOver(): void {
    const successor = this.#successor;
    if (successor === undefined) return;
    const { size } = this.#dials;
    const kept = this.#options.multiplexed && size > 0 ? Infinity : size;
    for (const waiting of this.#waiting.splice(kept))
      waiting.moved = successor.acquire(waiting.need, waiting.waiter);
  }
}
