/** What would make a pipe of an exchange, whose bytes nobody parses and judges: CONNECT to a port for HTTP, and changes of protocol (law 14). */
import { COMMON_METHODS } from "../../core/text/methods.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { RequestHead } from "../../wire/exchange.ts";
import { isTunnel } from "../../wire/tcp.ts";

/** RFC 9110 15.5.6 asks for it in a 405. Which methods the application has is its own affair. */
export const ALLOW: string = COMMON_METHODS.filter(
  (method) => method !== "CONNECT",
).join(", ");

/**
 * Why the exchange may not become a pipe, where it would. `takesBytes`: the port is declared `tcp` or `tls`. Every way to raw bytes
 * has this shape: a connection that is not HTTP, or that is TLS, is a CONNECT as well (wire/tcp.ts).
 */
export function refusedPipe(
  head: RequestHead,
  takesBytes: boolean,
  port: string,
): MeshError | undefined {
  if (head.protocol !== undefined)
    return new MeshError(
      "UNSUPPORTED",
      "WebSocket and other changes of protocol are not carried; a port that needs one is declared appProtocol: tcp",
      { source: "downstream" },
    );
  if (takesBytes || !isTunnel(head)) return undefined;
  return new MeshError(
    "TUNNEL_REFUSED",
    `${port} is declared for HTTP, and bytes that are not parsed do not reach it; declare appProtocol tcp or tls in its Service to open it to them`,
    { source: "downstream", answer: { fields: [["allow", ALLOW]] } },
  );
}
