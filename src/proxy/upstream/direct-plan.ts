/** A plan with one place to go, in plaintext and outside the balancing of the mesh: the local application, or a host that is not a Service. */
import type { Cancel } from "../../core/clock.ts";
import type { MeshError } from "../../mesh/errors.ts";
import type { RetryBudget, RetryPolicy } from "../../policy/retry.ts";
import { formatGrpcTimeout, type Timeouts } from "../../policy/timeout.ts";
import type { RequestHead, ResponseHead } from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import { TRAFFIC_DEFAULTS } from "../../resources/traffic-policy/settings.ts";
import { requestHead, responseHead } from "../exchange/heads.ts";
import type {
  ConnectionNeed,
  ConnectionWaiter,
  Target,
  RoutePlan,
} from "../exchange/route-plan.ts";
import type { Pool } from "./pool/pool.ts";

export interface DirectPlanOptions {
  readonly destination: string;
  readonly path: string;
  /** Path and query, normalised; "" for a tunnel. */
  readonly target: string;
  readonly authority: string;
  /** The target stays in absolute form. */
  readonly absoluteForm?: boolean;
  readonly pool: Pool;
  /** "127.0.0.1:8080" */
  readonly address: string;
  readonly streamIdle: number;
  readonly retry: RetryPolicy;
  readonly budget: RetryBudget;
  readonly repeatable: boolean;
  readonly inside: boolean;
  /** It goes to the local application. */
  readonly callee?: boolean;
  /** TLS is spoken with it. */
  readonly secure?: boolean;
  /** HTTP/2 is spoken with it. */
  readonly dialogues?: boolean;
  /** Milliseconds above 0 that the caller's sidecar has left for it. */
  readonly left?: number | undefined;
  /** What a failure to connect is to the caller. */
  readonly connectError?: (error: MeshError) => MeshError;
  /** Puts something around each attempt. */
  readonly around?: ((direct: Target) => Target) | undefined;
  /** Fields that the response gets besides its own. */
  readonly responseFields?: (() => Fields) | undefined;
}

/** This hop adds no time-outs to what the caller has. */
const NO_TIMEOUTS: Timeouts = { request: 0, backendRequest: 0 };

export class DirectPlan implements RoutePlan {
  readonly destination: string;
  readonly route = undefined;
  readonly path: string;
  readonly timeouts: Timeouts;
  readonly streamIdle: number;
  readonly retry: RetryPolicy;
  readonly budget: RetryBudget;
  readonly repeatable: boolean;
  readonly inside: boolean;
  readonly callee: boolean;
  readonly dialogues: boolean;
  readonly retryAfter = 0;
  readonly #options: DirectPlanOptions;

  constructor(options: DirectPlanOptions) {
    this.destination = options.destination;
    this.path = options.path;
    this.streamIdle = options.streamIdle;
    this.retry = options.retry;
    this.budget = options.budget;
    this.repeatable = options.repeatable;
    this.inside = options.inside;
    this.callee = options.callee ?? false;
    this.dialogues = options.dialogues ?? false;
    this.timeouts =
      options.left === undefined
        ? NO_TIMEOUTS
        : { request: options.left, backendRequest: 0 };
    this.#options = options;
  }

  get dialogueIdle(): number {
    return TRAFFIC_DEFAULTS.connectionPool.tcp.idleTimeout;
  }

  choose(): Target {
    const direct = new DirectTarget(this.#options);
    return this.#options.around?.(direct) ?? direct;
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
    const { authority, target, secure, absoluteForm = false } = this.#options;
    return requestHead(received, {
      authority,
      path: target,
      absoluteForm,
      scheme: secure === true ? "https" : undefined,
      edits: undefined,
      destination: undefined,
      attempt: 1,
      trace,
      grpcTimeout:
        left === Number.POSITIVE_INFINITY ? undefined : formatGrpcTimeout(left),
    });
  }

  responseHead(received: ResponseHead): ResponseHead {
    const head = responseHead(received, undefined, false);
    const more = this.#options.responseFields?.() ?? [];
    return more.length === 0
      ? head
      : { ...head, fields: [...head.fields, ...more] };
  }
}

class DirectTarget implements Target, ConnectionWaiter {
  readonly trusted = false;
  readonly probing = false;
  readonly #options: DirectPlanOptions;
  #waiter: ConnectionWaiter | undefined;

  constructor(options: DirectPlanOptions) {
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

  answered(): void {
    // No breaker stands before it.
  }

  done(): undefined {
    return undefined;
  }
}
