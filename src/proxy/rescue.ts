/** The only place that turns a failure into a status, a grpc-status or a reset (law 9). */
import { MeshError, REASONS, type Code } from "../core/errors.ts";
import { applyEdits, type HeaderEdits } from "../policy/header-edits.ts";
import type { ServerStream } from "../wire/exchange.ts";
import { isGrpcCall } from "./grpc.ts";
import { makeField, type Field } from "../wire/fields.ts";

export interface Rescue {
  /** HTTP status of an answer that had not begun. */
  readonly status: number;
  /** grpc-status for a caller that speaks gRPC (grpc/doc/statuscodes.md, http-grpc-status-mapping.md). */
  readonly grpc: number;
  /** Whether `Retry-After` stands in the answer. */
  readonly retryAfter: boolean;
  /** What whoever reads the answer can do. */
  readonly advice: string;
}

const GRPC = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

/** A status that says nothing to the caller, who is gone: nginx's convention, for logs alone. */
export const CLIENT_CLOSED_STATUS = 499;

function row(
  status: number,
  grpc: number,
  advice: string,
  retryAfter = false,
): Rescue {
  return { status, grpc, retryAfter, advice };
}

export const RESCUES: Readonly<Record<Code, Rescue>> = {
  BAD_REQUEST: row(
    400,
    GRPC.INTERNAL,
    "Send a request that follows RFC 9110 and RFC 9112 or RFC 9113.",
  ),
  HEADERS_TOO_LARGE: row(
    431,
    GRPC.RESOURCE_EXHAUSTED,
    "Send fewer or smaller header fields.",
  ),
  EXPECTATION_FAILED: row(
    417,
    GRPC.INTERNAL,
    "Send no Expect other than 100-continue.",
  ),
  UNSUPPORTED: row(
    501,
    GRPC.UNIMPLEMENTED,
    "Use a feature that the proxy knows.",
  ),
  TUNNEL_REFUSED: row(
    405,
    GRPC.UNIMPLEMENTED,
    "Send HTTP, or declare the port tcp or tls in its Service.",
  ),
  REQUEST_STALLED: row(
    408,
    GRPC.DEADLINE_EXCEEDED,
    "Send the request without pauses.",
  ),
  RESPONSE_STALLED: row(
    408,
    GRPC.DEADLINE_EXCEEDED,
    "Read the answer as it comes.",
  ),
  DEADLINE_EXCEEDED: row(
    504,
    GRPC.DEADLINE_EXCEEDED,
    "Give the call more time, or make the service faster.",
  ),
  CLIENT_CLOSED: row(
    CLIENT_CLOSED_STATUS,
    GRPC.CANCELLED,
    "Wait for the answer.",
  ),
  LOOP: row(
    508,
    GRPC.INTERNAL,
    "Call the service, not the sidecar's own listener.",
  ),
  DENIED: row(
    403,
    GRPC.PERMISSION_DENIED,
    "Ask the owner of the policy, or call as an identity that it does not deny.",
  ),
  NOT_ALLOWED: row(
    403,
    GRPC.PERMISSION_DENIED,
    "Add a rule that allows this caller to an ALLOW policy of the workload.",
  ),
  MTLS_REQUIRED: row(
    403,
    GRPC.PERMISSION_DENIED,
    "Call through a sidecar, or make the port PERMISSIVE in a PeerAuthentication.",
  ),
  MISDIRECTED: row(
    421,
    GRPC.INTERNAL,
    "Declare the port in a Service that selects this workload.",
  ),
  NO_ROUTE: row(
    404,
    GRPC.UNIMPLEMENTED,
    "Add a rule that matches to a route of the service.",
  ),
  // UNAVAILABLE: GRPCRouteRule.backendRefs.
  BACKEND_INVALID: row(
    500,
    GRPC.UNAVAILABLE,
    "Mend the backendRefs of the route: the Service and port must exist.",
  ),
  UNKNOWN_DESTINATION: row(
    502,
    GRPC.UNAVAILABLE,
    "Declare the destination as a Service, or check its name.",
  ),
  NO_CONFIG: row(
    503,
    GRPC.UNAVAILABLE,
    "Wait for the sidecar's first configuration; see its /config.",
    true,
  ),
  NO_ENDPOINT: row(
    503,
    GRPC.UNAVAILABLE,
    "Start an instance of the service; see the sidecar's /clusters.",
    true,
  ),
  BREAKER_OPEN: row(
    503,
    GRPC.UNAVAILABLE,
    "Wait: the breaker tries the service again by itself.",
    true,
  ),
  OVERFLOW: row(
    503,
    GRPC.UNAVAILABLE,
    "Send less at once, or raise connectionPool in the TrafficPolicy.",
    true,
  ),
  REQUEST_TIMEOUT: row(
    504,
    GRPC.DEADLINE_EXCEEDED,
    "Raise timeouts.request of the route, or make the service faster.",
  ),
  ATTEMPT_TIMEOUT: row(
    504,
    GRPC.DEADLINE_EXCEEDED,
    "Raise timeouts.backendRequest of the route, or make the service faster.",
  ),
  IDLE_TIMEOUT: row(
    504,
    GRPC.DEADLINE_EXCEEDED,
    "Send something now and then, or raise defaults.timeouts.streamIdle of the Mesh.",
  ),
  DRAINING: row(503, GRPC.UNAVAILABLE, "Call another instance.", true),
  OVERLOADED: row(503, GRPC.RESOURCE_EXHAUSTED, "Call again later.", true),
  RATE_LIMITED: row(
    429,
    GRPC.RESOURCE_EXHAUSTED,
    "Send less, wait as long as Retry-After says, or raise rateLimit in the TrafficPolicy.",
    true,
  ),
  // No Retry-After: another instance may have room at once.
  SHED: row(
    503,
    GRPC.RESOURCE_EXHAUSTED,
    "Call again later, or start more instances; see the sidecar's /overload.",
  ),
  THROTTLED: row(
    503,
    GRPC.RESOURCE_EXHAUSTED,
    "Send less, or start more instances of the service.",
    true,
  ),
  FAULT_INJECTED: row(
    503,
    GRPC.UNAVAILABLE,
    "Somebody tests how you take it: see wherry status, and delete the FaultInjection to end it.",
  ),
  CONNECT_FAILED: row(
    503,
    GRPC.UNAVAILABLE,
    "Check that the instance runs and can be reached.",
  ),
  CONNECT_TIMEOUT: row(
    503,
    GRPC.UNAVAILABLE,
    "Check that the instance runs and can be reached.",
  ),
  TLS_FAILED: row(
    503,
    GRPC.UNAVAILABLE,
    "Check the certificates of both sidecars; see their /certs.",
  ),
  WRONG_IDENTITY: row(
    503,
    GRPC.UNAVAILABLE,
    "Check what listens at the address of the Workload, and its serviceAccount.",
  ),
  APPLICATION_UNREACHABLE: row(
    503,
    GRPC.UNAVAILABLE,
    "Check that the application runs and listens on its declared port.",
  ),
  STREAM_REFUSED: row(
    503,
    GRPC.UNAVAILABLE,
    "Call again: nothing was processed.",
  ),
  UPSTREAM_RESET: row(
    503,
    GRPC.UNAVAILABLE,
    "See the log of the service: it broke off before it had answered.",
  ),
  UPSTREAM_PROTOCOL: row(
    502,
    GRPC.INTERNAL,
    "Mend the service: its answer breaks the HTTP grammar.",
  ),
  BAD_QUESTION: row(400, GRPC.INVALID_ARGUMENT, "Ask as the answer says."),
  NOT_LOCAL: row(
    403,
    GRPC.PERMISSION_DENIED,
    "Ask for the page as 127.0.0.1 or localhost.",
  ),
  CROSS_SITE: row(
    403,
    GRPC.PERMISSION_DENIED,
    "Open the page in a tab of its own, or use curl.",
  ),
  TOKEN_REQUIRED: row(
    401,
    GRPC.UNAUTHENTICATED,
    "Send Authorization: Bearer TOKEN; the answer names the token's file.",
  ),
  NO_PAGE: row(
    404,
    GRPC.UNIMPLEMENTED,
    "Ask for one of the pages that the answer lists.",
  ),
  NOT_READY: row(
    503,
    GRPC.UNAVAILABLE,
    "See /config and /certs for what is missing.",
  ),
  INTERNAL: row(
    500,
    GRPC.INTERNAL,
    "Report this with the sidecar's log: it is a defect of Wherry.",
  ),
};

/** A failure is a MeshError or a defect of ours; a defect is told as such, without its text. */
export function asMeshError(thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown;
  return new MeshError("INTERNAL", "", { source: "proxy", cause: thrown });
}

/** `CODE; policy=NAMESPACE/NAME`: the value of `x-wherry-reason`. */
export function reasonValue(error: MeshError): string {
  return error.policy === undefined
    ? error.code
    : `${error.code}; policy=${error.policy}`;
}

export interface RescueOptions {
  /** The caller is inside the mesh (on the link, or the local application): it is told the reason. */
  readonly inside: boolean;
  /** Seconds for `Retry-After`, where the row asks for it. */
  readonly retryAfter?: number;
  /** By the route's CORS. A browser keeps an answer without it from the page, status and all. */
  readonly readers?: HeaderEdits | undefined;
}

/** Answers `stream`, whose answer has not begun, with `error`. Returns the HTTP status that was sent. */
export function rescue(
  stream: ServerStream,
  error: MeshError,
  options: RescueOptions,
): number {
  const found = RESCUES[error.code];
  const { answer } = error;
  if (error.code === "CLIENT_CLOSED") {
    stream.abort(error);
    return CLIENT_CLOSED_STATUS;
  }
  if (answer?.reset === true) {
    stream.abort(error);
    return 0;
  }
  const status = answer?.status ?? found.status;
  const fields: Field[] =
    options.readers === undefined
      ? []
      : applyEdits([], options.readers, makeField);
  if (options.inside)
    fields.push(makeField("x-wherry-reason", reasonValue(error), "without"));
  if (found.retryAfter)
    fields.push(makeField("retry-after", String(secondsOf(error, options))));
  for (const [name, value] of answer?.fields ?? [])
    fields.push(makeField(name, value));
  if (isGrpcCall(stream, options.inside)) {
    fields.push(
      makeField("content-type", "application/grpc"),
      makeField("grpc-status", String(answer?.grpc ?? found.grpc)),
      makeField("grpc-message", percentEncode(error.message), "without"),
    );
    stream.respond({ status: 200, fields, contentLength: undefined }, true);
    return 200;
  }
  const text = options.inside
    ? `${error.code}: ${error.message}. ${found.advice}\n`
    : `${REASONS[error.code]}.\n`;
  const body = Buffer.from(text, "utf8");
  fields.push(makeField("content-type", "text/plain; charset=utf-8"));
  // A CONNECT or HEAD that is refused has no use for a body, and HEAD must not have one.
  const bare = stream.head.method === "HEAD";
  stream.respond({ status, fields, contentLength: body.length }, bare);
  if (!bare) {
    stream.write(body);
    stream.end();
  }
  return status;
}

function secondsOf(error: MeshError, { retryAfter }: RescueOptions): number {
  const own = error.answer?.retryAfter;
  return Math.max(
    1,
    own === undefined ? (retryAfter ?? 1) : Math.ceil(own / 1000),
  );
}

/** The Percent-Encoded form of grpc-message (gRPC over HTTP/2, "Responses"): all but printable ASCII, and "%". */
function percentEncode(text: string): string {
  let encoded = "";
  for (const octet of Buffer.from(text, "utf8"))
    encoded +=
      octet >= 0x20 && octet <= 0x7e && octet !== 0x25
        ? String.fromCharCode(octet)
        : `%${octet.toString(16).toUpperCase().padStart(2, "0")}`;
  return encoded;
}
