/** How one outbound request goes: the endpoints of the cluster that its route drew, each attempt picked, broken off or let through, and connected. */
import type { Cancel, Clock } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { OpenCall } from "../../policy/balance/open-calls.ts";
import type { GrpcResponse } from "../../policy/balance/unary-methods.ts";
import type { EndpointPick } from "../../policy/balance/picker.ts";
import type { Injection } from "../../policy/fault.ts";
import type { HeaderEdits } from "../../policy/routing/header-edits.ts";
import { EFFECTS, latencyOf, type Outcome } from "../../policy/outcome.ts";
import type { RetryBudget, RetryPolicy } from "../../policy/retry.ts";
import { originatesTls } from "../../policy/origination.ts";
import type { Endpoint } from "../../policy/snapshot.ts";
import { formatName } from "../../resources/envelope.ts";
import { formatGrpcTimeout, type Timeouts } from "../../policy/timeout.ts";
import type { RequestHead, ResponseHead } from "../../wire/exchange.ts";
import { makeField, type Fields } from "../../wire/fields.ts";
import { deadlineField } from "../exchange/time/deadline.ts";
import { LOAD, requestHead, responseHead } from "../exchange/heads.ts";
import type { Waiter } from "./cluster/pool-limits.ts";
import type { Permit } from "./cluster/breaker.ts";
import { type ClusterState } from "./cluster/cluster-state.ts";
import { hostPortOf, noEndpoint } from "./cluster/places.ts";
import { HedgedTarget, type HedgeState } from "./cluster/hedge.ts";
import { newest } from "./cluster/ejection-history.ts";
import type {
  ConnectionWaiter,
  ConnectionNeed,
  Target,
  RequestTee,
  RoutePlan,
} from "../exchange/route-plan.ts";

/** Answers are to say how busy the endpoint is. */
const ASK_LOAD = makeField(LOAD, "?");

export interface OutboundPlanOptions {
  readonly clock: Clock;
  readonly destination: string;
  readonly route: string | undefined;
  /** Normalised: what policy saw, and what goes on. */
  readonly path: string;
  readonly target: string;
  readonly authority: string;
  readonly state: ClusterState;
  /** That of the service that was called, not of the backend: a split must not split the budget. */
  readonly budget: RetryBudget;
  readonly timeouts: Timeouts;
  readonly streamIdle: number;
  readonly retry: RetryPolicy;
  readonly repeatable: boolean;
  readonly requestEdits: HeaderEdits | undefined;
  readonly responseEdits: HeaderEdits | undefined;
  /** What the endpoint is to follow from, where the request has a hash. */
  readonly hash?: number | undefined;
  readonly tunnel: boolean;
  /** The request's, where the service tells requests apart by it. */
  readonly priority?: number | undefined;
  /** Where it may be sent to a second endpoint when the first is slow. */
  readonly hedge?: HedgeState | undefined;
  readonly fault?: Injection | undefined;
  readonly tee?: RequestTee | undefined;
}

export class OutboundPlan implements RoutePlan {
  readonly destination: string;
  readonly route: string | undefined;
  readonly path: string;
  readonly timeouts: Timeouts;
  readonly streamIdle: number;
  readonly retry: RetryPolicy;
  readonly budget: RetryBudget;
  readonly repeatable: boolean;
  readonly inside = true;
  readonly dialogues = true;
  readonly callee = false;
  readonly fault: Injection | undefined;
  readonly tee: RequestTee | undefined;
  readonly #options: OutboundPlanOptions;
  #overLink = false;
  #overTls = false;

  constructor(options: OutboundPlanOptions) {
    this.destination = options.destination;
    this.route = options.route;
    this.path = options.path;
    this.timeouts = options.timeouts;
    this.streamIdle = options.streamIdle;
    this.retry = options.retry;
    this.budget = options.budget;
    this.repeatable = options.repeatable;
    this.fault = options.fault;
    this.tee = options.tee;
    this.#options = options;
  }

  get dialogueIdle(): number {
    return this.#options.state.cluster.settings.connectionPool.tcp.idleTimeout;
  }

  get external(): string | undefined {
    const { external, service } = this.#options.state.cluster;
    return external ? formatName(service.namespace, service.name) : undefined;
  }

  get retryAfter(): number {
    return this.#options.state.breaker.retryAfter;
  }

  choose(tried: ReadonlySet<string>, now: number): Target | MeshError {
    const target = this.#pick(tried, now);
    const { hedge, clock, budget } = this.#options;
    // A repeated request is on its second endpoint already.
    if (hedge === undefined || tried.size > 0 || target instanceof MeshError)
      return target;
    return new HedgedTarget(
      {
        clock,
        budget,
        state: hedge,
        choose: (others, at) => this.#pick(others, at),
      },
      target,
    );
  }

  /** pick → break: nobody to pick takes no probe of the breaker. */
  #pick(tried: ReadonlySet<string>, now: number): Target | MeshError {
    const { state, tunnel, hash, repeatable } = this.#options;
    state.stalls.saw(now);
    const pick =
      state.admission === undefined
        ? state.balancer.pick(now, tried, hash, repeatable)
        : state.admission.pick(state.balancer, tried, now, this.#options);
    if (pick instanceof MeshError) return pick;
    if (pick.kind === "none") return noEndpoint(state.cluster, pick.reason);
    const permit = state.breaker.enter();
    if (permit < 0) {
      pick.done(undefined, now);
      return new MeshError(
        "BREAKER_OPEN",
        `the circuit breaker of ${state.key} is open`,
        { source: "proxy", unprocessed: true },
      );
    }
    this.#overLink = pick.endpoint.link !== undefined;
    this.#overTls = originatesTls(state.cluster, pick.endpoint);
    return new EndpointTarget(state, pick, permit, tunnel, now);
  }

  hasOther(tried: ReadonlySet<string>): boolean {
    const { state, clock } = this.#options;
    return state.balancer.hasOther(clock.now(), tried);
  }

  requestHead(
    received: RequestHead,
    attempt: number,
    trace: Fields,
    left: number,
    attemptLeft: number,
  ): RequestHead {
    const { state, tunnel, authority, target, requestEdits } = this.#options;
    return requestHead(received, {
      // CONNECT over the link: `:authority` says the same as the destination field (design: the link).
      authority:
        tunnel && this.#overLink ? state.cluster.destination : authority,
      path: target,
      scheme: this.#overTls ? "https" : undefined,
      edits: requestEdits,
      destination: this.#overLink ? state.destination : undefined,
      load: this.#overLink && state.loadAware ? ASK_LOAD : undefined,
      attempt: this.#overLink ? attempt : 1,
      trace,
      grpcTimeout:
        left === Number.POSITIVE_INFINITY ? undefined : formatGrpcTimeout(left),
      deadline:
        attemptLeft === Number.POSITIVE_INFINITY || !this.#overLink
          ? undefined
          : deadlineField(attemptLeft),
    });
  }

  responseHead(received: ResponseHead, target: Target): ResponseHead {
    const { state, responseEdits } = this.#options;
    if (target.trusted) {
      if (state.loadAware) state.answered(target.key, received.fields);
      state.admission?.heard(target.key, received.fields, this.#options.clock);
    }
    return responseHead(received, responseEdits, target.trusted);
  }
}

class EndpointTarget implements Target, Waiter, OpenCall {
  readonly key: string;
  readonly trusted: boolean;
  readonly #state: ClusterState;
  readonly #pick: EndpointPick<Endpoint>;
  readonly #permit: Permit;
  readonly #tunnel: boolean;
  readonly #pickedAt: number;
  #need: ConnectionNeed | undefined;
  #waiter: ConnectionWaiter | undefined;
  #cancelPool: Cancel | undefined;
  #entered = false;
  #over = false;
  readonly trial: boolean;
  sentAt = 0;
  answering = false;
  bytes = 0;
  listed = false;
  older: OpenCall | undefined;
  younger: OpenCall | undefined;
  /** The method of a gRPC call that may be a stream, and its response. */
  #grpc: string | undefined;
  #response: GrpcResponse | undefined;
  /** The head of its response speaks for the endpoint. */
  #passes = false;
  /** What its outcome led to, in words. */
  #verdict: string | undefined;

  constructor(
    state: ClusterState,
    pick: EndpointPick<Endpoint>,
    permit: Permit,
    tunnel: boolean,
    now: number,
  ) {
    const { endpoint } = pick;
    this.key = endpoint.key;
    this.trusted = endpoint.link !== undefined;
    this.trial = pick.probing;
    this.#state = state;
    this.#pick = pick;
    this.#permit = permit;
    this.#tunnel = tunnel;
    this.#pickedAt = now;
  }

  connect(need: ConnectionNeed, waiter: ConnectionWaiter): Cancel | undefined {
    this.#need = need;
    this.#waiter = waiter;
    const entered = this.#state.poolLimits.enter(this.key, this);
    if (entered instanceof MeshError) {
      waiter.failed(entered);
      return undefined;
    }
    if (entered === undefined && this.#cancelPool === undefined)
      return undefined;
    return () => {
      entered?.();
      this.#cancelPool?.();
    };
  }

  admitted(): void {
    this.#entered = true;
    const need = this.#need;
    const waiter = this.#waiter;
    if (need === undefined || waiter === undefined) return;
    this.#cancelPool = this.#state
      .poolOf(this.#pick.endpoint, this.#tunnel)
      .acquire(need, waiter);
  }

  get address(): string {
    return hostPortOf(this.#pick.endpoint);
  }

  get probing(): boolean {
    return this.#state.breaker.state !== "closed";
  }

  sent(grpc?: string): void {
    const { stalls } = this.#state;
    this.#grpc = grpc;
    if (grpc === undefined || stalls.methods.isSure(grpc))
      stalls.sent(this.#pick.load.calls, this);
  }

  headed(outcome: Outcome, now: number): void {
    this.#passes = EFFECTS[outcome.kind].ejection === "success";
    if (this.#grpc !== undefined)
      this.#response = this.#state.stalls.methods.response(this.#grpc, now);
    this.#pick.load.calls.headed(this, isOwn(outcome), now);
  }

  endless(): void {
    this.#pick.load.calls.leave(this);
    // A trial that waited for its end would keep the endpoint out for as long.
    if (this.trial && this.#passes)
      this.#state.record(this.key, "success", this.#pickedAt);
  }

  slowed(): void {
    this.#pick.load.calls.leave(this);
  }

  received(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    if (this.#response?.received(chunk) === true) this.endless();
  }

  stalled(now: number): void {
    this.#waiter?.stalled?.(now);
  }

  answered(outcome: Outcome): void {
    const { ejectionHistory, breaker } = this.#state;
    const before = ejectionHistory.count;
    breaker.settle(this.#permit, EFFECTS[outcome.kind].breaker);
    if (ejectionHistory.count > before) this.#verdict = newest(ejectionHistory);
  }

  done(outcome: Outcome, latency: number, now: number): string | undefined {
    if (this.#over) return undefined;
    this.#over = true;
    if (this.#entered) this.#state.poolLimits.leave(this.key);
    if (outcome.kind === "answered") this.#response?.ended(now);
    if (this.listed)
      this.#pick.load.calls.over(this, this.answering && isOwn(outcome), now);
    const { ejection, latency: counts } = EFFECTS[outcome.kind];
    this.#pick.done(
      latencyOf(outcome, latency),
      now,
      counts === "penalty",
      outcome.retryAfter,
    );
    if (ejection !== "none") {
      const { ejectionHistory } = this.#state;
      const before = ejectionHistory.count;
      this.#state.record(this.key, ejection, this.#pickedAt, now);
      if (ejectionHistory.count > before)
        this.#verdict = newest(ejectionHistory);
    }
    return this.#verdict;
  }
}

/** The application's own response, whatever it says: not a word of a sidecar before it. */
function isOwn({ kind }: Outcome): boolean {
  return (
    kind === "answered" ||
    kind === "server-error" ||
    kind === "grpc-failure" ||
    kind === "throttled"
  );
}
