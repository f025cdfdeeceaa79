/** What is gRPC, and its statuses. A content type alone is not: it would be the caller's word that switches guards off. */
import { GRPC_STATUSES } from "../../mesh/grpc-status.ts";
import { isGrpc } from "../../policy/timeout.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import { fieldValue, type Fields } from "../../wire/fields.ts";

/**
 * gRPC is spoken in HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md). Callers inside the mesh may send it in HTTP/1.1 too, which the link may
 * speak. A stranger's is a request that names a content type: it has the pace and the statuses of all others.
 */
export function isGrpcCall(
  { head, connection }: Pick<ServerStream, "head" | "connection">,
  inside: boolean,
): boolean {
  return (
    (inside || connection.protocol === "h2") &&
    head.protocol === undefined &&
    isGrpc(fieldValue(head.fields, "content-type"))
  );
}

/**
 * The gRPC status in a response's head or trailers; `ended`: nothing follows. Undefined where there is none (yet): a response that is
 * not gRPC's, a proxy's 502 say, is what its HTTP status says.
 */
export function grpcStatusOf(
  fields: Fields | undefined,
  status: number,
  ended: boolean,
): number | undefined {
  const text =
    fields === undefined ? undefined : fieldValue(fields, "grpc-status");
  // An answer that ends without its status is "unknown" to gRPC's clients.
  if (text === undefined)
    return ended && status === 200 ? GRPC_STATUSES.UNKNOWN : undefined;
  return /^[0-9]{1,2}$/.test(text) ? Number(text) : GRPC_STATUSES.UNKNOWN;
}
