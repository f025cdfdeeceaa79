/** Asks the kernel where a captured connection was going before a packet rule sent it here (Linux, SO_ORIGINAL_DST). */
import type { Socket } from "node:net";
import { endianness } from "node:os";
import ipaddr from "ipaddr.js";
import { unmapped } from "../core/text/network.ts";
import { socketOption } from "../runtime/socket-option.ts";

export interface Destination {
  readonly address: string;
  readonly port: number;
}

// linux/in.h, linux/in6.h, linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h
const SOL_IP = 0;
const SOL_IPV6 = 41;
const SO_ORIGINAL_DST = 80;
const IP6T_SO_ORIGINAL_DST = 80;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCKADDR_IN_LENGTH = 16;
const SOCKADDR_IN6_LENGTH = 28;

/**
 * The destination that the caller chose; undefined where the connection was not redirected, the kernel does not know any more, or
 * this is not Linux. Loads the foreign-function library at first use.
 */
export function originalDestination(socket: Socket): Destination | undefined {
  const { localAddress, localPort } = socket;
  if (localAddress === undefined || localPort === undefined) return undefined;
  const local = { address: plainAddress(localAddress), port: localPort };
  const six = local.address.includes(":");
  const value = socketOption(
    socket,
    six ? SOL_IPV6 : SOL_IP,
    six ? IP6T_SO_ORIGINAL_DST : SO_ORIGINAL_DST,
    six ? SOCKADDR_IN6_LENGTH : SOCKADDR_IN_LENGTH,
  );
  // ENOENT: connection tracking never saw it, so no rule redirected it. Where there is no such function, nothing is captured either.
  if (value === undefined) return undefined;
  const original = parseSocketAddress(value);
  if (
    original === undefined ||
    (original.address === local.address && original.port === local.port)
  )
    return undefined;
  return original;
}

/** Reads struct sockaddr_in or sockaddr_in6; undefined for what is neither. */
export function parseSocketAddress(value: Buffer): Destination | undefined {
  if (value.length < SOCKADDR_IN_LENGTH) return undefined;
  // sa_family is in the machine's order, the port and the address are in the network's.
  const family =
    endianness() === "LE" ? value.readUInt16LE(0) : value.readUInt16BE(0);
  const port = value.readUInt16BE(2);
  if (family === AF_INET)
    return { address: [...value.subarray(4, 8)].join("."), port };
  if (family === AF_INET6 && value.length >= 24)
    return { address: textOf(value.subarray(8, 24)), port };
  return undefined;
}

/** An IPv4 address that came over a dual-stack socket, as IPv4. */
function plainAddress(address: string): string {
  const plain = unmapped(address);
  // A link-local address carries its interface ("fe80::1%eth0"), which the kernel keeps in a field of its own.
  return plain.split("%", 1)[0] ?? plain;
}

/** As Node prints addresses (RFC 5952), so that they compare as text. */
function textOf(octets: Buffer): string {
  const address = ipaddr.fromByteArray([...octets]);
  return address.kind() === "ipv6"
    ? (address as ipaddr.IPv6).toRFC5952String()
    : address.toString();
}
