/**
 * One request on its way: pumps between the caller's stream and the attempt's, keeps what a repeat would need, and ends both once.
 *
 * ```
 *   caller ──data──▶ relay ──(replay ≤ 64 KiB)──▶ attempt's sink ──▶ upstream
 *   caller ◀─write── relay ◀──────────────────── attempt ◀───────── upstream
 * ```
 * Committed (law 2) from the first response byte that is passed on, or from the byte that the replay buffer cannot hold.
 */
import type { Cancel } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import { EFFECTS, type Outcome } from "../../policy/outcome.ts";
import { decideRetry, type RetryDecision } from "../../policy/retry.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import { isCallersDeadline } from "../../policy/timeout.ts";
import type { ClientTrace } from "../../telemetry/tracing.ts";
import type {
  ClientStream,
  RequestHead,
  ResponseHead,
  ServerStream,
} from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import type { RequestRecord } from "./request-record.ts";
import { Attempt, type Exchange } from "./attempt.ts";
import type { RequestBodyReceiver } from "./body-filter.ts";
import { isGrpcCall } from "./grpc.ts";
import { IDLE_TICK, type Idler } from "./time/idle.ts";
import type { Judge } from "./open-ended.ts";
import { TransferRate } from "./time/transfer-rate.ts";
import type { RelayHost } from "./relay-host.ts";
import { RequestBody } from "./request-body.ts";
import { deadlineFor, GRACE, isEndless, outOfTime } from "./time/deadline.ts";
import { rescue } from "./rescue.ts";
import { TimeSpent } from "./time/time-spent.ts";
import type { RoutePlan } from "./route-plan.ts";

const NOBODY: Set<string> = new Set();

export class Relay implements Exchange, RequestBodyReceiver, Idler {
  readonly host: RelayHost;
  readonly stream: ServerStream;
  readonly plan: RoutePlan;
  readonly record: RequestRecord;
  readonly #judge: Judge | undefined;
  /** Changes of policy before the start. */
  readonly #judgedAt: number;
  /** The caller speaks gRPC: statuses are read from fields and trailers. */
  readonly grpc: boolean;
  /** Only where there is a time-out to explain. */
  readonly spent: TimeSpent | undefined;
  attempt: Attempt | undefined;
  movedAt = 0;
  idleLimit: number;
  dueAt = 0;
  dueSlot: number | undefined;

  /** A CONNECT; a refusal makes an ordinary exchange of it. */
  #tunnel: boolean;
  readonly #deadline: number;
  /** Milliseconds to the deadline when the attempt's head went out. */
  #given = Infinity;
  /** Endpoints that failed; a set of its own only once there is one. */
  #tried: Set<string> = NOBODY;
  readonly #body: RequestBody;
  /** Only where the caller takes its time. */
  #pace: TransferRate | undefined;
  /** The caller does not read as fast as it is answered. */
  #full = false;
  #responded = false;
  #responseEnded = false;
  /** The answer has no end that could be waited for. */
  #endless = false;
  /** Anything of the response was passed on. */
  #committed = false;
  #over = false;
  #cancelBackoff: Cancel | undefined;

  constructor(
    host: RelayHost,
    stream: ServerStream,
    plan: RoutePlan,
    record: RequestRecord,
    judge?: Judge,
  ) {
    this.host = host;
    this.#judge = judge;
    this.#judgedAt = host.policy.changes;
    this.stream = stream;
    this.plan = plan;
    this.record = record;
    this.#body = new RequestBody(stream);
    this.#tunnel = stream.head.method === "CONNECT";
    this.grpc = !this.#tunnel && isGrpcCall(stream, plan.inside);
    this.idleLimit = plan.streamIdle;
    this.#deadline =
      this.grpc || plan.timeouts.request > 0
        ? deadlineFor(stream, plan.timeouts, record.startedAt)
        : Infinity;
    if (this.#deadline < Infinity || plan.timeouts.backendRequest > 0)
      this.spent = new TimeSpent(host.clock);
  }

  start(): void {
    const { host, stream } = this;
    host.idle.enter(this, this.#deadline + (this.plan.callee ? GRACE : 0));
    this.#body.begin(host.replay);
    const now = this.record.startedAt;
    this.plan.budget.request(now);
    const left = this.#deadline - now;
    stream.receive(this);
    if (this.#over) return;
    if (left > 0) this.#try(now);
    else this.#fail(outOfTime(this));
  }

  // ── the caller's side ────────────────────────────────────────────────────────────────────────────────────────────────

  data(chunk: Buffer): void {
    if (this.#over) return;
    this.movedAt = this.host.idle.tick;
    this.record.received += chunk.length;
    this.#body.data(chunk, this.attempt?.sink);
  }

  end(trailers: Fields | undefined): void {
    if (this.#over) return;
    this.movedAt = this.host.idle.tick;
    this.#body.end(trailers, this.attempt?.sink);
    if (this.#responseEnded) this.#finish(undefined, this.now());
  }

  abort(error: MeshError): void {
    if (this.#over) return;
    this.#stopAttempt(error);
    this.#finish(error, this.now());
  }

  refused(error: MeshError): void {
    if (!this.#over) this.#giveUp(error);
  }

  /** The caller takes more of the response. */
  drained(): void {
    this.movedAt = this.host.idle.tick;
    this.#full = false;
    this.attempt?.sink?.resume();
  }

  // ── the attempt's side ───────────────────────────────────────────────────────────────────────────────────────────────

  now(): number {
    return this.host.clock.now();
  }

  /** The whole request is its head. */
  get bodyless(): boolean {
    return this.#body.bodyless;
  }

  /** `limit`: the time at which the attempt must be over; Infinity: none of its own. */
  headOf(trace: Fields, limit: number): RequestHead {
    const now = this.spent === undefined ? 0 : this.now();
    this.spent?.enter("waiting");
    this.#given = this.#deadline - now;
    return this.plan.requestHead(
      this.stream.head,
      this.record.attempts,
      trace,
      this.#given,
      Math.min(this.#deadline, limit) - now,
    );
  }

  /** A server that reports a deadline as exceeded now speaks of the caller's. */
  get callersDeadline(): boolean {
    return isCallersDeadline(this.#given, this.#deadline - this.now());
  }

  openTrace(): ClientTrace {
    return this.record.client();
  }

  /** The head went out; what has been read of the body follows. */
  opened(sink: ClientStream): void {
    this.#body.sendTo(sink);
  }

  upstreamDrained(): void {
    this.movedAt = this.host.idle.tick;
    this.#body.resume();
  }

  informational(head: ResponseHead): void {
    if (this.#responded || this.#over) return;
    this.movedAt = this.host.idle.tick;
    this.#committed = true;
    this.stream.informational(head);
  }

  /** True: the answer is given up, and another attempt is on its way. */
  repeats(attempt: Attempt, outcome: Outcome, ended: boolean): boolean {
    const decision = this.#decide(attempt, outcome, undefined);
    if (decision?.retry !== true) return false;
    attempt.discard(outcome, ended && this.#body.ended);
    this.#repeat(attempt, outcome.kind, decision.after);
    return true;
  }

  answered(
    attempt: Attempt,
    head: ResponseHead,
    ended: boolean,
    now: number,
  ): void {
    this.movedAt = this.host.idle.tick;
    const passed = this.plan.responseHead(head, attempt.target);
    this.#committed = true;
    this.#responded = true;
    this.spent?.enter("answering");
    if (head.status >= 300) this.#tunnel = false;
    this.record.answered(head, attempt.target.trusted);
    // The replay buffer has no use any more, but while the caller still sends it says that nothing need be kept.
    this.#body.release();
    if (isEndless(this.stream.head, head)) {
      this.host.idle.putOff(this);
      attempt.unlimited();
      // A tunnel's limit is that of the TCP pool; an event stream may be silent for ever.
      if (!this.#tunnel) this.idleLimit = 0;
      this.#endless = true;
    }
    this.stream.respond(passed, ended);
    if (ended) this.#answerOver(now);
    // Policy has changed while nobody knew that this would have no end.
    else if (this.host.policy.changes !== this.#judgedAt) {
      const { current } = this.host.policy;
      if (current !== undefined) this.rejudge(current);
    }
  }

  /** Passes a piece of the response on; false: wait for `drained`. */
  pass(chunk: Buffer): boolean {
    this.movedAt = this.host.idle.tick;
    this.record.sent += chunk.length;
    const room = this.stream.write(chunk);
    if (!room) this.#full = true;
    return room;
  }

  answerEnded(trailers: Fields | undefined, now: number): void {
    if (this.#over) return;
    if (trailers !== undefined) this.record.trailers(trailers);
    this.stream.end(trailers);
    this.#answerOver(now);
  }

  /** The attempt broke off; it has told its outcome already. */
  failed(attempt: Attempt, error: MeshError, outcome: Outcome): void {
    if (this.#over || this.attempt !== attempt) return;
    const decision = this.#decide(attempt, outcome, error);
    if (decision?.retry === true)
      this.#repeat(attempt, error.code, decision.after);
    else this.#fail(error);
  }

  /** After the answer's end only a tunnel still has a direction open. */
  brokenAfterEnd(attempt: Attempt, error: MeshError): void {
    if (this.#over || this.attempt !== attempt || !this.#responseEnded) return;
    this.stream.abort(error);
    this.#finish(error, this.now());
  }

  rejudge(snapshot: Snapshot): void {
    if (this.#over || !this.#isOpenEnded) return;
    const error = this.#judge?.(snapshot, this.stream);
    if (error !== undefined) this.#giveUp(error);
  }

  get #isOpenEnded(): boolean {
    return (
      this.#tunnel ||
      this.#endless ||
      (this.grpc && this.#responded && this.#deadline === Infinity)
    );
  }

  idled(): void {
    const source = this.#waitsForCaller() ? "downstream" : "upstream";
    const begun = source === "upstream" || this.#responded;
    const code = begun ? "IDLE_TIMEOUT" : "REQUEST_STALLED";
    this.#giveUp(new MeshError(code, "", { source }));
  }

  /** It waits for somebody to take what is held for them, or for a caller who is to send. */
  get holds(): boolean {
    return (
      this.#full ||
      this.#body.paused ||
      (this.#waitsForCaller() && !this.#tunnel && !this.grpc)
    );
  }

  evicted(): void {
    this.#giveUp(
      new MeshError(
        "OVERLOADED",
        "this proxy holds nearly as much as it may, and this exchange had stood still for longest",
        { source: "proxy" },
      ),
    );
  }

  paced(ms: number, mayEnd: boolean): void {
    this.#pace ??= new TransferRate(this.host, this.stream, this.plan.inside);
    const error = this.#pace.judge(ms, {
      still: (this.host.idle.tick - this.movedAt) * IDLE_TICK,
      holds: this.#full || this.#body.paused,
      // Tunnels and gRPC are dialogues, in which either side may take its time; gRPC only where the other end speaks HTTP/2 too.
      waits:
        this.#waitsForCaller() &&
        !this.#tunnel &&
        !(this.grpc && this.plan.dialogues),
      responded: this.#responded,
      received: this.record.received,
      continued: this.#committed,
    });
    // Where memory is short, nothing waits for its turn.
    if (error !== undefined && (mayEnd || this.host.short)) this.#giveUp(error);
  }

  #giveUp(error: MeshError): void {
    const { source } = error;
    // A caller who stalls is not held against the endpoint.
    if (source === "upstream") this.#stopAttempt(error);
    else this.#stopAttempt(new MeshError("CLIENT_CLOSED", "", { source }));
    this.#fail(error);
  }

  /** Nothing can move until the caller sends, or reads. */
  #waitsForCaller(): boolean {
    if (this.#responded) return this.#full;
    return !this.#body.ended && !this.#body.paused;
  }

  // ── the loop of attempts ─────────────────────────────────────────────────────────────────────────────────────────────

  #try(now: number): void {
    const target = this.plan.choose(this.#tried, now);
    if (target instanceof MeshError) {
      this.#fail(target);
      return;
    }
    this.record.attempted(target);
    this.spent?.enter("connecting");
    const attempt = new Attempt(this, target, now);
    this.attempt = attempt;
    // Of two that would pass together, the deadline of the whole is told.
    const { backendRequest } = this.plan.timeouts;
    attempt.start(now + backendRequest < this.#deadline ? backendRequest : 0);
  }

  #decide(
    attempt: Attempt,
    outcome: Outcome,
    error: MeshError | undefined,
  ): RetryDecision | undefined {
    const { retry } = EFFECTS[outcome.kind];
    // Most answers: nothing to decide, nothing to allocate.
    if (retry === "no" || this.#over) return undefined;
    const { plan, host } = this;
    if (this.#tried === NOBODY) this.#tried = new Set();
    this.#tried.add(attempt.target.key);
    const decision = decideRetry(
      {
        policy: plan.retry,
        attempt: attempt.failure(outcome, error),
        repeatable: plan.repeatable,
        retries: this.record.attempts - 1,
        committed: this.#committed,
        replayable: this.#body.complete,
        otherEndpoint: plan.hasOther(this.#tried),
        deadline: this.#deadline,
        now: host.clock.now(),
      },
      plan.budget,
      host.clock,
    );
    if (!decision.retry) this.record.notRepeated(decision.reason);
    return decision;
  }

  #repeat(attempt: Attempt, reason: string, after: number): void {
    if (this.attempt === attempt) this.attempt = undefined;
    this.record.repeated(reason);
    if (after <= 0) {
      this.#try(this.now());
      return;
    }
    this.spent?.enter("pausing");
    this.#cancelBackoff = this.host.clock.after(after, () => {
      this.#cancelBackoff = undefined;
      this.#try(this.now());
    });
  }

  // ── the ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #answerOver(now: number): void {
    this.#responseEnded = true;
    if (this.#body.ended) {
      this.#finish(undefined, now);
      return;
    }
    if (this.#tunnel) return;
    // An answer before the request's end: nobody waits for the rest of it (RFC 9113 8.1, RFC 9112 9.3).
    const sink = this.attempt?.sink;
    this.attempt = undefined;
    sink?.abort(
      new MeshError(
        "CLIENT_CLOSED",
        "the answer was complete before the request was",
        { source: "proxy" },
      ),
    );
    this.#body.resume();
    this.#finish(undefined, now);
  }

  /** The deadline passed. */
  due(): void {
    const error = outOfTime(this);
    this.#stopAttempt(error);
    this.#fail(error);
  }

  #stopAttempt(error: MeshError): void {
    this.#cancelBackoff?.();
    const { attempt } = this;
    this.attempt = undefined;
    attempt?.abandon(error);
  }

  #fail(error: MeshError): void {
    if (this.#over) return;
    // What is given up in the turn in which its answer began has not been answered yet: a body at fault right behind its head, say.
    if (this.#responded && this.stream.retract?.() !== true)
      this.stream.abort(error);
    else {
      this.#responded = true;
      this.record.sent = 0;
      this.record.status = rescue(this.stream, error, {
        inside: this.plan.inside,
        readers: this.record.readers,
        retryAfter: Math.ceil(this.plan.retryAfter / 1000),
      });
      // What is still read of the request is thrown away by the codec.
      this.#body.resume();
    }
    this.#finish(error, this.now());
  }

  #finish(error: MeshError | undefined, now: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelBackoff?.();
    this.#body.release();
    this.host.idle.leave(this);
    this.record.close(error, now);
  }
}
