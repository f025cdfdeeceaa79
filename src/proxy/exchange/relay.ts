/**
 * One request on its way: pumps between the caller's stream and the attempt's, and ends both once.
 *
 * ```
 *   caller ──data──▶ caller's side (replay ≤ 64 KiB) ──▶ attempt's sink ──▶ upstream
 *   caller ◀─write── caller's side ◀─────── relay ◀───── attempt ◀───────── upstream
 * ```
 * Committed (law 2) from the first response byte that is passed on, or from the byte that the replay buffer cannot hold.
 */
import { networkOf } from "../../core/text/network.ts";
import { MeshError } from "../../mesh/errors.ts";
import { EFFECTS, type Outcome } from "../../policy/outcome.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import type { ResponseHead, ServerStream } from "../../wire/exchange.ts";
import type { Fields } from "../../wire/fields.ts";
import type { RequestRecord } from "./request-record.ts";
import { Attempt, type Exchange } from "./attempt.ts";
import type { RequestBodyReceiver } from "./body-filter.ts";
import { CallerSide, superfluous } from "./caller-side.ts";
import { isGrpcCall } from "./grpc.ts";
import { IDLE_TICK, stoodStill, type Idler } from "./time/idle.ts";
import { conclude, lasts, leaving, type Judge } from "./open-ended.ts";
import { TransferRate } from "./time/transfer-rate.ts";
import type { RelayHost } from "./relay-host.ts";
import { deadlineFor, flowOf, GRACE, outOfTime } from "./time/deadline.ts";
import { Repeats, type RepeatedExchange } from "./repeats.ts";
import { breakOff, rescueExchange } from "./rescue.ts";
import { TimeSpent } from "./time/time-spent.ts";
import type { RoutePlan, Target } from "./route-plan.ts";
import { isDialogue, opensDialogue } from "../../wire/websocket/handshake.ts";
import {
  leaves,
  secondTarget,
  yields,
  type AttemptPair,
} from "./second-attempt.ts";

const NONE_TRIED: ReadonlySet<string> = new Set();

export class Relay
  implements
    Exchange,
    RequestBodyReceiver,
    RepeatedExchange,
    AttemptPair<Attempt>,
    Idler
{
  readonly host: RelayHost;
  readonly stream: ServerStream;
  readonly plan: RoutePlan;
  readonly record: RequestRecord;
  readonly caller: CallerSide;
  readonly #judge: Judge | undefined;
  /** Changes of policy before it was judged. */
  readonly #judgedAt: number;
  readonly grpc: boolean;
  /** Only where there is a time-out to explain. */
  readonly spent: TimeSpent | undefined;
  readonly deadline: number;
  attempt: Attempt | undefined;
  /** Besides, where the endpoint of `attempt` stopped responding. */
  second: Attempt | undefined;
  movedAt = 0;
  idleLimit: number;
  dueAt = 0;
  dueSlot: number | undefined;
  /** A CONNECT or a WebSocket; a refusal makes an ordinary exchange of it. */
  #tunnel: boolean;
  #repeats: Repeats | undefined;
  /** Only where the caller takes its time. */
  #pace: TransferRate | undefined;
  #responseEnded = false;
  /** The answer may go on without an end. */
  #endless = false;
  /** Where it counts as long-lived, of a caller outside the mesh. */
  #longLivedOf: string | undefined;
  #over = false;

  constructor(
    host: RelayHost,
    stream: ServerStream,
    plan: RoutePlan,
    record: RequestRecord,
    judge?: Judge,
    judgedAt: number = host.policy.changes,
  ) {
    this.host = host;
    this.#judge = judge;
    this.#judgedAt = judgedAt;
    this.stream = stream;
    this.plan = plan;
    this.record = record;
    this.caller = new CallerSide(stream);
    this.#tunnel = isDialogue(stream.head);
    this.grpc = !this.#tunnel && isGrpcCall(stream, plan.inside);
    this.idleLimit = plan.streamIdle;
    const { timeouts } = plan;
    this.deadline = deadlineFor(stream, this.grpc, timeouts, record.startedAt);
    if (this.deadline < Infinity || timeouts.backendRequest > 0)
      this.spent = new TimeSpent(record.readyAt);
  }

  start(): void {
    const { host, stream } = this;
    host.idle.enter(this, this.deadline + (this.plan.callee ? GRACE : 0));
    this.caller.begin(host.replay);
    const now = this.record.readyAt;
    this.plan.budget.request(now);
    stream.receive(this);
    if (this.#over) return;
    const refused = this.deadline > now ? this.#refusedLife() : outOfTime(this);
    if (refused === undefined) this.#try(now);
    else this.#fail(refused);
  }

  // ── the caller's side ────────────────────────────────────────────────────────────────────────────────────────────────

  data(chunk: Buffer): void {
    if (this.#over) return;
    this.movedAt = this.host.idle.tick;
    this.record.received += chunk.length;
    this.caller.data(chunk, this.attempt?.sink);
  }

  end(trailers: Fields | undefined): void {
    if (this.#over) return;
    this.movedAt = this.host.idle.tick;
    this.caller.end(trailers, this.attempt?.sink);
    if (this.attempt?.sink !== undefined) this.attempt.sent(this.now());
    if (this.#responseEnded) this.#finish(undefined, this.now());
  }

  abort(error: MeshError): void {
    if (this.#over) return;
    this.#stopAttempt(error);
    this.#finish(error, this.now());
  }

  refused(error: MeshError): void {
    this.giveUp(error);
  }

  /** The caller takes more of the response. */
  drained(): void {
    this.movedAt = this.host.idle.tick;
    this.caller.drained();
    this.attempt?.sink?.resume();
  }

  // ── the attempt's side ───────────────────────────────────────────────────────────────────────────────────────────────

  now(): number {
    return this.host.clock.now();
  }

  upstreamDrained(): void {
    this.movedAt = this.host.idle.tick;
    this.caller.resume();
  }

  informational(head: ResponseHead): void {
    // With two attempts it would commit to one that may not be taken.
    if (this.caller.responded || this.#over || this.second) return;
    this.movedAt = this.host.idle.tick;
    this.caller.informational(head);
  }

  /** True: the answer is given up, and another attempt is on its way. */
  repeats(attempt: Attempt, outcome: Outcome, ended: boolean): boolean {
    if (this.second !== undefined && yields(this, attempt, outcome)) {
      attempt.discard(outcome, ended);
      return true;
    }
    const after = this.#decide(attempt, outcome, undefined);
    if (after === undefined) return false;
    attempt.discard(outcome, ended && this.caller.ended);
    this.#repeat(attempt, outcome.kind, after);
    return true;
  }

  answered(
    attempt: Attempt,
    head: ResponseHead,
    ended: boolean,
    now: number,
  ): void {
    this.movedAt = this.host.idle.tick;
    const flow = flowOf(this.stream.head, head);
    this.#endless = flow !== undefined;
    const refused = ended ? undefined : this.#refusedLife();
    if (refused !== undefined) {
      this.giveUp(refused);
      return;
    }
    const passed = this.plan.responseHead(head, attempt.target);
    this.spent?.enter("answering", now);
    if (this.#tunnel)
      this.#tunnel = opensDialogue(this.stream.head, head.status);
    this.record.answered(head, attempt.target.trusted);
    // The replay buffer has no use any more, but while the caller still sends it says that nothing need be kept.
    this.caller.release();
    if (flow === "endless") {
      this.host.idle.putOff(this);
      attempt.unlimited();
      // A tunnel's limit is that of the TCP pool, and so is a WebSocket's; an event stream may be silent for ever.
      if (!this.#tunnel) this.idleLimit = 0;
      else if (head.status === 101) this.idleLimit = this.plan.dialogueIdle;
    }
    this.caller.respond(passed, ended);
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
    return this.caller.write(chunk);
  }

  answerEnded(trailers: Fields | undefined, now: number): void {
    if (this.#over) return;
    if (trailers !== undefined) this.record.trailers(trailers);
    this.stream.end(trailers);
    this.#answerOver(now);
  }

  /** The attempt broke off; it has told its outcome already. */
  failed(attempt: Attempt, error: MeshError, outcome: Outcome): void {
    if (this.#over || leaves(this, attempt) || this.attempt !== attempt) return;
    const after = this.#decide(attempt, outcome, error);
    if (after === undefined) this.#fail(error);
    else this.#repeat(attempt, error.code, after);
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
    if (error !== undefined) conclude(this, error);
  }

  leave(callee: boolean): boolean | undefined {
    return this.plan.callee === callee && this.stream.conclude?.(leaving());
  }

  depart(): void {
    if (this.grpc || !this.caller.responded) this.giveUp(leaving());
  }

  get #isOpenEnded(): boolean {
    const { grpc, caller, deadline } = this;
    const lasting = grpc && caller.goesOn && lasts(deadline, this.now());
    return this.#tunnel || this.#endless || lasting;
  }

  /** Why a caller outside the mesh may not hold one exchange more that has no end. */
  #refusedLife(): MeshError | undefined {
    const { plan, stream, host } = this;
    const { peer, remoteAddress } = stream.connection;
    if (peer !== undefined || !plan.callee || !this.#isOpenEnded)
      return undefined;
    if (this.#longLivedOf !== undefined) return undefined;
    const source = networkOf(remoteAddress);
    const refused = host.longLived.enter(source);
    if (refused === undefined) this.#longLivedOf = source;
    return refused;
  }

  idled(): void {
    conclude(this, stoodStill(this.caller));
  }

  /** It waits for somebody to take what is held for them, or for a caller that is to send. */
  get holds(): boolean {
    const { caller } = this;
    return caller.holds || (caller.isAwaited && !this.#tunnel && !this.grpc);
  }

  paced(ms: number, mayEnd: boolean): boolean {
    this.#pace ??= new TransferRate(this.host, this.stream, this.plan.inside);
    const error = this.#pace.judge(ms, {
      still: (this.host.idle.tick - this.movedAt) * IDLE_TICK,
      holds: this.caller.holds,
      // Tunnels and gRPC are dialogues, in which either side may take its time; gRPC only where the other end speaks HTTP/2 too.
      waits:
        this.caller.isAwaited &&
        !this.#tunnel &&
        !(this.grpc && this.plan.dialogues),
      responded: this.caller.responded,
      received: this.record.received,
      continued: this.caller.committed,
    });
    if (error === undefined) return false;
    // Where memory is short, nothing waits for its turn.
    if (!mayEnd && !this.host.short) return true;
    this.giveUp(error);
    return false;
  }

  giveUp(error: MeshError): void {
    if (this.#over) return;
    const { source } = error;
    // A caller that stalls is not held against the endpoint.
    if (source === "upstream") this.#stopAttempt(error);
    else this.#stopAttempt(new MeshError("CLIENT_CLOSED", "", { source }));
    this.#fail(error);
  }

  stalled(attempt: Attempt, now: number): void {
    const tried = this.#repeats?.tried ?? NONE_TRIED;
    const target = secondTarget(this, attempt, tried, now);
    if (target === undefined) return;
    this.second = this.#announce(target, now);
    this.#start(this.second, now);
  }

  // ── the loop of attempts ─────────────────────────────────────────────────────────────────────────────────────────────

  #try(now: number): void {
    const target = this.plan.choose(this.#repeats?.tried ?? NONE_TRIED, now);
    if (target instanceof MeshError) {
      this.#fail(target);
      return;
    }
    this.spent?.enter("connecting", now);
    this.attempt = this.#announce(target, now);
    this.#start(this.attempt, now);
  }

  #announce(target: Target, now: number): Attempt {
    this.record.attempted(target);
    return new Attempt(this, target, now);
  }

  #start(attempt: Attempt, now: number): void {
    // Where both would pass together, the deadline of the whole is reported.
    const { backendRequest } = this.plan.timeouts;
    attempt.start(now + backendRequest < this.deadline ? backendRequest : 0);
  }

  #decide(
    attempt: Attempt,
    outcome: Outcome,
    error: MeshError | undefined,
  ): number | undefined {
    // Most answers: nothing to decide, nothing to allocate.
    if (EFFECTS[outcome.kind].retry === "no" || this.#over) return undefined;
    this.#repeats ??= new Repeats(this);
    return this.#repeats.decide(attempt, outcome, error);
  }

  #repeat(attempt: Attempt, reason: string, after: number): void {
    if (this.attempt === attempt) this.attempt = undefined;
    this.#repeats?.follow(reason, after, () => this.#try(this.now()));
  }

  // ── the ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #answerOver(now: number): void {
    this.#responseEnded = true;
    if (this.caller.ended) {
      this.#finish(undefined, now);
      return;
    }
    if (this.#tunnel) return;
    // An answer before the request's end: nobody waits for the rest of it (RFC 9113 8.1, RFC 9112 9.3).
    const sink = this.attempt?.sink;
    this.attempt = undefined;
    sink?.abort(superfluous());
    this.caller.resume();
    this.#finish(undefined, now);
  }

  /** The deadline passed. */
  due(): void {
    const error = outOfTime(this);
    this.#stopAttempt(error);
    this.#fail(error);
  }

  #stopAttempt(error: MeshError): void {
    this.#repeats?.cancel();
    const { attempt, second } = this;
    this.attempt = undefined;
    this.second = undefined;
    attempt?.abandon(error);
    second?.abandon(error);
  }

  #fail(error: MeshError): void {
    if (this.#over) return;
    if (!this.caller.yields()) breakOff(this, error);
    else {
      this.record.sent = 0;
      this.record.status = rescueExchange(this, error);
      // What is still read of the request is thrown away by the codec.
      this.caller.resume();
    }
    this.#finish(error, this.now());
  }

  #finish(error: MeshError | undefined, now: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#repeats?.cancel();
    this.caller.release();
    this.host.idle.leave(this);
    if (this.#longLivedOf !== undefined)
      this.host.longLived.leave(this.#longLivedOf);
    this.record.close(error, now);
  }
}
