/** Where a request that is asked about comes from, as the question says it, and what of its header fields is believed then. */
import { UserError } from "../../core/errors.ts";
import { canonicalAddress } from "../../core/text/network.ts";
import {
  NO_IDENTITY,
  strangersClaims,
} from "../../proxy/exchange/forwarded.ts";
import type { RequestHead } from "../../wire/exchange.ts";
import { canonicalServerName } from "../../wire/tls/client-hello.ts";

/** What the callee's sidecar knows of a connection, as a person writes it. */
export interface AskedOrigin {
  /** IP address that the connection comes from; absent: that of the caller's Workload, where there is one. */
  readonly fromIp?: string | undefined;
  /** The host that TLS names; "": it names none. Absent: nobody has said it. */
  readonly serverName?: string | undefined;
  /** CIDR ranges of `--trusted-proxy` of the callee's sidecar. */
  readonly trustedProxies?: readonly string[] | undefined;
}

/** How a person says an attribute: to `wherry explain`, and in a test. */
export interface Saying {
  readonly option: string;
  readonly field: string;
}

const ADDRESS: Saying = { option: "--from-ip", field: "request.fromIp" };
const SAYINGS: ReadonlyMap<string, Saying> = new Map([
  ["source.ip", ADDRESS],
  ["remote.ip", ADDRESS],
  ["header x-forwarded-for", ADDRESS],
  ["connection.sni", { option: "--server-name", field: "request.serverName" }],
]);
const OF_WORKLOAD = "a Workload with an IP address";

/** What says the attribute: an option, or another resource. */
export function sayingOf(attribute: string): Saying {
  return (
    SAYINGS.get(attribute.toLowerCase()) ?? {
      option: OF_WORKLOAD,
      field: OF_WORKLOAD,
    }
  );
}

/** In the one form that policy compares. Throws UserError. */
export function originOf(
  { fromIp, serverName, trustedProxies }: AskedOrigin,
  plaintext: boolean,
  tunnel: boolean,
): AskedOrigin {
  const address = fromIp === undefined ? undefined : canonicalAddress(fromIp);
  if (fromIp !== undefined && address === undefined)
    throw new UserError(
      `invalid caller's address "${fromIp}": expected an IP address such as 10.1.2.3`,
    );
  const host = serverName === "" ? "" : canonicalNameOf(serverName);
  if (serverName !== undefined && host === undefined)
    throw new UserError(
      `invalid server name "${serverName}": expected a host that TLS can name, such as orders.shop`,
    );
  if (plaintext && !tunnel && host !== undefined && host !== "")
    throw new UserError(
      "a request in plaintext has no TLS that names a host: ask for CONNECT HOST:PORT, or for a caller with an identity",
    );
  return { fromIp: address, serverName: host, trustedProxies };
}

function canonicalNameOf(serverName: string | undefined): string | undefined {
  return serverName === undefined ? undefined : canonicalServerName(serverName);
}

/** Without what the codec takes from a caller of that sort before policy sees it, and with what is known of it instead. */
export function believed(
  head: RequestHead,
  plaintext: boolean,
  { fromIp, trustedProxies = [] }: AskedOrigin,
): RequestHead {
  const { dropped, known } = plaintext
    ? strangersClaims(trustedProxies)(fromIp ?? "")
    : NO_IDENTITY;
  return {
    ...head,
    fields: [
      ...head.fields.filter(({ bits }) => (bits & dropped) === 0),
      // Whose address nobody has said, of that nobody knows what the sidecar writes.
      ...known.filter(({ value }) => value !== ""),
    ],
  };
}
