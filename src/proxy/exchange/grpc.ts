/** What is gRPC: a content type alone is not, for it would be the caller's word that switches guards off. */
import { isGrpc } from "../../policy/timeout.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import { fieldValue } from "../../wire/fields.ts";

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
