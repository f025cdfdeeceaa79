/** The limits of `connectionPool`: how many requests may be under way, how many wait, and OVERFLOW for the rest. */
import type { Cancel } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import type { Cluster } from "../../policy/snapshot.ts";

/** A request that asks to be let in. */
export interface Entrant {
  /** It is let in: give it back by `leave`. Possibly from within `enter`. */
  admitted(): void;
}

/** Requests to one endpoint. */
interface Place {
  active: number;
  readonly queue: Entrant[];
}

/**
 * HTTP/2 and gRPC count requests to the service (`http2MaxRequests`); HTTP/1.1 and TCP count requests and connections to one
 * endpoint as well (`maxConnections`; over the link those are streams), and HTTP/1.1 waits in a queue of `http1MaxPendingRequests`.
 */
export class Admission {
  #active = 0;
  #pending = 0;
  #maxRequests = Infinity;
  #maxPerEndpoint = Infinity;
  #maxPending = 0;
  readonly #places = new Map<string, Place>();

  get active(): number {
    return this.#active;
  }
  get pending(): number {
    return this.#pending;
  }

  configure(cluster: Cluster): void {
    const { tcp, http } = cluster.settings.connectionPool;
    const kind = cluster.appProtocol;
    const multiplexed = kind === "http2" || kind === "grpc";
    const opaque = kind === "tcp" || kind === "tls";
    this.#maxRequests = opaque ? Infinity : http.http2MaxRequests;
    this.#maxPerEndpoint = multiplexed ? Infinity : tcp.maxConnections;
    this.#maxPending = kind === "http" ? http.http1MaxPendingRequests : 0;
  }

  /**
   * Starts now, or when another ends, or never: then it returns the error. A request that has started is given back by `leave`.
   * The result takes a waiting request out of the queue; undefined where it has started.
   */
  enter(endpoint: string, entrant: Entrant): Cancel | MeshError | undefined {
    if (this.#active >= this.#maxRequests)
      return overflow(`${this.#active} requests are under way`);
    let place = this.#places.get(endpoint);
    if (place === undefined) {
      place = { active: 0, queue: [] };
      this.#places.set(endpoint, place);
    }
    if (place.active < this.#maxPerEndpoint) {
      this.#begin(place, entrant);
      return undefined;
    }
    if (this.#pending >= this.#maxPending)
      return overflow(
        `${place.active} requests to ${endpoint} are under way and ${this.#pending} wait`,
      );
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

  #begin(place: Place, entrant: Entrant): void {
    this.#active += 1;
    place.active += 1;
    entrant.admitted();
  }
}

function overflow(detail: string): MeshError {
  return new MeshError("OVERFLOW", detail, {
    source: "proxy",
    unprocessed: true,
  });
}
