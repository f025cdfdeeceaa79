/** A way with one place to go, in plaintext and outside the mesh's balancing: the local application, or a host that is no service. */
import type { Cancel, Clock } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import { EFFECTS, type Outcome } from "../../policy/outcome.ts";
import type { RetryBudget, RetryPolicy } from "../../policy/retry.ts";
import { formatGrpcTimeout, type Timeouts } from "../../policy/timeout.ts";
import type { RequestHead, ResponseHead } from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import { requestHead, responseHead } from "../exchange/heads.ts";
import type { RequestLoad } from "../application/load-reports.ts";
import type { Target, Way } from "../exchange/route-plan.ts";
import type {
  Entrant,
  Entry,
  Gate,
} from "../application/concurrency-limiter.ts";
import type { ConnectionNeed, ConnectionWaiter, Pool } from "./pool/pool.ts";

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
  /** The way to the local application. */
  readonly callee?: boolean;
  /** HTTP/2 is spoken with it. */
  readonly dialogues?: boolean;
  /** Milliseconds above 0 that the caller's sidecar has left for it. */
  readonly left?: number | undefined;
  /** What a failure to connect is to the caller. */
  readonly connectError?: (error: MeshError) => MeshError;
  /** Where callers want to know how busy the application is. */
  readonly load?: RequestLoad | undefined;
  /** Counts the requests in the application; those with an `entry` it may turn away. */
  readonly gate?: Gate | undefined;
  readonly entry?: Entry | undefined;
}

/** This hop adds no time-outs to what the caller has. */
const NO_TIMEOUTS: Timeouts = { request: 0, backendRequest: 0 };

export class DirectWay implements Way {
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
  readonly #options: DirectWayOptions;

  constructor(options: DirectWayOptions) {
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
    const head = responseHead(received, undefined, false);
    const { load, gate, entry } = this.#options;
    const told = load?.field();
    const passing = entry?.inside === true ? gate?.field() : undefined;
    if (told === undefined && passing === undefined) return head;
    const fields = [...head.fields];
    if (told !== undefined) fields.push(told);
    if (passing !== undefined) fields.push(passing);
    return { ...head, fields };
  }
}

const NOTHING_KNOWN: Entry = {
  policy: undefined,
  priority: undefined,
  retry: false,
  inside: false,
};

class DirectTarget implements Target, ConnectionWaiter, Entrant {
  readonly trusted = false;
  readonly probing = false;
  readonly #options: DirectWayOptions;
  #need: ConnectionNeed | undefined;
  #waiter: ConnectionWaiter | undefined;
  #cancelPool: Cancel | undefined;
  readonly #bucket: number;
  /** The gate counts it. */
  #counted = false;
  since = 0;
  /** Milliseconds at the gate. */
  #waited = 0;

  constructor(options: DirectWayOptions) {
    this.#options = options;
    this.#bucket = options.load?.arrive() ?? 0;
  }

  get key(): string {
    return this.#options.address;
  }
  get address(): string {
    return this.#options.address;
  }

  connect(need: ConnectionNeed, waiter: ConnectionWaiter): Cancel | undefined {
    const { pool, connectError, gate, entry } = this.#options;
    this.#waiter = waiter;
    if (gate !== undefined) {
      if (entry !== undefined) return this.#queue(gate, need, waiter);
      this.#counted = true;
      gate.observe();
    }
    return pool.acquire(need, connectError === undefined ? waiter : this);
  }

  /** Through the gate, if it opens. */
  #queue(
    gate: Gate,
    need: ConnectionNeed,
    waiter: ConnectionWaiter,
  ): Cancel | undefined {
    this.#need = need;
    this.since = this.#options.clock.now();
    const entered = gate.enter(this);
    if (entered instanceof MeshError) {
      waiter.failed(entered);
      return undefined;
    }
    if (entered === undefined) return this.#cancelPool;
    return () => {
      entered();
      this.#cancelPool?.();
    };
  }

  get entry(): Entry {
    return this.#options.entry ?? NOTHING_KNOWN;
  }

  admitted(now: number): void {
    this.#counted = true;
    this.#waited = now - this.since;
    if (this.#need !== undefined)
      this.#cancelPool = this.#options.pool.acquire(this.#need, this);
  }

  shed(error: MeshError): void {
    this.#waiter?.failed(error);
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

  endless(): void {
    this.#left(undefined, this.#options.clock.now());
  }

  done(outcome: Outcome, latency: number, now: number): undefined {
    this.#options.load?.leave(this.#bucket, outcome, latency);
    if (!this.#counted) return undefined;
    const served = latency - this.#waited;
    const { usual = 0 } = this.#options.gate?.limit ?? {};
    // Of a request that was given up it is known that it would have taken longer.
    const tells =
      EFFECTS[outcome.kind].latency === "measured" ||
      (outcome.kind === "cancelled" && served > usual);
    this.#left(tells ? served : undefined, now);
    return undefined;
  }

  #left(latency: number | undefined, now: number): void {
    if (!this.#counted) return;
    this.#counted = false;
    this.#options.gate?.leave(latency, now);
  }
}
