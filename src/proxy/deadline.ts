/** Until when an exchange may last: policy's rule, applied to the heads as the codecs give them (trap 11). */
import { deadlineOf, isEventStream, type Timeouts } from "../policy/timeout.ts";
import type {
  RequestHead,
  ResponseHead,
  ServerStream,
} from "../wire/exchange.ts";
import { fieldValue, joinedValue } from "../wire/fields.ts";

/** Monotonic milliseconds; Infinity where there is none. */
export function deadlineFor(
  stream: ServerStream,
  timeouts: Timeouts,
  now: number,
): number {
  const { fields, method, protocol } = stream.head;
  return deadlineOf(
    { method, header: (name) => joinedValue(fields, name) },
    protocol,
    timeouts,
    now,
  );
}

/** A tunnel and an event stream have no end that a time-out could wait for. */
export function isEndless(
  request: RequestHead,
  response: ResponseHead,
): boolean {
  return (
    request.method === "CONNECT" ||
    request.protocol !== undefined ||
    isEventStream(fieldValue(response.fields, "content-type"))
  );
}
