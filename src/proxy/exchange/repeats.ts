/** The repeats of one exchange: whether an attempt that failed is followed by another (law 3), which endpoints have failed, and the pause before the next. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { MeshError } from "../../mesh/errors.ts";
import type { Outcome } from "../../policy/outcome.ts";
import { decideRetry, type FailedAttempt } from "../../policy/retry.ts";
import type { RequestRecord } from "./request-record.ts";
import type { RoutePlan } from "./route-plan.ts";
import type { TimeSpent } from "./time/time-spent.ts";

/** What the decision asks of the exchange. */
export interface RepeatedExchange {
  readonly host: { readonly clock: Clock };
  readonly plan: Pick<
    RoutePlan,
    "retry" | "budget" | "repeatable" | "hasOther"
  >;
  readonly record: Pick<RequestRecord, "attempts" | "repeated" | "notRepeated">;
  readonly spent: Pick<TimeSpent, "enter"> | undefined;
  /** Monotonic milliseconds; Infinity for none. */
  readonly deadline: number;
  readonly caller: {
    /** It has got something of a response (law 2). */
    readonly committed: boolean;
    /** What it has sent can be sent again. */
    readonly replayable: boolean;
  };
}

/** What it asks of the attempt that failed. */
interface FailedTry {
  readonly target: { readonly key: string };
  failure(outcome: Outcome, error: MeshError | undefined): FailedAttempt;
}

/** Made once an attempt has failed: most exchanges have none. */
export class Repeats {
  readonly #exchange: RepeatedExchange;
  readonly #tried = new Set<string>();
  #cancelPause: Cancel | undefined;

  constructor(exchange: RepeatedExchange) {
    this.#exchange = exchange;
  }

  /** Keys of the endpoints that failed: the next attempt prefers another. */
  get tried(): ReadonlySet<string> {
    return this.#tried;
  }

  /** Milliseconds until the next attempt, which has been paid for; undefined where there is none. `error`: why `attempt` got no response. */
  decide(
    attempt: FailedTry,
    outcome: Outcome,
    error: MeshError | undefined,
  ): number | undefined {
    const { host, plan, record, deadline, caller } = this.#exchange;
    this.#tried.add(attempt.target.key);
    const decision = decideRetry(
      {
        policy: plan.retry,
        attempt: attempt.failure(outcome, error),
        repeatable: plan.repeatable,
        retries: record.attempts - 1,
        committed: caller.committed,
        replayable: caller.replayable,
        otherEndpoint: plan.hasOther(this.#tried),
        deadline,
        now: host.clock.now(),
      },
      plan.budget,
      host.clock,
    );
    if (decision.retry) return decision.after;
    record.notRepeated(decision.reason);
    return undefined;
  }

  /** Has the next attempt started after `ms`. `reason`: why there is one. */
  follow(reason: string, ms: number, start: () => void): void {
    const { host, record, spent } = this.#exchange;
    record.repeated(reason);
    if (ms <= 0) {
      start();
      return;
    }
    spent?.enter("pausing", host.clock.now());
    this.#cancelPause = host.clock.after(ms, start);
  }

  /** The attempt that is waited for does not follow. */
  cancel(): void {
    this.#cancelPause?.();
  }
}
