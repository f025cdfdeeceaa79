/** What would make a pipe of an exchange whose bytes nobody parses and judges: CONNECT to a port for HTTP, and changes of protocol but WebSocket (law 14). */
import { COMMON_METHODS } from "../../core/text/methods.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import { REFUSALS } from "../../wire/refusal.ts";
import { isTunnel } from "../../wire/tcp.ts";
import {
  handshakeFlaw,
  isKnownVersion,
  VERSION,
  WEBSOCKET,
} from "../../wire/websocket/handshake.ts";

/** The part of a request that decides. */
export type Piped = Pick<ServerStream, "head" | "ended"> & {
  readonly connection: Pick<ServerStream["connection"], "protocol">;
};

/** RFC 9110 15.5.6 asks for it in a 405. Which methods the application has is its own affair. */
export const ALLOW: string = COMMON_METHODS.filter(
  (method) => method !== "CONNECT",
).join(", ");

/**
 * Why the exchange may not become a pipe, where it would. `takesBytes`: the port is declared `tcp` or `tls`. Every way to raw bytes
 * has this shape: a connection that is not HTTP, or that is TLS, is a CONNECT as well (wire/tcp.ts).
 */
export function refusedPipe(
  stream: Piped,
  takesBytes: boolean,
  port: string,
): MeshError | undefined {
  const { head } = stream;
  if (head.protocol !== undefined) return refusedSwitch(stream, head.protocol);
  if (takesBytes || !isTunnel(head)) return undefined;
  return new MeshError(
    "TUNNEL_REFUSED",
    `${port} is declared for HTTP, and bytes that are not parsed do not reach it; declare appProtocol tcp or tls in its Service to open it to them`,
    { source: "downstream", answer: { fields: [["allow", ALLOW]] } },
  );
}

/** A WebSocket is judged by its handshake, as the GET that it is, and once more whenever policy changes (open-ended.ts). */
function refusedSwitch(
  { head, ended, connection }: Piped,
  protocol: string,
): MeshError | undefined {
  const source = "downstream";
  if (protocol !== WEBSOCKET)
    return new MeshError(
      "UNSUPPORTED",
      "no change of protocol but WebSocket is carried; a port that needs one is declared appProtocol: tcp",
      { source },
    );
  const flaw = ended
    ? "a WebSocket handshake that ends the stream"
    : handshakeFlaw(head, connection.protocol === "http/1.1");
  if (flaw !== undefined)
    return new MeshError("BAD_REQUEST", `${flaw} (RFC 6455 4.1)`, { source });
  return isKnownVersion(head)
    ? undefined
    : new MeshError("UNSUPPORTED", "the version of WebSocket is not 13", {
        source,
        answer: {
          status: REFUSALS.webSocketVersion.status,
          fields: [[VERSION, "13"]],
        },
      });
}
