/** The limits of `connectionPool`: how many requests may be in flight, how many wait, and OVERFLOW for the rest. */
import type { Cancel } from "../../../core/clock.ts";
import { MeshError } from "../../../mesh/errors.ts";
import type { Cluster } from "../../../policy/snapshot.ts";

/** A request that asks to be let in. */
export interface Waiter {
  /** It is let in: give it back by `leave`. Possibly from within `enter`. */
  admitted(): void;
}

/**
 * HTTP/2 and gRPC count requests to the service (`http2MaxRequests`); HTTP/1.1 and TCP count requests and connections to one
 * endpoint as well (`maxConnections`; over the link those are streams), and HTTP/1.1 waits in a queue of `http1MaxPendingRequests`.
 */
export interface PoolLimits {
  /** Requests in flight, and those that wait. */
  readonly active: number;
  readonly pending: number;
  configure(cluster: Cluster): void;
  /**
   * Starts now, or when another ends, or never: then it returns the error. A request that has started is given back by `leave`.
   * The result takes a waiting request out of the queue; undefined where it has started.
   */
  enter(endpoint: string, waiter: Waiter): Cancel | MeshError | undefined;
  leave(endpoint: string): void;
  /** The cluster is gone: what is in it still leaves. */
  close(): void;
}

export interface PoolBounds {
  readonly requests: number;
  readonly perEndpoint: number;
  readonly pending: number;
}

export function boundsOf(cluster: Cluster | undefined): PoolBounds {
  if (cluster === undefined)
    return { requests: Infinity, perEndpoint: Infinity, pending: 0 };
  const { tcp, http } = cluster.settings.connectionPool;
  const kind = cluster.appProtocol;
  const multiplexed = kind === "http2" || kind === "grpc";
  const opaque = kind === "tcp" || kind === "tls";
  return {
    requests: opaque ? Infinity : http.http2MaxRequests,
    perEndpoint: multiplexed ? Infinity : tcp.maxConnections,
    pending: kind === "http" ? http.http1MaxPendingRequests : 0,
  };
}

/** Requests to one endpoint. */
interface EndpointSlots {
  active: number;
  readonly queue: Waiter[];
}

/** The limits of a worker that is alone. */
export class LocalPoolLimits implements PoolLimits {
  #active = 0;
  #pending = 0;
  #bounds = boundsOf(undefined);
  readonly #endpoints = new Map<string, EndpointSlots>();

  get active(): number {
    return this.#active;
  }
  get pending(): number {
    return this.#pending;
  }

  configure(cluster: Cluster): void {
    this.#bounds = boundsOf(cluster);
    if (this.#pending > 0) this.#serveAll();
  }

  enter(endpoint: string, waiter: Waiter): Cancel | MeshError | undefined {
    const { requests, perEndpoint, pending } = this.#bounds;
    if (this.#active >= requests) return serviceOverflow(this.#active);
    let slots = this.#endpoints.get(endpoint);
    if (slots === undefined) {
      slots = { active: 0, queue: [] };
      this.#endpoints.set(endpoint, slots);
    }
    const { queue } = slots;
    if (queue.length === 0 && slots.active < perEndpoint) {
      this.#begin(slots, waiter);
      return undefined;
    }
    if (this.#pending >= pending)
      return endpointOverflow(slots.active, endpoint, this.#pending);
    queue.push(waiter);
    this.#pending += 1;
    return () => {
      const index = queue.indexOf(waiter);
      if (index < 0) return;
      queue.splice(index, 1);
      this.#pending -= 1;
      this.#forgetIfIdle(endpoint, slots);
    };
  }

  leave(endpoint: string): void {
    const slots = this.#endpoints.get(endpoint);
    if (slots === undefined) return;
    const wasFull = this.#active >= this.#bounds.requests;
    this.#active -= 1;
    slots.active -= 1;
    this.#forgetIfIdle(endpoint, slots);
    if (this.#pending === 0) return;
    this.#serve(slots);
    // Another endpoint's queue may have waited for the room of the whole service.
    if (wasFull) this.#serveAll();
  }

  close(): void {
    // Nothing is held that others need.
  }

  #serveAll(): void {
    for (const slots of this.#endpoints.values()) this.#serve(slots);
  }

  /** Begins what waits, in order, as far as the bounds of now allow it: they may be other than when it came. */
  #serve(slots: EndpointSlots): void {
    const { requests, perEndpoint } = this.#bounds;
    while (this.#active < requests && slots.active < perEndpoint) {
      const next = slots.queue.shift();
      if (next === undefined) return;
      this.#pending -= 1;
      this.#begin(slots, next);
    }
  }

  #forgetIfIdle(endpoint: string, slots: EndpointSlots): void {
    if (slots.active === 0 && slots.queue.length === 0)
      this.#endpoints.delete(endpoint);
  }

  #begin(slots: EndpointSlots, waiter: Waiter): void {
    this.#active += 1;
    slots.active += 1;
    waiter.admitted();
  }
}

export function serviceOverflow(active: number): MeshError {
  return overflow(`${active} requests are in flight`);
}

export function endpointOverflow(
  active: number,
  endpoint: string,
  pending: number,
): MeshError {
  return overflow(
    `${active} requests to ${endpoint} are in flight and ${pending} wait`,
  );
}

function overflow(detail: string): MeshError {
  return new MeshError("OVERFLOW", detail, {
    source: "proxy",
    unprocessed: true,
  });
}
