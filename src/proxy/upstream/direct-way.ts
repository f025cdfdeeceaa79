/** A way with one place to go, in plaintext and outside the mesh's balancing: the local application, or a host that is no service. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { MeshError } from "../../core/errors.ts";
import type { Outcome } from "../../policy/outcome.ts";
import type { RetryBudget, RetryPolicy } from "../../policy/retry.ts";
import { formatGrpcTimeout, type Timeouts } from "../../policy/timeout.ts";
import type { RequestHead, ResponseHead } from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import { requestHead, responseHead } from "../heads.ts";
import type { Target, Way } from "../way.ts";
import type { ConnectionNeed, ConnectionWaiter, Pool } from "./pool.ts";

export interface DirectWayOptions {
  readonly clock: Clock;
  readonly destination: string;
  readonly path: string;
  /** Path and query, normalised; "" for a tunnel. */
  readonly target: string;
  readonly authority: string;
  readonly pool: Pool;
  /** "127.0.0.1:8080" */
  readonly address: string;
  readonly streamIdle: number;
  readonly retry: RetryPolicy;
  readonly budget: RetryBudget;
  readonly repeatable: boolean;
  readonly inside: boolean;
  /** What a failure to connect is to the caller. */
  readonly connectError?: (error: MeshError) => MeshError;
}

/** The callers' time-outs are theirs; this hop adds none. */
const NO_TIMEOUTS: Timeouts = { request: 0, backendRequest: 0 };

export class DirectWay implements Way {
  readonly destination: string;
  readonly route = undefined;
  readonly path: string;
  readonly timeouts: Timeouts = NO_TIMEOUTS;
  readonly streamIdle: number;
  readonly retry: RetryPolicy;
  readonly budget: RetryBudget;
  readonly repeatable: boolean;
  readonly inside: boolean;
  readonly retryAfter = 0;
  readonly #options: DirectWayOptions;

  constructor(options: DirectWayOptions) {
    this.destination = options.destination;
    this.path = options.path;
    this.streamIdle = options.streamIdle;
    this.retry = options.retry;
    this.budget = options.budget;
    this.repeatable = options.repeatable;
    this.inside = options.inside;
    this.#options = options;
  }

  choose(): Target {
    return new DirectTarget(this.#options);
  }

  /** There is this one only. */
  hasOther(): boolean {
    return false;
  }

  requestHead(
    received: RequestHead,
    _attempt: number,
    trace: Fields,
    left: number,
  ): RequestHead {
    const { authority, target } = this.#options;
    return requestHead(received, {
      authority,
      path: target,
      edits: undefined,
      destination: undefined,
      attempt: 1,
      trace,
      grpcTimeout:
        left === Number.POSITIVE_INFINITY ? undefined : formatGrpcTimeout(left),
    });
  }

  responseHead(received: ResponseHead): ResponseHead {
    return responseHead(received, undefined, false);
  }
}

class DirectTarget implements Target, ConnectionWaiter {
  readonly trusted = false;
  readonly probing = false;
  readonly #options: DirectWayOptions;
  #waiter: ConnectionWaiter | undefined;

  constructor(options: DirectWayOptions) {
    this.#options = options;
  }

  get key(): string {
    return this.#options.address;
  }
  get address(): string {
    return this.#options.address;
  }

  connect(need: ConnectionNeed, waiter: ConnectionWaiter): Cancel | undefined {
    const { pool, connectError } = this.#options;
    this.#waiter = waiter;
    return pool.acquire(need, connectError === undefined ? waiter : this);
  }

  connected(...served: Parameters<ConnectionWaiter["connected"]>): void {
    this.#waiter?.connected(...served);
  }

  failed(error: MeshError): void {
    this.#waiter?.failed(this.#options.connectError?.(error) ?? error);
  }

  answered(_outcome: Outcome): void {
    // No breaker stands before it.
  }

  done(_outcome: Outcome, _latency: number): void {
    // Nor does a balancer.
  }
}
