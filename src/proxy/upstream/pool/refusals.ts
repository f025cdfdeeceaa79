/** What those get that a pool gives no connection, or whose connection it takes away. */
import { MeshError } from "../../../mesh/errors.ts";

/** The other end says nothing; `evidence`: what was seen. */
export function silent(evidence: string, unprocessed: boolean): MeshError {
  return new MeshError("UPSTREAM_RESET", evidence, {
    source: "upstream",
    silent: true,
    unprocessed,
  });
}

export function closing(): MeshError {
  // "Refused", not "failed": it says nothing of the endpoint.
  return new MeshError(
    "STREAM_REFUSED",
    "the connection was let go before it was used",
    { source: "proxy", unprocessed: true },
  );
}
