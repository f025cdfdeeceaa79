/** Until when an exchange may last: policy's rule, applied to the heads as the codecs give them (trap 11), and what a peer learns of it. */
import { memo } from "../../../core/memo.ts";
import { MeshError } from "../../../mesh/errors.ts";
import {
  deadlineOf,
  isEventStream,
  isMessageStream,
  type Timeouts,
} from "../../../policy/timeout.ts";
import type {
  RequestHead,
  ResponseHead,
  ServerStream,
} from "../../../wire/exchange.ts";
import { FieldClass } from "../../../mesh/field-class.ts";
import {
  fieldValue,
  joinedValue,
  makeField,
  type Field,
} from "../../../wire/fields.ts";
import type { RequestRecord } from "../request-record.ts";
import type { TimeSpent } from "./time-spent.ts";
import type { RoutePlan } from "../route-plan.ts";

/** Milliseconds that are left of a request, from one sidecar to the next: relative, for clocks differ. Applications never see it. */
export const DEADLINE = "x-wherry-deadline";

/**
 * Milliseconds that the callee's side goes on beyond the deadline. The caller's side cancels the work when its own clock rings, and
 * what it then does (a retry, say) is what counts; this is for the case that its word does not arrive.
 */
export const GRACE = 50;

/** What is left, as the next sidecar learns it. Rounded up: it must not be the first whose time runs out. */
export function deadlineField(left: number): Field {
  return makeField(DEADLINE, String(Math.max(0, Math.ceil(left))), "without");
}

/** What a peer's sidecar says is left, in milliseconds; undefined where it says nothing, or where the caller proved no identity. */
export function deadlineLeft({
  head,
  connection,
}: ServerStream): number | undefined {
  if (connection.peer === undefined) return undefined;
  for (const field of head.fields)
    if ((field.bits & FieldClass.MESH) !== 0 && field.name === DEADLINE)
      return /^[0-9]{1,10}$/.test(field.value)
        ? Number(field.value)
        : undefined;
  return undefined;
}

/** The work is refused, or broken off, because its caller has given up on it. */
export function deadlineExceeded(detail: string): MeshError {
  return new MeshError("DEADLINE_EXCEEDED", detail, { source: "downstream" });
}

/** The whole exchange took too long; the words say for what. */
export function outOfTime(exchange: {
  readonly plan: RoutePlan;
  readonly record: RequestRecord;
  readonly grpc: boolean;
  readonly spent: TimeSpent | undefined;
  now(): number;
}): MeshError {
  const { plan, record, grpc, spent } = exchange;
  const told = spent?.tell(record.attempts, exchange.now()) ?? "";
  if (plan.callee)
    return deadlineExceeded(`the caller's deadline passed: ${told}`);
  const whose = grpc ? "the caller's grpc-timeout" : "timeouts.request";
  return new MeshError("REQUEST_TIMEOUT", `${whose} passed: ${told}`, {
    source: "proxy",
  });
}

/** One attempt took too long; `written`: its request went out. */
export function attemptOutOfTime(
  address: string,
  written: boolean,
  told: string,
): MeshError {
  return written
    ? new MeshError(
        "ATTEMPT_TIMEOUT",
        `${address} did not respond within timeouts.backendRequest: ${told}`,
        { source: "upstream" },
      )
    : new MeshError(
        "CONNECT_TIMEOUT",
        `no connection to ${address} within timeouts.backendRequest: ${told}`,
        { source: "upstream", unprocessed: true },
      );
}

/** Monotonic milliseconds; Infinity where there is none. `grpc`: the caller speaks it, and may have a time-out of its own. */
export function deadlineFor(
  stream: ServerStream,
  grpc: boolean,
  timeouts: Timeouts,
  now: number,
): number {
  if (!grpc && timeouts.request <= 0) return Infinity;
  const { fields, method } = stream.head;
  return deadlineOf(
    { method, header: (name) => joinedValue(fields, name) },
    timeouts,
    now,
  );
}

type Flow = "endless" | "messages" | undefined;

/**
 * A tunnel, a WebSocket and an event stream have no end that a time-out could wait for: "endless". "messages": as long as an event
 * stream, but within its time-outs. Undefined: it ends with its content.
 */
export function flowOf(request: RequestHead, response: ResponseHead): Flow {
  if (request.method === "CONNECT" || response.status === 101) return "endless";
  const contentType = fieldValue(response.fields, "content-type");
  return contentType === undefined ? undefined : flowOfType(contentType);
}

/** Applications send few types, and each with every response. */
const flowOfType: (type: string) => Flow = memo((type) => {
  if (isEventStream(type)) return "endless";
  return isMessageStream(type) ? "messages" : undefined;
});
