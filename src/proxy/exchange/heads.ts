/** Which header fields cross the proxy in each direction: what steers the mesh or claims an identity never does (law 5). */
import {
  applyEdits,
  type HeaderEdits,
} from "../../policy/routing/header-edits.ts";
import type { Clock } from "../../core/clock.ts";
import { parseRetryAfter } from "../../policy/outcome.ts";
import type { RequestHead, ResponseHead } from "../../wire/exchange.ts";
import { countDown } from "./max-forwards.ts";
import { FieldClass } from "../../mesh/field-class.ts";
import {
  fieldValue,
  makeField,
  type Field,
  type Fields,
} from "../../wire/fields.ts";

const { MESH, TRACE } = FieldClass;

/** Where on the link a stream goes (design: the link). */
export const DESTINATION = "x-wherry-destination";
export const REASON = "x-wherry-reason";
export const ATTEMPT = "x-wherry-attempt";
/** In a request: tell me your load. In a response: "RIF,LATENCY-IN-MICROSECONDS,LIMIT". */
export const LOAD = "x-wherry-load";
/** In a response: the least important priority that is let in now (policy/priority.ts). */
export const ADMISSION = "x-wherry-admission";

/** Fields without those of the mesh. The same list where there are none. */
export function withoutMesh(fields: Fields): Fields {
  for (const field of fields)
    if ((field.bits & MESH) !== 0)
      return fields.filter(({ bits }) => (bits & MESH) === 0);
  return fields;
}

/** Fields without those of the mesh but its reason, which a trusted peer gave. */
export function withReasonOnly(fields: Fields): Fields {
  for (const field of fields)
    if ((field.bits & MESH) !== 0 && field.name !== REASON)
      return fields.filter(
        ({ bits, name }) => (bits & MESH) === 0 || name === REASON,
      );
  return fields;
}

/** Milliseconds that a response asks callers to wait for, where its status may. */
export function retryAfterOf(
  { status, fields }: ResponseHead,
  clock: Clock,
): number | undefined {
  return status === 429 || status === 503
    ? parseRetryAfter(fieldValue(fields, "retry-after"), clock.wall())
    : undefined;
}

const attemptFields = new Map<number, Field>();

/** `x-wherry-attempt` of a request that is not the first of its kind. */
export function attemptField(attempt: number): Field {
  let field = attemptFields.get(attempt);
  if (field === undefined) {
    field = makeField(ATTEMPT, String(attempt));
    attemptFields.set(attempt, field);
  }
  return field;
}

export interface OutgoingHead {
  readonly authority: string;
  /** Path and query, normalised. */
  readonly path: string;
  readonly edits: HeaderEdits | undefined;
  /** The destination field, where the request goes over the link. */
  readonly destination: Field | undefined;
  /** Asks the responder for its load. */
  readonly load?: Field | undefined;
  readonly attempt: number;
  readonly trace: Fields;
  /** What is left of the caller's deadline, where it speaks gRPC and gave one. */
  readonly grpcTimeout: string | undefined;
  /** Absent: what the caller said. */
  readonly scheme?: "https" | undefined;
  /** The next hop is an HTTP proxy to the caller; absent: it is not. */
  readonly absoluteForm?: boolean;
  /** What is left of the time of the attempt, where the next sidecar is to know it. */
  readonly deadline?: Field | undefined;
}

/** The head that goes upstream. */
export function requestHead(
  received: RequestHead,
  outgoing: OutgoingHead,
): RequestHead {
  const { trace, edits, destination, attempt, grpcTimeout } = outgoing;
  const dropped = trace.length > 0 ? MESH | TRACE : MESH;
  const fields: Field[] = [];
  for (const field of received.fields) {
    if ((field.bits & dropped) !== 0) continue;
    if (grpcTimeout !== undefined && field.name === "grpc-timeout")
      fields.push(makeField("grpc-timeout", grpcTimeout, "without"));
    else fields.push(field);
  }
  countDown(received.method, fields);
  const edited =
    edits === undefined ? fields : applyEdits(fields, edits, makeField);
  for (const field of trace) edited.push(field);
  if (destination !== undefined) edited.push(destination);
  if (outgoing.load !== undefined) edited.push(outgoing.load);
  if (attempt > 1) edited.push(attemptField(attempt));
  if (outgoing.deadline !== undefined) edited.push(outgoing.deadline);
  return {
    method: received.method,
    scheme: outgoing.scheme ?? received.scheme,
    authority: outgoing.authority,
    path: outgoing.path,
    protocol: received.protocol,
    fields: edited,
    contentLength: received.contentLength,
    acceptsTrailers: received.acceptsTrailers,
    absoluteForm: outgoing.absoluteForm ?? false,
  };
}

/** The head that goes back to the caller. */
export function responseHead(
  received: ResponseHead,
  edits: HeaderEdits | undefined,
  keepReason: boolean,
): ResponseHead {
  const kept = keepReason
    ? withReasonOnly(received.fields)
    : withoutMesh(received.fields);
  const fields =
    edits === undefined ? kept : applyEdits(kept, edits, makeField);
  if (fields === received.fields) return received;
  return {
    status: received.status,
    fields,
    contentLength: received.contentLength,
  };
}
