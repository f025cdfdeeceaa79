/** The one error family of the data path: what failed, whose fault it is, and whether the request is provably unprocessed. */

/**
 * Every reason that Wherry gives for a refusal or failure, as it stands in `x-wherry-reason`, the log, metrics and spans.
 * `proxy/rescue.ts` gives each its status; nothing else may.
 */
export const REASONS = {
  // What the caller sent.
  BAD_REQUEST: "the request breaks the HTTP grammar",
  HEADERS_TOO_LARGE: "the request head is over the limit",
  EXPECTATION_FAILED:
    "the request carries an expectation other than 100-continue",
  UNSUPPORTED: "the request asks for something that this proxy does not do",
  TUNNEL_REFUSED:
    "the port is declared for HTTP and takes parsed requests alone, no tunnel",
  REQUEST_STALLED: "the caller did not finish sending its request in time",
  RESPONSE_STALLED: "the caller did not take its answer in time",
  DEADLINE_EXCEEDED: "the caller's deadline has passed",
  CLIENT_CLOSED: "the caller went away before it had its answer",
  LOOP: "the request has passed through this proxy already",
  // What policy says.
  DENIED: "a DENY rule of an AuthorizationPolicy matched",
  NOT_ALLOWED:
    "ALLOW policies apply to the workload and none of their rules matched",
  MTLS_REQUIRED: "the port takes mesh mTLS only",
  MISDIRECTED: "the destination is not a declared port of this workload",
  NO_ROUTE: "no rule of the routes that apply matched",
  BACKEND_INVALID: "the route's backend does not exist or may not be used",
  UNKNOWN_DESTINATION:
    "the destination is not in the mesh and outboundTrafficPolicy is REGISTRY_ONLY",
  NO_CONFIG: "the sidecar has no configuration yet",
  // What the resilience policies say.
  NO_ENDPOINT: "the backend has no ready endpoint",
  BREAKER_OPEN: "the circuit breaker of the backend is open",
  OVERFLOW: "a limit of the connection pool is reached",
  REQUEST_TIMEOUT: "the request time-out passed",
  ATTEMPT_TIMEOUT: "the time-out of the last attempt passed",
  IDLE_TIMEOUT: "the stream was idle for too long",
  DRAINING: "this proxy is shutting down",
  OVERLOADED: "the proxy is over its own limits",
  RATE_LIMITED: "a rate limit of the service is used up",
  SHED: "the instance has more to do than it can and takes more important requests first",
  THROTTLED:
    "the service refuses most of what is sent to it, so this call was not sent",
  FAULT_INJECTED: "a FaultInjection made the call fail on purpose",
  // What the peer did.
  CONNECT_FAILED: "no connection to the endpoint could be made",
  CONNECT_TIMEOUT: "the connection to the endpoint was not made in time",
  TLS_FAILED: "the TLS handshake with the endpoint failed",
  WRONG_IDENTITY:
    "the endpoint proved another identity than the one expected of it",
  APPLICATION_UNREACHABLE: "the sidecar could not connect to its application",
  STREAM_REFUSED: "the endpoint refused the stream unprocessed",
  UPSTREAM_RESET: "the endpoint ended the exchange before it was complete",
  UPSTREAM_PROTOCOL: "the endpoint's answer breaks the HTTP grammar",
  // What the sidecar's own pages say.
  BAD_QUESTION: "the page cannot be asked for that",
  NOT_LOCAL: "the page is for those who ask for it as this machine alone",
  CROSS_SITE: "a web page of another site asks for the page",
  TOKEN_REQUIRED: "the page changes something, and the request brings no token",
  NO_PAGE: "there is no such page",
  NOT_READY: "the sidecar is not ready",
  // Us.
  INTERNAL: "a defect of this proxy",
} as const;

export type Code = keyof typeof REASONS;

/** Whose fault a failure is: the caller's side, the upstream side, or this proxy's own decision. */
export type Source = "downstream" | "upstream" | "proxy";

export interface MeshErrorOptions {
  readonly source: Source;
  /** True only where it is certain that no part of the request was processed (law 3). */
  readonly unprocessed?: boolean;
  /** "NAMESPACE/NAME" of the policy that decided. */
  readonly policy?: string;
  readonly answer?: AnswerDetails;
  readonly cause?: unknown;
}

/** What the answer to a failure has besides what its reason gives. */
export interface AnswerDetails {
  /** HTTP and gRPC status in place of the reason's, where a policy of the user's names them. */
  readonly status?: number;
  readonly grpc?: number;
  /** There is no answer: the exchange is broken off. */
  readonly reset?: boolean;
  /** Milliseconds after which the caller may come again: `Retry-After`. */
  readonly retryAfter?: number;
  /** Further fields, by lower-case name. */
  readonly fields?: readonly (readonly [name: string, value: string])[];
}

export class MeshError extends Error {
  override readonly name = "MeshError";
  readonly code: Code;
  readonly source: Source;
  readonly unprocessed: boolean;
  readonly policy: string | undefined;
  readonly answer: AnswerDetails | undefined;

  constructor(code: Code, detail: string, options: MeshErrorOptions) {
    super(
      detail === "" ? REASONS[code] : detail,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = code;
    this.source = options.source;
    this.unprocessed = options.unprocessed ?? false;
    this.policy = options.policy;
    this.answer = options.answer;
  }
}

/** The text of anything that was thrown, for a log line. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Node's `code` of a system error ("ECONNREFUSED"), where there is one. */
export function systemCode(thrown: unknown): string | undefined {
  if (
    thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "string"
  )
    return thrown.code;
  return undefined;
}

/** A fault of configuration or usage that a person must mend: what, where and what to do, in its message. */
export class UserError extends Error {
  override readonly name = "UserError";
}
