/**
 * Which outcome of an attempt counts where: the one table behind breaker, ejection, balancing and retry.
 *
 * A row per thing that can become of an attempt. What a peer's sidecar decided by itself (`x-wherry-reason`, believed only of a
 * peer with a mesh identity) says nothing of its application, and is never held against it.
 */
import { parseTimestamp } from "../core/clock.ts";
import { REASONS, type Code } from "../core/errors.ts";

export type OutcomeKind =
  /** 1xx to 4xx by the application, but 429; a gRPC status that is the caller's affair. */
  | "answered"
  /** No connection, no handshake, or another identity than expected. */
  | "connect-failure"
  /** The peer's sidecar could not connect to its application. */
  | "application-unreachable"
  /** Provably unprocessed: refused stream, GOAWAY below the stream, a connection that died before a request byte was written. */
  | "unprocessed"
  /** There was nobody to send it to. */
  | "no-endpoint"
  /** This proxy's own limit or breaker: no attempt was made. */
  | "not-attempted"
  /** Written, then reset or closed before any response byte; or the application died over it. */
  | "reset"
  /** Reset after the response began. */
  | "cut-short"
  | "attempt-timeout"
  /** A 5xx by the application, but 503 with Retry-After. */
  | "server-error"
  /** 429, or 503 with Retry-After, by the application. */
  | "throttled"
  /** The peer's sidecar is over its limits or on its way out, and has passed nothing on. */
  | "shed"
  /** The peer's sidecar said no: policy, destination, fault, deadline, grammar. */
  | "peer-refusal"
  /** A gRPC status that says that the server failed. */
  | "grpc-failure"
  /** The caller went away, or its deadline passed. */
  | "cancelled";

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
  /** HTTP status that a route's `retry.codes` may name: the answer's, or that which a gRPC status maps to. */
  readonly status: number | undefined;
  /** Milliseconds that the endpoint asked to be left alone (`Retry-After`, `grpc-retry-pushback-ms`). */
  readonly retryAfter: number | undefined;
}

export interface AnswerFacts {
  readonly status: number;
  /** Milliseconds, by `parseRetryAfter`. */
  readonly retryAfter?: number | undefined;
  /** Of `x-wherry-reason`, where the peer proved a mesh identity; undefined otherwise (law 5). */
  readonly reason?: Code | undefined;
  /** `grpc-status` of a gRPC answer, as soon as it is known. */
  readonly grpcStatus?: number | undefined;
  /** The gRPC deadline that passed was the caller's own. */
  readonly callerDeadlinePassed?: boolean;
}

/** Of an attempt that got a final response head (and, for gRPC, its status). */
export function outcomeOfAnswer(answer: AnswerFacts): Outcome {
  const { status, retryAfter, reason, grpcStatus } = answer;
  const outcome = (kind: OutcomeKind, asStatus = status): Outcome => ({
    kind,
    status: asStatus,
    retryAfter,
  });
  if (reason !== undefined) return outcome(kindOfReason(reason));
  if (grpcStatus !== undefined && grpcStatus !== 0) {
    const mapped = GRPC_FAILURES.get(grpcStatus);
    if (mapped === undefined) return outcome("answered");
    if (grpcStatus === GRPC_DEADLINE_EXCEEDED && answer.callerDeadlinePassed)
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

/** Of an attempt that failed without an answer. A `MeshError` has the first two. */
export function outcomeOfFailure(failure: FailureFacts): Outcome {
  return {
    kind: failure.responseBegan
      ? kindAfterResponse(failure.code)
      : kindOfFailure(failure),
    status: undefined,
    retryAfter: undefined,
  };
}

function kindAfterResponse(code: Code): OutcomeKind {
  return code === "CLIENT_CLOSED" ||
    code === "REQUEST_TIMEOUT" ||
    code === "DEADLINE_EXCEEDED"
    ? "cancelled"
    : "cut-short";
}

function kindOfFailure({ code, unprocessed }: FailureFacts): OutcomeKind {
  switch (code) {
    case "CONNECT_FAILED":
    case "CONNECT_TIMEOUT":
    case "TLS_FAILED":
    case "WRONG_IDENTITY":
      return "connect-failure";
    case "APPLICATION_UNREACHABLE":
      return "application-unreachable";
    case "ATTEMPT_TIMEOUT":
    case "IDLE_TIMEOUT":
      return "attempt-timeout";
    case "NO_ENDPOINT":
      return "no-endpoint";
    case "BREAKER_OPEN":
    case "OVERFLOW":
    case "OVERLOADED":
    case "DRAINING":
    case "SHED":
    case "THROTTLED":
    case "FAULT_INJECTED":
    case "INTERNAL":
      return "not-attempted";
    case "UPSTREAM_RESET":
    case "UPSTREAM_PROTOCOL":
    case "STREAM_REFUSED":
      return unprocessed ? "unprocessed" : "reset";
    default:
      // What is left is the caller's doing: it went away, its deadline passed, its request was at fault.
      return "cancelled";
  }
}

/** What a sidecar's own answer means for the one who called it. */
function kindOfReason(reason: Code): OutcomeKind {
  switch (reason) {
    case "APPLICATION_UNREACHABLE":
    case "CONNECT_FAILED":
    case "CONNECT_TIMEOUT":
      return "application-unreachable";
    case "UPSTREAM_RESET":
    case "UPSTREAM_PROTOCOL":
      return "reset";
    case "ATTEMPT_TIMEOUT":
    case "IDLE_TIMEOUT":
      return "attempt-timeout";
    case "OVERLOADED":
    case "OVERFLOW":
    case "SHED":
    case "DRAINING":
    case "NO_CONFIG":
    case "STREAM_REFUSED":
      return "shed";
    default:
      return "peer-refusal";
  }
}

const GRPC_DEADLINE_EXCEEDED = 4;

/** gRPC statuses that say that the server failed, and the HTTP status under which a route asks to repeat them. */
const GRPC_FAILURES: ReadonlyMap<number, number> = new Map([
  [2, 500], // unknown
  [GRPC_DEADLINE_EXCEEDED, 504],
  [8, 429], // resource-exhausted
  [13, 500], // internal
  [14, 503], // unavailable
  [15, 500], // data-loss
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
  wall: number,
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

function isCode(text: string): text is Code {
  return Object.hasOwn(REASONS, text);
}
