/** Refusals before a request has a plan: recorded and sent like every other. */
import { MeshError } from "../../mesh/errors.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import { RequestRecord, type TelemetrySinks } from "./request-record.ts";
import type { Direction } from "../../telemetry/meters.ts";
import type { RelayHost } from "./relay-host.ts";
import { asMeshError } from "./rescue.ts";

/** Goes on with a request that has its record: a defect on the way is reported as its end, and not as another request's. */
export function attend(
  record: Pick<RequestRecord, "refuse">,
  inside: boolean,
  go: () => void,
): void {
  try {
    go();
  } catch (defect) {
    record.refuse(asMeshError(defect), inside);
  }
}

/** Responds to `stream` with `error`, which is reported under the name `destination`. */
export function refuse(
  sinks: TelemetrySinks,
  direction: Direction,
  stream: ServerStream,
  destination: string,
  error: MeshError,
  inside: boolean,
): void {
  new RequestRecord(sinks, direction, stream, destination).refuse(
    error,
    inside,
  );
}

/** Serves `stream`, up to its record; a defect on the way is an INTERNAL for this one request, not the end of the process. */
export function guarded(
  sinks: TelemetrySinks,
  direction: Direction,
  stream: ServerStream,
  serve: () => void,
): void {
  try {
    serve();
  } catch (defect) {
    refuse(
      sinks,
      direction,
      stream,
      "unknown",
      asMeshError(defect),
      direction === "outbound" || stream.connection.peer !== undefined,
    );
  }
}

/** Why no exchange more is taken, where none is: so many are in flight, or so much is held, or memory is short. */
export function overload({
  idle,
  maxActive,
  buffers,
}: Pick<RelayHost, "idle" | "maxActive" | "buffers">): MeshError | undefined {
  if (idle.active < maxActive && !buffers.full) return undefined;
  return new MeshError(
    "OVERLOADED",
    maxActive === 0
      ? "this proxy is short of memory"
      : idle.active < maxActive
        ? `this proxy holds ${buffers.limit} bytes that others do not take, and no more`
        : `${maxActive} requests are in flight in this proxy, and no more are taken`,
    { source: "proxy", unprocessed: true },
  );
}
