/** One attempt at one target: it connects, sends, reads the response, and reports its outcome exactly once. Its time-out stops the work. */
import type { Timed } from "../../core/deadlines.ts";
import type { Cancel } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import { GRPC_STATUSES } from "../../mesh/grpc-status.ts";
import {
  EFFECTS,
  outcomeOfAnswer,
  outcomeOfFailure,
  parseReason,
  type Outcome,
} from "../../policy/outcome.ts";
import type { FailedAttempt } from "../../policy/retry.ts";
import { isCallersDeadline } from "../../policy/timeout.ts";
import type { ClientTrace } from "../../telemetry/tracing.ts";
import type {
  ClientConnection,
  ClientStream,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
  ServerStream,
} from "../../wire/exchange.ts";
import { fieldValue, type Fields } from "../../wire/fields.ts";
import { grpcStatusOf } from "./grpc.ts";
import { REASON, retryAfterOf } from "./heads.ts";
import type { RelayHost } from "./relay-host.ts";
import { asMeshError } from "./rescue.ts";
import { attemptOutOfTime } from "./time/deadline.ts";
import type { TimeSpent } from "./time/time-spent.ts";
import type { ConnectionWaiter, Target, RoutePlan } from "./route-plan.ts";

/** The exchange that an attempt is part of. */
export interface Exchange {
  readonly host: RelayHost;
  readonly plan: RoutePlan;
  readonly stream: Pick<ServerStream, "head">;
  readonly record: {
    readonly attempts: number;
    client(): ClientTrace;
  };
  readonly caller: {
    /** The whole request is its head. */
    readonly bodyless: boolean;
    /** All of the request has come. */
    readonly ended: boolean;
    /** Nothing can move until it sends, or reads. */
    readonly isAwaited: boolean;
    /** The head went out to `sink`; what has been read of the body follows. */
    sendTo(sink: ClientStream): void;
  };
  /** The caller speaks gRPC: statuses are read from fields and trailers. */
  readonly grpc: boolean;
  /** Only where there is a time-out to explain. */
  readonly spent: TimeSpent | undefined;
  /** Monotonic milliseconds; Infinity for none. */
  readonly deadline: number;
  /** The one in flight. */
  readonly attempt: Attempt | undefined;
  now(): number;
  upstreamDrained(): void;
  informational(head: ResponseHead): void;
  /** True where another attempt replaces this one. */
  repeats(attempt: Attempt, outcome: Outcome, ended: boolean): boolean;
  answered(
    attempt: Attempt,
    head: ResponseHead,
    ended: boolean,
    now: number,
  ): void;
  /** False: the caller takes no more for now. */
  pass(chunk: Buffer): boolean;
  answerEnded(trailers: Fields | undefined, now: number): void;
  failed(attempt: Attempt, error: MeshError, outcome: Outcome): void;
  /** The endpoint of an attempt without a response stopped responding. */
  stalled(attempt: Attempt, now: number): void;
  brokenAfterEnd(attempt: Attempt, error: MeshError): void;
}

/**
 * ```
 *   connecting ──connected──▶ waiting ──head──▶ answering ──end──▶ over
 *       │ failed                 │ abort            │ abort
 *       └────────────────────────┴──────────────────┴─────────────▶ over, and the relay decides what comes next
 * ```
 */
export class Attempt implements ResponseReceiver, ConnectionWaiter, Timed {
  readonly target: Target;
  readonly #relay: Exchange;
  readonly #startedAt: number;
  #connection: ClientConnection | undefined;
  #sink: ClientStream | undefined;
  #trace: ClientTrace | undefined;
  #cancelConnect: Cancel | undefined;
  dueAt = 0;
  dueSlot: number | undefined;
  /** Milliseconds to the exchange's deadline when the head went out. */
  #given = Infinity;
  /** When the last of a body was sent: until then the endpoint may have waited for the caller. */
  #sentAt = 0;
  /** Milliseconds to the response head. */
  #latency = -1;
  #status: number | undefined;
  /** Known once the head came; gRPC's may still turn at its trailers. */
  #outcome: Outcome | undefined;
  #grpc = false;
  #told = false;
  #over = false;
  /** The connection came from the pool and may have died unnoticed. */
  reused = false;
  /** Anything was given to a connection. */
  written = false;

  constructor(relay: Exchange, target: Target, now: number) {
    this.#relay = relay;
    this.target = target;
    this.#startedAt = now;
  }

  get sink(): ClientStream | undefined {
    return this.#sink;
  }

  /** `limit`: milliseconds that this attempt may take; 0 is without. */
  start(limit: number): void {
    this.#trace = this.#relay.record.client();
    if (limit > 0)
      this.#relay.host.deadlines.set(this, this.#startedAt + limit);
    this.#cancelConnect = this.target.connect(
      { mayRepeat: this.#relay.plan.repeatable },
      this,
    );
  }

  connected(connection: ClientConnection, reused: boolean): void {
    this.#connection = connection;
    this.#cancelConnect = undefined;
    if (this.#over) return;
    const relay = this.#relay;
    this.reused = reused;
    this.written = true;
    const head = this.#requestHead();
    try {
      this.#sink = connection.request(head, relay.caller.bodyless, this);
    } catch (error) {
      // A head that the upstream's protocol cannot hold: nothing was sent, and no endpoint would take it.
      this.failed(asMeshError(error));
      return;
    }
    relay.caller.sendTo(this.#sink);
    if (relay.caller.ended) this.sent();
  }

  /** All of the request was sent; `at`: when, where that was later than its head. */
  sent(at = 0): void {
    const { grpc, deadline, stream, plan } = this.#relay;
    this.#sentAt = at;
    const { method, protocol } = stream.head;
    if (method === "CONNECT" || protocol !== undefined) return;
    this.target.sent?.(grpc && deadline === Infinity ? plan.path : undefined);
  }

  isLast(): boolean {
    const { plan, record } = this.#relay;
    return (
      record.attempts > plan.retry.attempts ||
      !plan.hasOther(new Set([this.target.key]))
    );
  }

  stalled(now: number): void {
    if (!this.#over && this.#status === undefined)
      this.#relay.stalled(this, now);
  }

  #requestHead(): RequestHead {
    const { plan, stream, record, spent, deadline } = this.#relay;
    const { backendRequest } = plan.timeouts;
    const limit =
      backendRequest > 0 ? this.#startedAt + backendRequest : Infinity;
    const now = spent === undefined ? 0 : this.#relay.now();
    spent?.enter("waiting", now);
    this.#given = deadline - now;
    return plan.requestHead(
      stream.head,
      record.attempts,
      this.#trace?.fields ?? [],
      this.#given,
      Math.min(deadline, limit) - now,
    );
  }

  failed(error: MeshError): void {
    this.#cancelConnect = undefined;
    if (!this.#over) this.#fail(error);
  }

  informational(head: ResponseHead): void {
    if (!this.#over) this.#relay.informational(head);
  }

  head(head: ResponseHead, ended: boolean): void {
    if (this.#over) return;
    const now = this.#relay.now();
    this.#latency = now - Math.max(this.#startedAt, this.#sentAt);
    this.#status = head.status;
    const outcome = this.#judge(head, ended);
    this.#outcome = outcome;
    this.target.headed?.(outcome, now);
    // A long gRPC answer is judged by its trailers, but the breaker's probe cannot wait for them.
    if (!this.#grpc || this.target.probing) this.#tell(outcome);
    if (this.#relay.repeats(this, outcome, ended)) return;
    if (ended) this.#finish(now);
    this.#relay.answered(this, head, ended, now);
  }

  data(chunk: Buffer): void {
    if (this.#over) return;
    this.target.received?.(chunk);
    if (this.#relay.pass(chunk)) return;
    this.#sink?.pause();
    this.target.slowed?.();
  }

  end(trailers: Fields | undefined): void {
    if (this.#over) return;
    if (this.#grpc) this.#judgeTrailers(trailers);
    const now = this.#relay.now();
    this.#finish(now);
    this.#relay.answerEnded(trailers, now);
  }

  abort(error: MeshError): void {
    // What a sidecar cancels of its own accord, by a new policy say, is not held against its application.
    const own = error.cancelled && this.target.trusted;
    if (!this.#over) this.#fail(error, own ? "CLIENT_CLOSED" : error.code);
    // An exchange may fail as a whole after its answer ended; only a tunnel still has someone to tell.
    else this.#relay.brokenAfterEnd(this, error);
  }

  drained(): void {
    if (this.#relay.attempt === this) this.#relay.upstreamDrained();
  }

  /** Breaks it off for a reason that is the caller's or the clock's; nothing more comes of it. */
  abandon(error: MeshError): void {
    // Its response has ended: only a dialogue still has a direction open.
    if (this.#over) return this.#sink?.abort(error);
    const sink = this.#stop();
    this.#settle(
      outcomeOfFailure({
        code: error.code,
        unprocessed: false,
        responseBegan: this.#status !== undefined,
      }),
      error.code,
      this.#relay.now(),
    );
    sink?.abort(error);
  }

  /** Gives up an answer that a retry replaces. `complete`: both directions had ended, and the connection is of further use. */
  discard(outcome: Outcome, complete: boolean): void {
    const sink = this.#stop();
    this.#settle(outcome, undefined, this.#relay.now());
    if (!complete)
      sink?.abort(
        new MeshError("CLIENT_CLOSED", "another attempt replaces this one", {
          source: "proxy",
        }),
      );
  }

  /** What the decision on a retry asks of it; `error` where it got no answer. */
  failure(outcome: Outcome, error: MeshError | undefined): FailedAttempt {
    return {
      kind: outcome.kind,
      retry: EFFECTS[outcome.kind].retry,
      status: outcome.status,
      retryAfter: outcome.retryAfter,
      refused: error?.code === "STREAM_REFUSED",
      reusedConnection: this.reused || error?.silent === true,
      trial: this.target.trial === true,
    };
  }

  /** An event stream or a tunnel has no time-out. */
  unlimited(): void {
    this.target.endless?.();
    this.#relay.host.deadlines.clear(this);
  }

  #judge(head: ResponseHead, ended: boolean): Outcome {
    const { fields, status } = head;
    const trusted = this.target.trusted
      ? parseReason(fieldValue(fields, REASON))
      : undefined;
    let grpcStatus: number | undefined;
    if (this.#relay.grpc) {
      grpcStatus = grpcStatusOf(fields, status, ended);
      this.#grpc = grpcStatus === undefined && !ended && trusted === undefined;
    }
    return outcomeOfAnswer({
      status,
      reason: trusted,
      grpcStatus,
      callerDeadlinePassed: this.#isCallers(grpcStatus),
      retryAfter: retryAfterOf(head, this.#relay.host.clock),
    });
  }

  #judgeTrailers(trailers: Fields | undefined): void {
    const status = this.#status ?? 200;
    const grpcStatus = grpcStatusOf(trailers, status, true);
    if (grpcStatus === undefined) return;
    const leaves =
      grpcStatus === GRPC_STATUSES.UNAVAILABLE && this.target.trusted;
    this.#outcome = outcomeOfAnswer({
      status,
      // A sidecar that leaves ends so what has no end: no fault of the application's.
      reason: leaves && this.#connection?.draining ? "DRAINING" : undefined,
      grpcStatus,
      callerDeadlinePassed: this.#isCallers(grpcStatus),
    });
  }

  /** A server that reports a deadline as exceeded speaks of the caller's. */
  #isCallers(grpcStatus: number | undefined): boolean {
    return (
      grpcStatus === GRPC_STATUSES.DEADLINE_EXCEEDED &&
      isCallersDeadline(this.#given, this.#relay.deadline - this.#relay.now())
    );
  }

  /** Its time-out passed. */
  due(): void {
    const { spent, record, caller } = this.#relay;
    const error = attemptOutOfTime(
      this.target.address,
      this.written,
      spent?.tell(record.attempts, this.#relay.now()) ?? "",
    );
    const sink = this.#sink;
    // A caller that takes its time is not held against the endpoint.
    const waits = this.written && caller.isAwaited;
    this.#fail(error, waits ? "CLIENT_CLOSED" : error.code);
    sink?.abort(error);
  }

  #fail(error: MeshError, code = error.code): void {
    const began = this.#status !== undefined;
    const outcome = outcomeOfFailure({
      code,
      unprocessed: error.unprocessed,
      responseBegan: began,
    });
    this.#stop();
    this.#settle(outcome, error.code, this.#relay.now());
    this.#relay.failed(this, error, outcome);
  }

  #finish(now: number): void {
    this.#stop();
    this.#settle(
      this.#outcome ?? outcomeOfAnswer({ status: 200 }),
      undefined,
      now,
    );
  }

  #stop(): ClientStream | undefined {
    if (this.#over) return undefined;
    this.#over = true;
    this.#cancelConnect?.();
    this.#relay.host.deadlines.clear(this);
    return this.#sink;
  }

  #tell(outcome: Outcome): void {
    if (this.#told) return;
    this.#told = true;
    this.target.answered(outcome);
  }

  #settle(outcome: Outcome, reason: string | undefined, now: number): void {
    this.#tell(outcome);
    const latency = this.#latency >= 0 ? this.#latency : now - this.#startedAt;
    const verdict = this.target.done(outcome, latency, now);
    if (verdict !== undefined)
      this.#trace?.attribute("wherry.verdict", verdict);
    this.#trace?.end({ status: this.#status, reason });
  }
}
