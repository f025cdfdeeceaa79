/**
 * Whether, when and where a failed attempt is repeated: law 3, within the budget, within the deadline (traps 11 and 12).
 *
 * Safety comes first (may this request be repeated after this outcome?), then what is configured (is it asked for?), then the
 * limits (attempts, deadline), and the budget last, so that only a retry that will happen is paid for.
 */
import { slidingCount } from "../core/sliding-count.ts";
import { fullJitter } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { durationOf } from "../core/duration.ts";
import { tokenBucket } from "../core/token-bucket.ts";
import type { MonotonicMs } from "../core/units.ts";
import {
  DEFAULT_BACKOFF,
  isRetryable,
  MAXIMUM_BACKOFF,
  type HTTPRouteRetry,
} from "../resources/http-route/spec.ts";
import type { MeshSettings, RetryReason } from "../resources/mesh/schema.ts";
import type { RetryConstraint } from "../resources/traffic-policy/settings.ts";

/** Why an attempt may be repeated: the Mesh's safe reasons, and those that only a route can ask for. */
export type RetryCondition = RetryReason | "reset" | "attempt-timeout";

export interface RetryPolicy {
  /** Retries, not tries. */
  readonly attempts: number;
  readonly on: ReadonlySet<RetryCondition>;
  /** Statuses that the route asks to repeat, of those that are repeated at all. */
  readonly codes: ReadonlySet<number>;
  readonly backoff: {
    /** Milliseconds: never sooner (Gateway API); 0 unless the route says so. */
    readonly minimum: number;
    /** Milliseconds: bounds of the jittered part. */
    readonly base: number;
    readonly max: number;
  };
}

/** A route that has a `retry` asks for its codes, and for resets and time-outs of attempts too (GEP-1731), where the request may be repeated. */
export function compileRetry(
  route: HTTPRouteRetry | undefined,
  defaults: MeshSettings["defaults"]["retry"],
): RetryPolicy {
  return {
    attempts: route?.attempts ?? defaults.attempts,
    on: new Set<RetryCondition>(
      route === undefined
        ? defaults.on
        : [...defaults.on, "reset", "attempt-timeout"],
    ),
    codes: new Set(route?.codes?.filter(isRetryable)),
    backoff: {
      minimum: route?.backoff === undefined ? 0 : durationOf(route.backoff),
      base: DEFAULT_BACKOFF,
      max: MAXIMUM_BACKOFF,
    },
  };
}

/** RFC 9110 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "OPTIONS",
  "TRACE",
  "PUT",
  "DELETE",
]);

/** True where a request may be sent again though it may have been processed (law 3). */
export function isRepeatable(request: {
  readonly method: string;
  header(name: string): string | undefined;
}): boolean {
  return (
    IDEMPOTENT.has(request.method) ||
    request.header("idempotency-key") !== undefined
  );
}

/** What became of the attempt; `Outcome` with its `EFFECTS[kind].retry` satisfies it. */
export interface FailedAttempt {
  readonly kind: string;
  /** The column "retry" of the table of outcomes. */
  readonly retry: "any" | "elsewhere" | "idempotent" | "asked" | "no";
  readonly status: number | undefined;
  /** Milliseconds. */
  readonly retryAfter: number | undefined;
  /** The stream was refused by a live connection: GOAWAY or REFUSED_STREAM; else the connection died before a request byte was written. */
  readonly refused?: boolean;
  /** The connection came from the pool. */
  readonly reusedConnection: boolean;
  /** It was the trial of an endpoint that had been ejected: the caller need not see it fail. */
  readonly trial?: boolean;
}

export interface RetryQuestion {
  readonly policy: RetryPolicy;
  readonly attempt: FailedAttempt;
  /** `isRepeatable` of the request. */
  readonly repeatable: boolean;
  /** Retries made so far. */
  readonly retries: number;
  /** A response byte was passed on, or the replay buffer is full (law 2). */
  readonly committed: boolean;
  /** The request's body, as far as it was sent, can be sent again. */
  readonly replayable: boolean;
  /** There is an endpoint that was not tried yet. */
  readonly otherEndpoint: boolean;
  /** Monotonic milliseconds, Infinity for none. */
  readonly deadline: number;
  readonly now: MonotonicMs;
}

export type RetryDecision =
  | {
      readonly retry: true;
      /** Milliseconds to wait. */ readonly after: number;
    }
  | { readonly retry: false; readonly reason: RetryRefusal };

export type RetryRefusal =
  /** What happened does not call for a retry. */
  | "outcome"
  /** Not configured: neither the Mesh nor the route asks for it. */
  | "not-asked"
  | "committed"
  | "body"
  | "not-idempotent"
  | "attempts"
  | "no-other-endpoint"
  | "retry-after"
  | "deadline"
  | "budget";

/**
 * Milliseconds: an endpoint that asks for more than this is not waited for. Coming back sooner than asked would not cap it,
 * and holding the caller for longer helps nobody.
 */
export const LONGEST_RETRY_AFTER = 10_000;

/** Decides, and takes from the budget if the answer is yes. */
export function decideRetry(
  question: RetryQuestion,
  budget: RetryBudget,
  clock: Clock,
): RetryDecision {
  const { policy, attempt, now } = question;
  if (attempt.retry === "no") return no("outcome");
  if (question.committed) return no("committed");
  const refusal = unsafe(question) ?? notAsked(policy, attempt);
  if (refusal !== undefined) return no(refusal);
  if (!question.replayable) return no("body");
  if (attempt.retry === "elsewhere" && !question.otherEndpoint)
    return no("no-other-endpoint");
  if (question.retries >= policy.attempts) return no("attempts");
  const asked = attempt.retryAfter ?? 0;
  if (asked > LONGEST_RETRY_AFTER) return no("retry-after");
  const after = Math.max(
    asked,
    policy.backoff.minimum +
      fullJitter(policy.backoff, question.retries + 1, clock),
  );
  if (now + after >= question.deadline) return no("deadline");
  // What never left this machine added nothing to the load of the service.
  if (attempt.kind !== "machine-failure" && !budget.take(now))
    return no("budget");
  return { retry: true, after };
}

function no(reason: RetryRefusal): RetryDecision {
  return { retry: false, reason };
}

/** What was or may have been processed is repeated only where that does no harm. */
function unsafe(question: RetryQuestion): RetryRefusal | undefined {
  const { retry } = question.attempt;
  const provablyUnprocessed = retry === "any" || retry === "elsewhere";
  return provablyUnprocessed || question.repeatable
    ? undefined
    : "not-idempotent";
}

function notAsked(
  policy: RetryPolicy,
  attempt: FailedAttempt,
): RetryRefusal | undefined {
  if (attempt.trial === true) return undefined;
  if (attempt.retry === "asked")
    return attempt.status !== undefined && policy.codes.has(attempt.status)
      ? undefined
      : "not-asked";
  const conditions = conditionsOf(attempt);
  return conditions.some((condition) => policy.on.has(condition))
    ? undefined
    : "not-asked";
}

function conditionsOf(attempt: FailedAttempt): readonly RetryCondition[] {
  switch (attempt.kind) {
    case "connect-failure":
    case "machine-failure":
    case "application-unreachable":
      return ["connect-failure"];
    case "unprocessed":
      return [
        attempt.refused === false ? "reset-before-request" : "refused-stream",
      ];
    case "shed":
      return ["refused-stream"];
    case "reset":
    case "machine-reset":
      return attempt.reusedConnection
        ? ["reset-reused-connection", "reset"]
        : ["reset"];
    case "attempt-timeout":
      return ["attempt-timeout"];
    default:
      return [];
  }
}

/** How many retries a client allows itself towards one service: a share of its requests, and a few a second besides. */
export interface RetryBudget {
  /** A request was made (not a retry). */
  request(now: MonotonicMs): void;
  /** Pays for one retry if there is room. */
  take(now: MonotonicMs): boolean;
  /** Requests of the window, and the retries that their share has paid for; for metrics. */
  usage(now: MonotonicMs): {
    readonly requests: number;
    readonly retries: number;
  };
}

const SLOTS = 10;

/**
 * A sliding window of `budget.interval` in ten slots. Retries beyond the share are paid from the minimum rate, so that a quiet
 * client can retry at all. Keep one for each Destination (client and called service, not backend): a split must not split the budget.
 * With several `workers` each keeps its own, and allows its part of the minimum rate, in bursts of one retry at least.
 */
export function retryBudget(
  settings: RetryConstraint<number>,
  workers = 1,
): RetryBudget {
  const { budget, minRetryRate } = settings;
  const floorPart = minRetryRate.count / workers;
  const requests = slidingCount(budget.interval, SLOTS);
  const retries = slidingCount(budget.interval, SLOTS);
  const floor = tokenBucket({
    rate: (floorPart * 1000) / Math.max(1, minRetryRate.interval),
    burst: minRetryRate.count === 0 ? 0 : Math.max(1, floorPart),
  });

  return {
    request: (now) => requests.add(now),
    take(now) {
      if (
        retries.total(now) + 1 <=
        (requests.total(now) * budget.percent) / 100
      ) {
        retries.add(now);
        return true;
      }
      return floor.take(now);
    },
    usage: (now) => ({
      requests: requests.total(now),
      retries: retries.total(now),
    }),
  };
}
