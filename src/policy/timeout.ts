/**
 * How long a request and each of its attempts may take (trap 11).
 *
 * `request` spans all tries and back-off and runs to the last response byte; no attempt outlives it. What has no natural end
 * (an event stream, a WebSocket, a tunnel) has no request time-out once it is open, and gRPC goes by the deadline that its caller sent.
 */
import { durationOf } from "../core/duration.ts";
import type { MonotonicMs } from "../core/units.ts";
import type { HTTPRouteTimeouts } from "../resources/http-route/spec.ts";

/** Milliseconds; 0 is off. */
export interface Timeouts {
  /** All tries and back-off, to the last response byte. */
  readonly request: number;
  /** One try. */
  readonly backendRequest: number;
}

/** A route's time-outs over the mesh's default; "0s" turns the default off. */
export function effectiveTimeouts(
  route: HTTPRouteTimeouts | undefined,
  defaults: { readonly request: number },
): Timeouts {
  return {
    request:
      route?.request === undefined
        ? defaults.request
        : durationOf(route.request),
    backendRequest:
      route?.backendRequest === undefined
        ? 0
        : durationOf(route.backendRequest),
  };
}

/** What decides on the deadline of a request. */
export interface TimedRequest {
  readonly method: string;
  /** By lower-case name. */
  header(name: string): string | undefined;
}

/** The monotonic time by which the whole exchange must be over; Infinity where there is none. */
export function deadlineOf(
  request: TimedRequest,
  timeouts: Timeouts,
  now: MonotonicMs,
): number {
  return now + spanOf(request, timeouts);
}

/** Milliseconds that the whole exchange may take; Infinity where that is not bounded. */
export function spanOf(request: TimedRequest, timeouts: Timeouts): number {
  if (request.method === "CONNECT") return Number.POSITIVE_INFINITY;
  if (isGrpc(request.header("content-type")))
    return (
      parseGrpcTimeout(request.header("grpc-timeout")) ??
      Number.POSITIVE_INFINITY
    );
  return timeouts.request === 0 ? Number.POSITIVE_INFINITY : timeouts.request;
}

/** True for the answer of a stream that has no end: its arrival cancels the request time-out. */
export function isEventStream(contentType: string | undefined): boolean {
  return (
    contentType !== undefined &&
    /^text\/event-stream\s*(;|$)/i.test(contentType)
  );
}

/** True for content that is one message after the other, for as long as its sender has any: other forms of an event stream, which time-outs end. */
export function isMessageStream(contentType: string | undefined): boolean {
  return contentType !== undefined && MESSAGES.test(contentType);
}

/** JSON in lines or sequences (RFC 7464), as Kubernetes streams what it watches, and pictures of a camera. */
const MESSAGES =
  /^(?:application\/(?:(?:x-)?ndjson|(?:x-)?jsonl(?:ines)?|json-seq|(?:x-)?(?:stream\+json|json-stream))|multipart\/x-mixed-replace)\s*(?:;|$)|;\s*stream\s*=/i;

export function isGrpc(contentType: string | undefined): boolean {
  return (
    contentType !== undefined &&
    /^application\/grpc\s*([+;]|$)/i.test(contentType)
  );
}

const GRPC_UNIT: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1 / 1000,
  n: 1 / 1_000_000,
};

/** Milliseconds of a `grpc-timeout` ("PROTOCOL-HTTP2.md": at most 8 digits and a unit); undefined where it is none. */
export function parseGrpcTimeout(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,8}[HMSmun]$/.test(text))
    return undefined;
  return Number(text.slice(0, -1)) * (GRPC_UNIT[text.slice(-1)] ?? 0);
}

/** Milliseconds before its caller's deadline from which a server may report that deadline as exceeded. */
const EARLY = 50;

/**
 * Whether a server that reports DEADLINE_EXCEEDED speaks of its caller's deadline, and not of one of its own. It need not wait to the
 * end: clocks and units are rounded, and libraries keep time for the response. Most of what it was given must be over all the same.
 * `given` and `left`: milliseconds to the deadline when the request went out, and now; Infinity without one.
 */
export function isCallersDeadline(given: number, left: number): boolean {
  return left <= Math.min(EARLY, given / 2);
}

/** The `grpc-timeout` to send on: what is left, in the finest unit that holds it in 8 digits. */
export function formatGrpcTimeout(ms: number): string {
  const left = Math.max(0, ms);
  if (left < 99_999) return `${Math.floor(left * 1000)}u`;
  if (left < 99_999_999) return `${Math.floor(left)}m`;
  return `${Math.min(99_999_999, Math.floor(left / 1000))}S`;
}
