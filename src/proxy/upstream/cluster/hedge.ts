/**
 * One attempt that may become two: where the first endpoint has not responded after a while, a second is asked as well, the first good
 * response is taken, and the other exchange is broken off. To the relay it is one attempt at one target.
 *
 * ```
 *   attempt ── request ──▶ leg 1 ─────────────── (slow) ──────✗ broken off
 *                     └─ after p95 ─▶ leg 2 ── head ──▶ the attempt's response
 * ```
 * For requests without a body that may be sent twice, each extra one paid from the budget that retries have.
 */
import type { Cancel, Clock } from "../../../core/clock.ts";
import type { MeshError } from "../../../mesh/errors.ts";
import {
  outcomeOfAnswer,
  outcomeOfFailure,
  parseReason,
  type Outcome,
} from "../../../policy/outcome.ts";
import { matcher } from "../../../policy/compile/overload.ts";
import { HedgeDelay } from "../../../policy/hedge.ts";
import type { RetryBudget } from "../../../policy/retry.ts";
import type { RoutedRequest } from "../../../policy/router/candidate.ts";
import type { Cluster } from "../../../policy/snapshot.ts";
import type { CounterCell } from "../../../telemetry/metrics.ts";
import type {
  ClientStream,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
} from "../../../wire/exchange.ts";
import { fieldValue, type Fields } from "../../../wire/fields.ts";
import { attemptField, REASON, retryAfterOf } from "../../exchange/heads.ts";
import {
  CANCELLED,
  otherTarget,
  QUICKER,
} from "../../exchange/second-attempt.ts";
import type { Meters } from "../../../telemetry/meters.ts";
import type {
  Target,
  ConnectionWaiter,
  Requestable,
  ConnectionNeed,
} from "../../exchange/route-plan.ts";

/** What a caller keeps of one cluster whose TrafficPolicy asks for it. */
export interface HedgeState {
  readonly delay: HedgeDelay;
  /** Absent: every request that may be sent twice. */
  readonly matches: ((request: RoutedRequest) => boolean) | undefined;
  /** Extra requests that were made, and those of them whose response was taken. */
  readonly made: CounterCell;
  readonly won: CounterCell;
}

/** Undefined where no policy asks for it. */
export function hedgeState(
  { destination, settings: { hedging } }: Cluster,
  { hedges }: Meters,
): HedgeState | undefined {
  if (hedging === undefined) return undefined;
  return {
    delay: new HedgeDelay(hedging),
    matches:
      hedging.matches === undefined ? undefined : matcher(hedging.matches),
    made: hedges.with(destination, "made"),
    won: hedges.with(destination, "won"),
  };
}

export interface HedgeHost {
  readonly clock: Clock;
  readonly state: HedgeState;
  readonly budget: RetryBudget;
  /** Another endpoint than those in `tried`, or why there is none. */
  choose(tried: ReadonlySet<string>, now: number): Target | MeshError;
}

const NONE_TRIED: ReadonlySet<string> = new Set();

export class HedgedTarget implements Target, ConnectionWaiter {
  readonly #host: HedgeHost;
  readonly #first: Leg;
  #second: Leg | undefined;
  /** The leg whose response it is. */
  #winner: Leg | undefined;
  #waiter: ConnectionWaiter | undefined;
  #receiver: ResponseReceiver | undefined;
  #head: RequestHead | undefined;
  #cancelTimer: Cancel | undefined;
  #over = false;

  constructor(host: HedgeHost, target: Target) {
    this.#host = host;
    this.#first = new Leg(this, target, host.clock.now());
  }

  get #current(): Target {
    return (this.#winner ?? this.#first).target;
  }
  get key(): string {
    return this.#current.key;
  }
  get address(): string {
    return this.#current.address;
  }
  get trusted(): boolean {
    return this.#current.trusted;
  }
  get probing(): boolean {
    return this.#first.target.probing;
  }
  get trial(): boolean {
    return this.#current.trial === true;
  }

  connect(need: ConnectionNeed, waiter: ConnectionWaiter): Cancel | undefined {
    this.#waiter = waiter;
    return this.#first.target.connect(need, this);
  }

  connected(connection: Requestable, reused: boolean): void {
    this.#waiter?.connected(
      {
        request: (head, _ended, receiver) =>
          this.#open(connection, head, receiver),
      },
      reused,
    );
  }

  failed(error: MeshError): void {
    this.#waiter?.failed(error);
  }

  /** It need not wait for its time. */
  stalled(): void {
    if (this.#second !== undefined) return;
    this.#cancelTimer?.();
    this.#hedge();
  }

  /** The first leg's request; what it gives back stands for whichever leg it will be. */
  #open(
    connection: Requestable,
    head: RequestHead,
    receiver: ResponseReceiver,
  ): ClientStream {
    this.#receiver = receiver;
    this.#head = head;
    this.#first.sink = connection.request(head, true, this.#first);
    this.#first.target.sent?.();
    const { delay } = this.#host.state.delay;
    if (delay !== undefined && !this.#first.target.probing)
      this.#cancelTimer = this.#host.clock.after(delay, () => this.#hedge());
    return new HedgedStream(this);
  }

  #hedge(): void {
    this.#cancelTimer = undefined;
    const { clock, state } = this.#host;
    const head = this.#head;
    if (this.#winner !== undefined || this.#over || head === undefined) return;
    const now = clock.now();
    const first = this.#first.target;
    const target = otherTarget(
      this.#host,
      first,
      NONE_TRIED,
      now,
      // The head is made for one kind of endpoint.
      ({ trusted }) => trusted === first.trusted,
    );
    if (target === undefined) return;
    const leg = new Leg(this, target, now);
    state.made.add();
    this.#second = leg;
    const marked = target.trusted
      ? { ...head, fields: [...head.fields, attemptField(2)] }
      : head;
    leg.cancel = target.connect(
      { mayRepeat: true },
      {
        connected(connection) {
          leg.cancel = undefined;
          if (leg.over) return;
          leg.sink = connection.request(marked, true, leg);
          target.sent?.();
        },
        failed: (error) => leg.abort(error),
      },
    );
  }

  /** A leg has the head of a response: is it the attempt's? */
  takes(leg: Leg, status: number, outcome: Outcome): boolean {
    if (this.#winner !== undefined) return this.#winner === leg;
    const other = this.#other(leg);
    // A failure is not passed on as long as the other may have a better one.
    if (other?.over === false && isFailure(status)) {
      leg.giveUp(outcome);
      return false;
    }
    this.#winner = leg;
    this.#cancelTimer?.();
    const now = this.#host.clock.now();
    const { delay, won } = this.#host.state;
    delay.record(now - this.#first.startedAt);
    if (leg !== this.#first) won.add();
    if (other?.over === false) other.giveUp(CANCELLED);
    return true;
  }

  /** A leg is broken off; true where the attempt is, with it. */
  breaks(leg: Leg, error: MeshError): boolean {
    if (this.#winner !== undefined) return this.#winner === leg;
    if (this.#other(leg)?.over === false) {
      leg.giveUp(
        outcomeOfFailure({
          code: error.code,
          unprocessed: error.unprocessed,
          responseBegan: false,
        }),
      );
      return false;
    }
    this.#winner = leg;
    this.#cancelTimer?.();
    return true;
  }

  #other(leg: Leg): Leg | undefined {
    return leg === this.#first ? this.#second : this.#first;
  }

  get receiver(): ResponseReceiver | undefined {
    return this.#receiver;
  }
  get sink(): ClientStream | undefined {
    return (this.#winner ?? this.#first).sink;
  }
  get clock(): Clock {
    return this.#host.clock;
  }

  abort(error: MeshError): void {
    this.#cancelTimer?.();
    this.#first.stop(error);
    this.#second?.stop(error);
  }

  endless(): void {
    this.#current.endless?.();
  }

  slowed(): void {
    this.#current.slowed?.();
  }

  received(chunk: Uint8Array): void {
    this.#current.received?.(chunk);
  }

  answered(outcome: Outcome): void {
    (this.#winner ?? this.#first).answered(outcome);
  }

  done(outcome: Outcome, latency: number, now: number): string | undefined {
    this.#over = true;
    this.#cancelTimer?.();
    const winner = this.#winner ?? this.#first;
    const other = this.#other(winner);
    if (other?.over === false)
      other.giveUp(this.#winner === undefined ? outcome : CANCELLED);
    return winner.done(
      outcome,
      Math.max(0, latency - (winner.startedAt - this.#first.startedAt)),
      now,
    );
  }
}

/** One of the two exchanges. */
class Leg implements ResponseReceiver {
  readonly target: Target;
  readonly startedAt: number;
  readonly #hedge: HedgedTarget;
  sink: ClientStream | undefined;
  cancel: Cancel | undefined;
  /** Its target has been told. */
  over = false;
  #answered = false;

  constructor(hedge: HedgedTarget, target: Target, now: number) {
    this.#hedge = hedge;
    this.target = target;
    this.startedAt = now;
  }

  informational(_head: ResponseHead): void {
    // It would commit to a response that may not be taken.
  }
  head(head: ResponseHead, ended: boolean): void {
    const outcome = this.#outcomeOf(head);
    this.target.headed?.(outcome, this.#hedge.clock.now());
    if (!this.over && this.#hedge.takes(this, head.status, outcome))
      this.#hedge.receiver?.head(head, ended);
  }
  #outcomeOf(head: ResponseHead): Outcome {
    return outcomeOfAnswer({
      status: head.status,
      reason: this.target.trusted
        ? parseReason(fieldValue(head.fields, REASON))
        : undefined,
      retryAfter: retryAfterOf(head, this.#hedge.clock),
    });
  }
  data(chunk: Buffer): void {
    if (!this.over) this.#hedge.receiver?.data(chunk);
  }
  end(trailers: Fields | undefined): void {
    if (!this.over) this.#hedge.receiver?.end(trailers);
  }
  abort(error: MeshError): void {
    if (!this.over && this.#hedge.breaks(this, error))
      this.#hedge.receiver?.abort(error);
  }
  drained(): void {
    if (!this.over) this.#hedge.receiver?.drained();
  }

  answered(outcome: Outcome): void {
    if (this.#answered) return;
    this.#answered = true;
    this.target.answered(outcome);
  }

  done(outcome: Outcome, latency: number, now: number): string | undefined {
    if (this.over) return undefined;
    this.over = true;
    this.answered(outcome);
    return this.target.done(outcome, latency, now);
  }

  tell(outcome: Outcome, now: number): void {
    this.done(outcome, Math.max(0, now - this.startedAt), now);
  }

  /** Breaks it off; nothing more comes of it. */
  giveUp(outcome: Outcome): void {
    this.tell(outcome, this.#hedge.clock.now());
    this.stop(QUICKER);
  }

  stop(error: MeshError): void {
    this.cancel?.();
    this.cancel = undefined;
    this.sink?.abort(error);
  }
}

/** What the attempt writes to and breaks off: there is no body, so all that is left is the flow of the response. */
class HedgedStream implements ClientStream {
  readonly #hedge: HedgedTarget;

  constructor(hedge: HedgedTarget) {
    this.#hedge = hedge;
  }

  write(): boolean {
    return true;
  }
  end(): void {
    // The head was all of it.
  }
  abort(error: MeshError): void {
    this.#hedge.abort(error);
  }
  pause(): void {
    this.#hedge.sink?.pause();
  }
  resume(): void {
    this.#hedge.sink?.resume();
  }
}

function isFailure(status: number): boolean {
  return status >= SERVER_ERROR || status === TOO_MANY;
}

const SERVER_ERROR = 500;
const TOO_MANY = 429;
