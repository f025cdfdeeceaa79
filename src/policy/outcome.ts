/**
 * Which outcome of an attempt counts where: the one table behind breaker, ejection, balancing and retry.
 *
 * A row per thing that can become of an attempt. What a peer's sidecar decided by itself (`x-wherry-reason`, believed only of a
 * peer with a mesh identity) says nothing of its application, and is never held against it.
 */
import { parseTimestamp } from "../core/clock.ts";
import type { WallMs } from "../core/units.ts";
import type { OutcomeKind } from "../mesh/codes.ts";
import type { Code } from "../mesh/reasons.ts";
import { GRPC_STATUSES } from "../mesh/grpc-status.ts";
import { isCode, REASONS } from "../mesh/reasons.ts";

export interface Effects {
  /** "none": the breaker does not hear of it; it takes no half-open probe either. */
  readonly breaker: "success" | "failure" | "none";
  readonly ejection: "success" | "failure" | "local-origin" | "none";
  /** What the balancer takes for its latency: what was measured, at least five seconds, or nothing. */
  readonly latency: "measured" | "penalty" | "none";
  /** Which requests may be repeated at all: any, idempotent ones (or with `idempotency-key`), those where the route asks for the status too, none. */
  readonly retry: "any" | "elsewhere" | "idempotent" | "asked" | "no";
}

export const EFFECTS: Readonly<Record<OutcomeKind, Effects>> = {
  answered: row("success", "success", "measured", "no"),
  "connect-failure": row("failure", "local-origin", "penalty", "any"),
  "application-unreachable": row("failure", "local-origin", "penalty", "any"),
  "machine-failure": row("none", "none", "none", "any"),
  "machine-reset": row("none", "none", "none", "idempotent"),
  unprocessed: row("none", "none", "none", "any"),
  "no-endpoint": row("none", "none", "none", "no"),
  "not-attempted": row("none", "none", "none", "no"),
  reset: row("failure", "failure", "penalty", "idempotent"),
  "cut-short": row("none", "failure", "penalty", "no"),
  "attempt-timeout": row("failure", "failure", "penalty", "idempotent"),
  "server-error": row("failure", "failure", "penalty", "asked"),
  throttled: row("none", "none", "penalty", "asked"),
  shed: row("none", "none", "none", "elsewhere"),
  "peer-refusal": row("none", "none", "none", "no"),
  "grpc-failure": row("failure", "failure", "penalty", "asked"),
  cancelled: row("none", "none", "none", "no"),
};

function row(
  breaker: Effects["breaker"],
  ejection: Effects["ejection"],
  latency: Effects["latency"],
  retry: Effects["retry"],
): Effects {
  return { breaker, ejection, latency, retry };
}

export interface Outcome {
  readonly kind: OutcomeKind;
  /** HTTP status that a route's `retry.codes` may name: the response's, or that which a gRPC status maps to. */
  readonly status: number | undefined;
  /** Milliseconds that the endpoint asked to be left alone (`Retry-After`, `grpc-retry-pushback-ms`). */
  readonly retryAfter: number | undefined;
}

export interface AnswerFacts {
  readonly status: number;
  /** Milliseconds, by `parseRetryAfter`. */
  readonly retryAfter?: number | undefined;
  /** The reason in `x-wherry-reason`, where the peer proved a mesh identity; undefined otherwise (law 5). */
  readonly reason?: Code | undefined;
  /** `grpc-status` of a gRPC response, as soon as it is known. */
  readonly grpcStatus?: number | undefined;
  /** The gRPC deadline that passed was the caller's own. */
  readonly callerDeadlinePassed?: boolean;
}

/** The outcome of an attempt that got a final response head (and, for gRPC, its status). */
export function outcomeOfAnswer(answer: AnswerFacts): Outcome {
  const { status, retryAfter, reason, grpcStatus } = answer;
  const outcome = (kind: OutcomeKind, asStatus = status): Outcome => ({
    kind,
    status: asStatus,
    retryAfter,
  });
  if (reason !== undefined) return outcome(REASONS[reason].outcome.peer);
  if (grpcStatus !== undefined && grpcStatus !== 0) {
    const mapped = GRPC_FAILURES.get(grpcStatus);
    if (mapped === undefined) return outcome("answered");
    if (
      grpcStatus === GRPC_STATUSES.DEADLINE_EXCEEDED &&
      answer.callerDeadlinePassed
    )
      return outcome("cancelled");
    return outcome("grpc-failure", mapped);
  }
  if (status === 429 || (status === 503 && retryAfter !== undefined))
    return outcome("throttled");
  return outcome(status >= 500 ? "server-error" : "answered");
}

export interface FailureFacts {
  readonly code: Code;
  /** Law 3: no part of the request was processed. */
  readonly unprocessed: boolean;
  /** The final response head had come. */
  readonly responseBegan: boolean;
}

/** For an attempt that failed without a response. A `MeshError` has the first two. */
export function outcomeOfFailure(failure: FailureFacts): Outcome {
  return {
    kind: kindOfFailure(failure),
    status: undefined,
    retryAfter: undefined,
  };
}

function kindOfFailure({
  code,
  unprocessed,
  responseBegan,
}: FailureFacts): OutcomeKind {
  const { own, begun } = REASONS[code].outcome;
  if (responseBegan) return begun ?? "cut-short";
  if (own === "machine-failure" && !unprocessed) return "machine-reset";
  return own === "reset" && unprocessed ? "unprocessed" : own;
}

/** gRPC statuses that say that the server failed, and the HTTP status under which a route asks to repeat them. */
const GRPC_FAILURES: ReadonlyMap<number, number> = new Map([
  [GRPC_STATUSES.UNKNOWN, 500],
  [GRPC_STATUSES.DEADLINE_EXCEEDED, 504],
  [GRPC_STATUSES.RESOURCE_EXHAUSTED, 429],
  [GRPC_STATUSES.INTERNAL, 500],
  [GRPC_STATUSES.UNAVAILABLE, 503],
  [GRPC_STATUSES.DATA_LOSS, 500],
]);

/** Milliseconds that a failure counts as: a fast error must not attract traffic. */
export const FAILURE_LATENCY = 5000;
/** Milliseconds: however long an endpoint asks to be left alone, it does not leave the balancing for more. */
export const LONGEST_PENALTY = 300_000;

/** The latency to tell the balancer, or undefined for nothing. `measured` in milliseconds. */
export function latencyOf(
  outcome: Outcome,
  measured: number,
): number | undefined {
  switch (EFFECTS[outcome.kind].latency) {
    case "measured":
      return measured;
    case "penalty":
      return Math.max(
        FAILURE_LATENCY,
        measured,
        Math.min(outcome.retryAfter ?? 0, LONGEST_PENALTY),
      );
    case "none":
      return undefined;
  }
}

/** Milliseconds of `Retry-After` (RFC 9110 10.2.3): seconds or a date. `wall` is the time now; undefined where the text is neither. */
export function parseRetryAfter(
  text: string | undefined,
  wall: WallMs,
): number | undefined {
  if (text === undefined) return undefined;
  if (/^[0-9]{1,10}$/.test(text)) return Number(text) * 1000;
  // An HTTP date has a day's name first; what else a lenient parser takes for a date is none.
  if (!/^[A-Z][a-z]{2}/.test(text)) return undefined;
  const date = parseTimestamp(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - wall);
}

/** The code of an `x-wherry-reason` value, "CODE; policy=NS/NAME"; undefined where it is none of ours. */
export function parseReason(text: string | undefined): Code | undefined {
  if (text === undefined) return undefined;
  const end = text.indexOf(";");
  const code = (end < 0 ? text : text.slice(0, end)).trim();
  return isCode(code) ? code : undefined;
}
