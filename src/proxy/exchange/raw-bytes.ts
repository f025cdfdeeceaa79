/** What would make a pipe of an exchange whose bytes nobody parses and judges: CONNECT to a port for HTTP, and changes of protocol but WebSocket (law 14). */
import { COMMON_METHODS } from "../../core/text/methods.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import { comparableAddress } from "../../core/text/network.ts";
import { MeshError } from "../../mesh/errors.ts";
import { isOpaque } from "../../policy/compile/clusters.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
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
  return tunnelRefused(port, false);
}

function tunnelRefused(port: string, unprocessed: boolean): MeshError {
  return new MeshError(
    "TUNNEL_REFUSED",
    `${port} is declared for HTTP, and bytes that are not parsed do not reach it; declare appProtocol tcp or tls in its Service to open it to them`,
    {
      ...{ source: "downstream", unprocessed },
      answer: { fields: [["allow", ALLOW]] },
    },
  );
}

/** Where a connection that bytes are to go on has come to; `own`: on this machine. */
export interface Reached {
  readonly address: string;
  readonly port: number;
  readonly own: boolean;
}

/**
 * Why no bytes go on a connection that has been made for a tunnel: the target's name was not judged, but the address that it led to has
 * a port for HTTP, the own application's among them. A system's resolver has many spellings of one address.
 */
export function refusedTarget(
  snapshot: Snapshot | undefined,
  { address, port, own }: Reached,
): MeshError | undefined {
  if (snapshot === undefined) return undefined;
  const declared = own ? snapshot.inbound.byPort(port) : undefined;
  const called = snapshot.destinationByAddress(
    comparableAddress(address),
    port,
  );
  const takesBytes =
    declared?.takesBytes ?? (called === undefined || isOpaque(called.port));
  return takesBytes
    ? undefined
    : tunnelRefused(formatHostPort(address, port), true);
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
