/**
 * The packet rules of transparent capture, each as iptables and as nftables say it.
 *
 * ```
 * application ─OUTPUT→ not the proxy's, port 53 of a stated name server ─REDIRECT→ 15053 (sidecar, resolver)
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
import { messageOf, UserError } from "../../core/errors.ts";

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
  /** Absent: questions for names are not captured. */
  readonly names?: CapturedNames;
}

export interface CapturedNames {
  /** The resolver's. */
  readonly port: number;
  /**
   * Name servers of either family that applications ask. Questions to others pass: a local one that applications ask, as
   * systemd-resolved is, asks others itself, and would be asked again for each of its own questions.
   */
  readonly servers: readonly string[];
}

export const DNS_PORT = 53;

/** Where packets meet a rule. */
export type Place = "names" | "outbound" | "inbound" | "invalid";

export interface Rule {
  readonly place: Place;
  /** What it is for, in a few words that no other rule of its place has. */
  readonly name: string;
  readonly iptables: string;
  readonly nft: string;
}

/**
 * A link-local address means nothing without its interface, which the kernel does not keep for the sidecar: it could not carry the
 * call on. No workload is registered under one, and what comes in on one is captured like the rest.
 */
const LINK_LOCAL: Readonly<Record<Family, readonly string[]>> = {
  ipv4: [],
  ipv6: ["fe80::/10"],
};

/** Those of one family, in the order in which packets meet them. */
export function rulesOf(
  interception: Interception,
  family: Family,
): readonly Rule[] {
  const { proxyUid, outboundPort, inboundPort } = interception;
  const destination = DESTINATION[family];
  return [
    ...namesRules(interception, family),
    // What the sidecar itself sends is on its way already.
    {
      place: "outbound",
      name: "the sidecar's own",
      iptables: `-m owner --uid-owner ${proxyUid} -j RETURN`,
      nft: `meta skuid ${proxyUid} return`,
    },
    // The application's own loopback, and its calls to the sidecar by address, stay what they are.
    {
      place: "outbound",
      name: "loopback",
      iptables: "-o lo -j RETURN",
      nft: 'oifname "lo" return',
    },
    ...excludedRanges(interception, family).map((range): Rule => ({
      place: "outbound",
      name: range,
      iptables: `-d ${range} -j RETURN`,
      nft: `${destination} ${range} return`,
    })),
    ...ports("outbound", interception.excludedOutbound),
    redirect("outbound", outboundPort),
    {
      place: "inbound",
      name: "loopback",
      iptables: "-i lo -j RETURN",
      nft: 'iifname "lo" return',
    },
    // A host that routes for others (for containers, say) passes their traffic on; it is not this sidecar's.
    {
      place: "inbound",
      name: "for others",
      iptables: "-m addrtype ! --dst-type LOCAL -j RETURN",
      nft: "fib daddr type != local return",
    },
    ...ports("inbound", interception.excludedInbound),
    redirect("inbound", inboundPort),
    // A packet that belongs to no connection is not translated back: the kernel would meet it at a port that knows nothing of it, and reset its sender.
    {
      place: "invalid",
      name: "invalid packets",
      iptables:
        "-m conntrack --ctstate INVALID -m addrtype --dst-type LOCAL -j DROP",
      nft: "meta l4proto tcp ct state invalid fib daddr type local drop",
    },
  ];
}

const DESTINATION: Readonly<Record<Family, string>> = {
  ipv4: "ip daddr",
  ipv6: "ip6 daddr",
};

/** Those that applications of this family ask. */
export function nameServersOf(
  { names }: Pick<Interception, "names">,
  family: Family,
): readonly string[] {
  return (names?.servers ?? []).filter(
    (server) => server.includes(":") === (family === "ipv6"),
  );
}

/** Before loopback is passed: a name server may be there. */
function namesRules(interception: Interception, family: Family): Rule[] {
  const servers = nameServersOf(interception, family);
  const { names, proxyUid } = interception;
  if (names === undefined || servers.length === 0) return [];
  const bits = family === "ipv4" ? 32 : 128;
  return [
    {
      place: "names",
      name: "the sidecar's own",
      iptables: `-m owner --uid-owner ${proxyUid} -j RETURN`,
      nft: `meta skuid ${proxyUid} return`,
    },
    ...servers.flatMap((server) =>
      (["udp", "tcp"] as const).map((protocol): Rule => ({
        place: "names",
        name: `${server} by ${protocol}`,
        iptables: `-d ${server}/${bits} -p ${protocol} -m ${protocol} --dport ${DNS_PORT} -j REDIRECT --to-ports ${names.port}`,
        nft: `${DESTINATION[family]} ${server} ${protocol} dport ${DNS_PORT} redirect to :${names.port}`,
      })),
    ),
  ];
}

function ports(place: Place, numbers: readonly number[]): Rule[] {
  return [...new Set(numbers)]
    .sort((a, b) => a - b)
    .map((port) => ({
      place,
      name: `port ${port}`,
      iptables: `-p tcp -m tcp --dport ${port} -j RETURN`,
      nft: `tcp dport ${port} return`,
    }));
}

function redirect(place: Place, port: number): Rule {
  return {
    place,
    name: "everything else",
    iptables: `-p tcp -j REDIRECT --to-ports ${port}`,
    nft: `meta l4proto tcp redirect to :${port}`,
  };
}

/** Each by the first of its addresses, as the tools print it. */
export function excludedRanges(
  { excludedAddresses }: Pick<Interception, "excludedAddresses">,
  family: Family,
): readonly string[] {
  const stated = excludedAddresses.flatMap((range) => {
    try {
      const [address, bits] = ipaddr.parseCIDR(range);
      if (address.kind() !== family) return [];
      const first =
        address.kind() === "ipv4"
          ? ipaddr.IPv4.networkAddressFromCIDR(range)
          : ipaddr.IPv6.networkAddressFromCIDR(range);
      return [`${first.toString()}/${bits}`];
    } catch (error) {
      throw new UserError(
        `--exclude-address ${range}: ${messageOf(error)}; expected a range like 10.0.0.0/8 or fd00::/8`,
      );
    }
  });
  return [...new Set([...LINK_LOCAL[family], ...stated])];
}

/** Adds how the rules of a chain differ from the expected ones, in words; their order counts where nothing else differs. */
export function addDifferences(
  flaws: string[],
  chain: string,
  stands: readonly string[],
  wanted: readonly string[],
): void {
  for (const each of wanted)
    if (!stands.includes(each)) flaws.push(`no rule "${each}"`);
  for (const each of stands)
    if (!wanted.includes(each))
      flaws.push(`rule "${each}" is not one of these`);
  if (flaws.length === 0 && stands.join("\n") !== wanted.join("\n"))
    flaws.push(`the rules of ${chain} are in another order`);
}
