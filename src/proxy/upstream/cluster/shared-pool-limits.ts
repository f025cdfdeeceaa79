/** The limits of `connectionPool` over all workers: they hold exactly, and a waiting request is woken by whichever worker makes room. */
import type { Cancel, Clock } from "../../../core/clock.ts";
import {
  counterOf,
  type SharedState,
  type Counter,
} from "../../../core/shared/shared-state.ts";
import type { Region } from "../../../core/shared/shared-memory.ts";
import type { MeshError } from "../../../mesh/errors.ts";
import type { Cluster } from "../../../policy/snapshot.ts";
import {
  boundsOf,
  LocalPoolLimits,
  endpointOverflow,
  serviceOverflow,
  type PoolLimits,
  type Waiter,
} from "./pool-limits.ts";

/** The limits of the cluster that all workers know as `key`. */
export function poolLimitsOf(
  sharedState: SharedState,
  clock: Clock,
  key: string,
): PoolLimits {
  const waiting = sharedState.memory?.region(`waiting ${key}`, 2);
  return waiting === undefined
    ? new LocalPoolLimits()
    : new SharedPoolLimits(sharedState, clock, key, waiting);
}

/** Requests to one endpoint. */
interface EndpointSlots {
  readonly active: Counter;
  /** This worker's. */
  readonly queue: Waiter[];
  own: number;
  /** The endpoint is gone. */
  gone: boolean;
}

/** Words of `waiting`. */
const PENDING = 0;
/** Grows whenever there is room that another worker's request may have waited for. */
const TURN = 1;

class SharedPoolLimits implements PoolLimits {
  readonly #sharedState: SharedState;
  readonly #clock: Clock;
  readonly #key: string;
  readonly #active: Counter;
  readonly #waiting: Region;
  readonly #endpoints = new Map<string, EndpointSlots>();
  #bounds = boundsOf(undefined);
  /** This worker's. */
  #own = 0;
  #queued = 0;
  #watching = false;
  #closed = false;
  #released = false;

  constructor(
    sharedState: SharedState,
    clock: Clock,
    key: string,
    waiting: Region,
  ) {
    this.#sharedState = sharedState;
    this.#clock = clock;
    this.#key = key;
    this.#active = counterOf(sharedState, `active ${key}`);
    this.#waiting = waiting;
  }

  get active(): number {
    return this.#active.value;
  }
  get pending(): number {
    return Atomics.load(this.#waiting.words, PENDING);
  }

  configure(cluster: Cluster): void {
    this.#bounds = boundsOf(cluster);
    const present = new Set(cluster.endpoints.map(({ key }) => key));
    for (const [endpoint, slots] of this.#endpoints)
      if (!present.has(endpoint)) this.#leaveBehind(endpoint, slots);
    // Each worker does so for its own queues when the bounds reach it.
    if (this.#queued > 0) this.#serve();
  }

  enter(endpoint: string, waiter: Waiter): Cancel | MeshError | undefined {
    const { requests, perEndpoint, pending } = this.#bounds;
    if (this.active >= requests) return serviceOverflow(this.active);
    const slots = this.#slotsOf(endpoint);
    if (slots.queue.length === 0 && slots.active.enter(perEndpoint)) {
      if (this.#active.enter(requests)) {
        this.#begin(slots, waiter);
        return undefined;
      }
      slots.active.leave();
      // Somebody may have seen this place taken, and gone to sleep.
      this.#wake();
      return serviceOverflow(this.active);
    }
    if (!this.#queue(pending))
      return endpointOverflow(slots.active.value, endpoint, this.pending);
    slots.queue.push(waiter);
    this.#watch();
    return () => {
      const index = slots.queue.indexOf(waiter);
      if (index < 0) return;
      slots.queue.splice(index, 1);
      this.#unqueue();
      this.#forgetIfGone(endpoint, slots);
    };
  }

  leave(endpoint: string): void {
    const slots = this.#endpoints.get(endpoint);
    if (slots === undefined || slots.own === 0) return;
    this.#own -= 1;
    slots.own -= 1;
    const [next] = slots.queue;
    if (next !== undefined && this.#mayFollow(slots) && this.#isOurs()) {
      slots.queue.shift();
      this.#unqueue();
      // The room goes from one to the next: nobody else ever sees it.
      this.#begin(slots, next);
      return;
    }
    slots.active.leave();
    this.#active.leave();
    this.#forgetIfGone(endpoint, slots);
    this.#wake();
    this.#closeWhenOver();
  }

  close(): void {
    this.#closed = true;
    this.#active.close();
    for (const [endpoint, slots] of this.#endpoints)
      this.#leaveBehind(endpoint, slots);
    this.#closeWhenOver();
  }

  /** Room is for the request that waits longest, but no worker knows the others' queues: each gets it as often as its part of the waiting. */
  #isOurs(): boolean {
    const { pending } = this;
    return (
      pending <= this.#queued || this.#clock.random() * pending < this.#queued
    );
  }

  /** Whether the place of one that ends may go to the next: the bounds may be lower than when it came. */
  #mayFollow(slots: EndpointSlots): boolean {
    const { requests, perEndpoint } = this.#bounds;
    return (
      this.#active.isWithin(requests) && slots.active.isWithin(perEndpoint)
    );
  }

  #slotsOf(endpoint: string): EndpointSlots {
    let slots = this.#endpoints.get(endpoint);
    if (slots === undefined) {
      const active = counterOf(
        this.#sharedState,
        `place ${this.#key} ${endpoint}`,
      );
      slots = { active, queue: [], own: 0, gone: this.#closed };
      this.#endpoints.set(endpoint, slots);
    }
    return slots;
  }

  #begin(slots: EndpointSlots, waiter: Waiter): void {
    this.#own += 1;
    slots.own += 1;
    waiter.admitted();
  }

  #queue(limit: number): boolean {
    const { words } = this.#waiting;
    for (;;) {
      const seen = Atomics.load(words, PENDING);
      if (seen >= limit || this.#closed) return false;
      if (Atomics.compareExchange(words, PENDING, seen, seen + 1) === seen) {
        this.#queued += 1;
        return true;
      }
    }
  }

  #unqueue(): void {
    this.#queued -= 1;
    Atomics.sub(this.#waiting.words, PENDING, 1);
    this.#closeWhenOver();
  }

  /** Tells waiting requests, in whichever worker, that there is room. */
  #wake(): void {
    const { words } = this.#waiting;
    if (this.#released || Atomics.load(words, PENDING) === 0) return;
    Atomics.add(words, TURN, 1);
    Atomics.notify(words, TURN);
  }

  /** Until this worker's queues are empty: takes what room there is, and sleeps until there is more. */
  #watch(): void {
    if (this.#watching) return;
    this.#watching = true;
    const { words } = this.#waiting;
    const look = (): void => {
      // Read before the look: room that comes after the look has changed it, and the sleep ends at once.
      const turn = Atomics.load(words, TURN);
      this.#serve();
      if (this.#queued === 0) {
        this.#watching = false;
        this.#closeWhenOver();
        return;
      }
      const { async, value } = Atomics.waitAsync(words, TURN, turn);
      if (async) value.then(look, look);
      else queueMicrotask(look);
    };
    // Not from within `enter`, which has to return first.
    queueMicrotask(look);
  }

  #serve(): void {
    const { requests, perEndpoint } = this.#bounds;
    for (const slots of this.#endpoints.values()) {
      while (slots.queue.length > 0) {
        if (!this.#active.enter(requests)) return;
        if (!slots.active.enter(perEndpoint)) {
          this.#active.leave();
          break;
        }
        const next = slots.queue.shift();
        if (next === undefined) break;
        this.#unqueue();
        this.#begin(slots, next);
      }
    }
  }

  #leaveBehind(endpoint: string, slots: EndpointSlots): void {
    slots.gone = true;
    this.#forgetIfGone(endpoint, slots);
  }

  #forgetIfGone(endpoint: string, slots: EndpointSlots): void {
    if (!slots.gone || slots.own > 0 || slots.queue.length > 0) return;
    slots.active.close();
    this.#endpoints.delete(endpoint);
  }

  /** The words may be another cluster's once they are let go. */
  #closeWhenOver(): void {
    if (!this.#closed || this.#own + this.#queued > 0 || this.#watching) return;
    this.#released = true;
    this.#waiting.close();
  }
}
