/**
 * The packet rules of transparent capture, as iptables-restore reads them.
 *
 * ```
 * application ─OUTPUT→ not the proxy's, not loopback ─REDIRECT→ 15001 (sidecar, outbound)
 * network ─PREROUTING→ for this host, not the link, not a stated port ─REDIRECT→ 15006 (sidecar, inbound)
 * ```
 * Only chains of our own are touched, so installing twice and removing leave other rules as they were.
 *
 * The rules are to stand before application and sidecar start. A connection that was open before connection tracking began
 * the kernel takes the next packet for a first one, which is captured, and the connection breaks. Rules for SYN packets alone would
 * spare it; but whether a connection is captured must not hang on how soon the kernel forgets an entry that a stray packet made.
 */
import ipaddr from "ipaddr.js";
import { messageOf, UserError } from "../core/errors.ts";

export type Family = "ipv4" | "ipv6";

export const FAMILIES: readonly Family[] = ["ipv4", "ipv6"];

export interface Interception {
  readonly proxyUid: number;
  readonly outboundPort: number;
  readonly inboundPort: number;
  readonly excludedInbound: readonly number[];
  readonly excludedOutbound: readonly number[];
  /** CIDR ranges of either family. */
  readonly excludedAddresses: readonly string[];
}

const OUTBOUND = "WHERRY_OUTPUT";
const INBOUND = "WHERRY_INBOUND";

/**
 * A link-local address means nothing without its interface, which the kernel does not keep for the sidecar: it could not carry the
 * call on. No workload is registered under one, and what comes in on one is captured like the rest.
 */
const LINK_LOCAL: Readonly<Record<Family, readonly string[]>> = {
  ipv4: [],
  ipv6: ["fe80::/10"],
};

const HOOKS: readonly string[] = [
  `OUTPUT -p tcp -j ${OUTBOUND}`,
  `PREROUTING -p tcp -j ${INBOUND}`,
];

/**
 * Rules of the `nat` table for one family. `saved` is what iptables-save prints of that table now: a jump that stands is not
 * added again, and a chain that is declared is emptied first, so that the second time gives the same rules.
 */
export function interceptionRules(
  interception: Interception,
  family: Family,
  saved: string,
): string {
  const { proxyUid, outboundPort, inboundPort } = interception;
  return transaction([
    ...HOOKS.filter((hook) => !saved.includes(`-A ${hook}`)).map(
      (hook) => `-A ${hook}`,
    ),
    // What the sidecar itself sends is on its way already.
    `-A ${OUTBOUND} -m owner --uid-owner ${proxyUid} -j RETURN`,
    // The application's own loopback, and its calls to the sidecar by address, stay what they are.
    `-A ${OUTBOUND} -o lo -j RETURN`,
    ...[
      ...LINK_LOCAL[family],
      ...rangesOf(interception.excludedAddresses, family),
    ].map((range) => `-A ${OUTBOUND} -d ${range} -j RETURN`),
    ...unique(interception.excludedOutbound).map(
      (port) => `-A ${OUTBOUND} -p tcp -m tcp --dport ${port} -j RETURN`,
    ),
    `-A ${OUTBOUND} -p tcp -j REDIRECT --to-ports ${outboundPort}`,
    `-A ${INBOUND} -i lo -j RETURN`,
    // A host that routes for others (for containers, say) passes their traffic on; it is not this sidecar's.
    `-A ${INBOUND} -m addrtype ! --dst-type LOCAL -j RETURN`,
    ...unique(interception.excludedInbound).map(
      (port) => `-A ${INBOUND} -p tcp -m tcp --dport ${port} -j RETURN`,
    ),
    `-A ${INBOUND} -p tcp -j REDIRECT --to-ports ${inboundPort}`,
  ]);
}

/** Takes the jumps and the chains away; what is not there is passed over. */
export function removalRules(saved: string): string {
  return transaction([
    ...HOOKS.filter((hook) => saved.includes(`-A ${hook}`)).map(
      (hook) => `-D ${hook}`,
    ),
    `-X ${OUTBOUND}`,
    `-X ${INBOUND}`,
  ]);
}

/** Either all lines take effect or none. */
function transaction(lines: readonly string[]): string {
  return `${["*nat", `:${OUTBOUND} - [0:0]`, `:${INBOUND} - [0:0]`, ...lines, "COMMIT"].join("\n")}\n`;
}

function rangesOf(ranges: readonly string[], family: Family): string[] {
  return ranges.filter((range) => {
    try {
      return ipaddr.parseCIDR(range)[0].kind() === family;
    } catch (error) {
      throw new UserError(
        `--exclude-address ${range}: ${messageOf(error)}; expected a range like 10.0.0.0/8 or fd00::/8`,
      );
    }
  });
}

function unique(ports: readonly number[]): number[] {
  return [...new Set(ports)].sort((a, b) => a - b);
}
