/** The one table of reasons: what each says, its statuses, whose fault it is, and what it makes of an attempt (law 9). */
import type { Reason } from "./reason.ts";

const TABLE = {
  // What the caller sent.
  BAD_REQUEST: {
    text: "the request breaks the HTTP grammar",
    hint: "Send a request that follows RFC 9110 and RFC 9112 or RFC 9113.",
    response: { status: 400, grpc: "INTERNAL", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  HEADERS_TOO_LARGE: {
    text: "the request head is over the limit",
    hint: "Send fewer or smaller header fields.",
    response: { status: 431, grpc: "RESOURCE_EXHAUSTED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  BODY_TOO_LARGE: {
    text: "the request body is longer than the Service accepts",
    hint: "Send less at a time, or raise maxRequestBodyBytes in the Service's TrafficPolicy.",
    response: { status: 413, grpc: "RESOURCE_EXHAUSTED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  EXPECTATION_FAILED: {
    text: "the request carries an expectation other than 100-continue",
    hint: "Send no Expect other than 100-continue.",
    response: { status: 417, grpc: "INTERNAL", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  UNSUPPORTED: {
    text: "the request asks for something that this proxy does not do",
    hint: "Use a feature that the proxy knows.",
    response: { status: 501, grpc: "UNIMPLEMENTED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  TUNNEL_REFUSED: {
    text: "the port is declared for HTTP and takes parsed requests alone, no tunnel",
    hint: "Send HTTP, or declare the port tcp or tls in its Service.",
    response: { status: 405, grpc: "UNIMPLEMENTED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  REQUEST_STALLED: {
    text: "the caller did not finish sending its request in time",
    hint: "Send the request without pauses.",
    response: { status: 408, grpc: "DEADLINE_EXCEEDED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  RESPONSE_STALLED: {
    text: "the caller did not take its response in time",
    hint: "Read the response as it comes.",
    response: { status: 408, grpc: "DEADLINE_EXCEEDED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  DEADLINE_EXCEEDED: {
    text: "the caller's deadline has passed",
    hint: "Give the call more time, or make the service faster.",
    response: { status: 504, grpc: "DEADLINE_EXCEEDED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", begun: "cancelled", peer: "peer-refusal" },
  },
  // 499 never reaches the caller, which is gone: nginx's convention, for logs alone.
  CLIENT_CLOSED: {
    text: "the caller went away before it had its response",
    hint: "Wait for the response.",
    response: { status: 499, grpc: "CANCELLED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", begun: "cancelled", peer: "peer-refusal" },
  },
  LOOP: {
    text: "the request has passed through this proxy already",
    hint: "Call the service, not the sidecar's own listener.",
    response: { status: 508, grpc: "INTERNAL", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  // What policy says.
  DENIED: {
    text: "a DENY rule of an AuthorizationPolicy matched",
    hint: "Ask the owner of the policy, or call as an identity that it does not deny.",
    response: { status: 403, grpc: "PERMISSION_DENIED", retryAfter: false },
    fault: "proxy",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  NOT_ALLOWED: {
    text: "ALLOW policies apply to the workload and none of their rules matched",
    hint: "Add a rule that allows this caller to an ALLOW policy of the workload.",
    response: { status: 403, grpc: "PERMISSION_DENIED", retryAfter: false },
    fault: "proxy",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  REVOKED: {
    text: "the certificate at the other end is revoked",
    hint: "See the Revocations of the mesh: enrol the instance anew, or delete the one that names it.",
    response: { status: 403, grpc: "PERMISSION_DENIED", retryAfter: false },
    fault: "proxy",
    outcome: { own: "cancelled", begun: "cancelled", peer: "peer-refusal" },
  },
  TOKEN_INVALID: {
    text: "the request's token satisfies no rule of a RequestAuthentication",
    hint: "Get a new token of an issuer that the workload accepts, or send none.",
    response: { status: 401, grpc: "UNAUTHENTICATED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  // 403, as in Envoy: the token is genuine, and its bearer is known.
  TOKEN_AUDIENCE: {
    text: "the request's token is for another audience",
    hint: "Get a token for an audience that the RequestAuthentication lists.",
    response: { status: 403, grpc: "PERMISSION_DENIED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  // 401, as in Envoy, and closed: without keys no token is believed.
  TOKEN_KEYS_UNAVAILABLE: {
    text: "the keys of the token's issuer cannot be fetched",
    hint: "See the log of the called workload's sidecar; a private address has to be in privateFetch of the Mesh.",
    response: { status: 401, grpc: "UNAUTHENTICATED", retryAfter: false },
    fault: "proxy",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  MTLS_REQUIRED: {
    text: "the port takes mesh mTLS only",
    hint: "Call through a sidecar, or make the port PERMISSIVE in a PeerAuthentication.",
    response: { status: 403, grpc: "PERMISSION_DENIED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  MISDIRECTED: {
    text: "the destination is not a declared port of this workload",
    hint: "Declare the port in a Service that selects this workload.",
    response: { status: 421, grpc: "INTERNAL", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  NO_ROUTE: {
    text: "no rule of the routes that apply matched",
    hint: "Add a rule that matches to a route of the service.",
    response: { status: 404, grpc: "UNIMPLEMENTED", retryAfter: false },
    fault: "proxy",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  // UNAVAILABLE: GRPCRouteRule.backendRefs.
  BACKEND_INVALID: {
    text: "the route's backend does not exist or may not be used",
    hint: "Fix the backendRefs of the route: the Service and port must exist.",
    response: { status: 500, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "proxy",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  UNKNOWN_DESTINATION: {
    text: "the destination is not in the mesh and outboundTrafficPolicy is REGISTRY_ONLY",
    hint: "Declare the destination as a Service, or check its name.",
    response: { status: 502, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "upstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  NO_CONFIG: {
    text: "the sidecar has no configuration, or none for what is called",
    hint: "See the sidecar's /config: whether it is connected to the control plane, and what it refused.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: true },
    fault: "proxy",
    outcome: { own: "cancelled", peer: "shed" },
  },
  // What the resilience policies say.
  NO_ENDPOINT: {
    text: "the backend has no ready endpoint",
    hint: "Start an instance of the service; see the sidecar's /clusters.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: true },
    fault: "proxy",
    outcome: { own: "no-endpoint", peer: "peer-refusal" },
  },
  BREAKER_OPEN: {
    text: "the circuit breaker of the backend is open",
    hint: "Wait: the breaker tries the service again by itself.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: true },
    fault: "proxy",
    outcome: { own: "not-attempted", peer: "peer-refusal" },
  },
  OVERFLOW: {
    text: "a limit of the connection pool is reached",
    hint: "Send less at once, or raise connectionPool in the TrafficPolicy.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: true },
    fault: "proxy",
    outcome: { own: "not-attempted", peer: "shed" },
  },
  REQUEST_TIMEOUT: {
    text: "the request time-out passed",
    hint: "Raise timeouts.request of the route, or make the service faster.",
    response: { status: 504, grpc: "DEADLINE_EXCEEDED", retryAfter: false },
    fault: "proxy",
    outcome: { own: "cancelled", begun: "cancelled", peer: "peer-refusal" },
  },
  ATTEMPT_TIMEOUT: {
    text: "the time-out of the last attempt passed",
    hint: "Raise timeouts.backendRequest of the route, or make the service faster.",
    response: { status: 504, grpc: "DEADLINE_EXCEEDED", retryAfter: false },
    fault: "upstream",
    outcome: { own: "attempt-timeout", peer: "attempt-timeout" },
  },
  IDLE_TIMEOUT: {
    text: "the stream was idle for too long",
    hint: "Send something now and then, or raise defaults.timeouts.streamIdle of the Mesh.",
    response: { status: 504, grpc: "DEADLINE_EXCEEDED", retryAfter: false },
    fault: "upstream",
    outcome: { own: "attempt-timeout", peer: "attempt-timeout" },
  },
  DRAINING: {
    text: "this proxy is shutting down",
    hint: "Call another instance.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: true },
    fault: "proxy",
    outcome: { own: "not-attempted", peer: "shed" },
  },
  OVERLOADED: {
    text: "the proxy is over its own limits",
    hint: "Call again later.",
    response: { status: 503, grpc: "RESOURCE_EXHAUSTED", retryAfter: true },
    fault: "proxy",
    outcome: { own: "not-attempted", peer: "shed" },
  },
  RATE_LIMITED: {
    text: "a rate limit of the service is used up",
    hint: "Send less, wait as long as Retry-After says, or raise rateLimit in the TrafficPolicy.",
    response: { status: 429, grpc: "RESOURCE_EXHAUSTED", retryAfter: true },
    fault: "proxy",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  // No Retry-After: another instance may have room at once.
  SHED: {
    text: "the instance has more to do than it can and takes more important requests first",
    hint: "Call again later, or start more instances; see the sidecar's /overload.",
    response: { status: 503, grpc: "RESOURCE_EXHAUSTED", retryAfter: false },
    fault: "proxy",
    outcome: { own: "not-attempted", peer: "shed" },
  },
  THROTTLED: {
    text: "the service refuses most of what is sent to it, so this call was not sent",
    hint: "Send less, or start more instances of the service.",
    response: { status: 503, grpc: "RESOURCE_EXHAUSTED", retryAfter: true },
    fault: "proxy",
    outcome: { own: "not-attempted", peer: "peer-refusal" },
  },
  FAULT_INJECTED: {
    text: "a FaultInjection made the call fail on purpose",
    hint: "Somebody tests how you take it: see wherry status, and delete the FaultInjection to end it.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "proxy",
    outcome: { own: "not-attempted", peer: "peer-refusal" },
  },
  // What the peer did.
  CONNECT_FAILED: {
    text: "no connection to the endpoint could be made",
    hint: "Check that the instance runs and can be reached.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "upstream",
    outcome: { own: "connect-failure", peer: "application-unreachable" },
  },
  CONNECT_TIMEOUT: {
    text: "the connection to the endpoint was not made in time",
    hint: "Check that the instance runs and can be reached.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "upstream",
    outcome: { own: "connect-failure", peer: "application-unreachable" },
  },
  TLS_FAILED: {
    text: "the TLS handshake with the endpoint failed",
    hint: "Check the certificates of both sidecars; see their /certs.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "proxy",
    outcome: { own: "connect-failure", peer: "peer-refusal" },
  },
  WRONG_IDENTITY: {
    text: "the endpoint proved another identity than the one expected of it",
    hint: "Check what listens at the address of the Workload, and its serviceAccount.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "upstream",
    outcome: { own: "connect-failure", peer: "peer-refusal" },
  },
  // To its callers it sheds: another instance may do, and its application has done nothing.
  MACHINE_ERROR: {
    text: "this proxy's machine had no file handle, memory or port for a connection",
    hint: "Raise the limit on open files, or make room on the machine; see wherry_machine_errors_total.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: true },
    fault: "proxy",
    outcome: {
      own: "machine-failure",
      begun: "machine-reset",
      peer: "shed",
    },
  },
  APPLICATION_UNREACHABLE: {
    text: "the sidecar could not connect to its application",
    hint: "Check that the application runs and listens on its declared port.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "upstream",
    outcome: {
      own: "application-unreachable",
      peer: "application-unreachable",
    },
  },
  STREAM_REFUSED: {
    text: "the endpoint refused the stream unprocessed",
    hint: "Call again: nothing was processed.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "upstream",
    outcome: { own: "reset", peer: "shed" },
  },
  UPSTREAM_RESET: {
    text: "the endpoint ended the exchange before it was complete",
    hint: "See the log of the service: it broke off before its response was complete.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "upstream",
    outcome: { own: "reset", peer: "reset" },
  },
  UPSTREAM_PROTOCOL: {
    text: "the endpoint's response breaks the HTTP grammar",
    hint: "Fix the service: its response breaks the HTTP grammar.",
    response: { status: 502, grpc: "INTERNAL", retryAfter: false },
    fault: "upstream",
    outcome: { own: "reset", peer: "reset" },
  },
  // What the sidecar's own pages say.
  BAD_QUESTION: {
    text: "the page cannot be asked for that",
    hint: "Ask as the response says.",
    response: { status: 400, grpc: "INVALID_ARGUMENT", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  NOT_LOCAL: {
    text: "the page is for requests that name this machine alone",
    hint: "Ask for the page as 127.0.0.1 or localhost.",
    response: { status: 403, grpc: "PERMISSION_DENIED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  CROSS_SITE: {
    text: "a web page of another site asks for the page",
    hint: "Open the page in a tab of its own, or use curl.",
    response: { status: 403, grpc: "PERMISSION_DENIED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  TOKEN_REQUIRED: {
    text: "the page changes something, and the request brings no token",
    hint: "Send Authorization: Bearer TOKEN; the response names the token's file.",
    response: { status: 401, grpc: "UNAUTHENTICATED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  NO_PAGE: {
    text: "there is no such page",
    hint: "Ask for one of the pages that the response lists.",
    response: { status: 404, grpc: "UNIMPLEMENTED", retryAfter: false },
    fault: "downstream",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  NOT_READY: {
    text: "the sidecar is not ready",
    hint: "The page says what is missing.",
    response: { status: 503, grpc: "UNAVAILABLE", retryAfter: false },
    fault: "proxy",
    outcome: { own: "cancelled", peer: "peer-refusal" },
  },
  // Us.
  INTERNAL: {
    text: "a defect of this proxy",
    hint: "Report this with the sidecar's log: it is a defect of Wherry.",
    response: { status: 500, grpc: "INTERNAL", retryAfter: false },
    fault: "proxy",
    outcome: { own: "not-attempted", peer: "peer-refusal" },
  },
} as const;

/** Why a call is refused or fails, as `x-wherry-reason`, log, metrics and spans have it: a row of the table. */
export type Code = keyof typeof TABLE;

export const REASONS: Readonly<Record<Code, Reason>> = TABLE;

export function isCode(text: string): text is Code {
  return Object.hasOwn(REASONS, text);
}
