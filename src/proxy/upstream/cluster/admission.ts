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
export interface Admission {
  /** Requests in flight, and those that wait. */
  readonly active: number;
  readonly pending: number;
  configure(cluster: Cluster): void;
  /**
   * Starts now, or when another ends, or never: then it returns the error. A request that has started is given back by `leave`.
   * The result takes a waiting request out of the queue; undefined where it has started.
   */
  enter(endpoint: string, entrant: Waiter): Cancel | MeshError | undefined;
  leave(endpoint: string): void;
  /** The cluster is gone: what is in it still leaves. */
  close(): void;
}

export interface AdmissionLimits {
  readonly requests: number;
  readonly perEndpoint: number;
  readonly pending: number;
}

export function limitsOf(cluster: Cluster | undefined): AdmissionLimits {
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
interface Place {
  active: number;
  readonly queue: Waiter[];
}

/** The limits of a worker that is alone. */
export class OwnAdmission implements Admission {
  #active = 0;
  #pending = 0;
  #limits = limitsOf(undefined);
  readonly #places = new Map<string, Place>();

  get active(): number {
    return this.#active;
  }
  get pending(): number {
    return this.#pending;
  }

  configure(cluster: Cluster): void {
    this.#limits = limitsOf(cluster);
  }

  enter(endpoint: string, entrant: Waiter): Cancel | MeshError | undefined {
    const { requests, perEndpoint, pending } = this.#limits;
    if (this.#active >= requests) return serviceOverflow(this.#active);
    let place = this.#places.get(endpoint);
    if (place === undefined) {
      place = { active: 0, queue: [] };
      this.#places.set(endpoint, place);
    }
    if (place.active < perEndpoint) {
      this.#begin(place, entrant);
      return undefined;
    }
    if (this.#pending >= pending)
      return placeOverflow(place.active, endpoint, this.#pending);
    const { queue } = place;
    queue.push(entrant);
    this.#pending += 1;
    return () => {
      const index = queue.indexOf(entrant);
      if (index < 0) return;
      queue.splice(index, 1);
      this.#pending -= 1;
    };
  }

  leave(endpoint: string): void {
    const place = this.#places.get(endpoint);
    if (place === undefined) return;
    this.#active -= 1;
    place.active -= 1;
    const next = place.queue.shift();
    if (next !== undefined) {
      this.#pending -= 1;
      this.#begin(place, next);
    } else if (place.active === 0) this.#places.delete(endpoint);
  }

  close(): void {
    // Nothing is held that others need.
  }

  #begin(place: Place, entrant: Waiter): void {
    this.#active += 1;
    place.active += 1;
    entrant.admitted();
  }
}

export function serviceOverflow(active: number): MeshError {
  return overflow(`${active} requests are in flight`);
}

export function placeOverflow(
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
