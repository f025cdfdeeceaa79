/** Asks the kernel where a captured connection was going before a packet rule sent it here (Linux, SO_ORIGINAL_DST). */
import type { Socket } from "node:net";
import { endianness } from "node:os";
import ipaddr from "ipaddr.js";
import { libcFunction } from "../core/libc.ts";

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

type GetSockOpt = (
  descriptor: number,
  level: number,
  option: number,
  value: Buffer,
  length: Uint32Array,
) => number;

let getsockopt: GetSockOpt | undefined;

/**
 * The destination that the caller chose; undefined where the connection was not redirected, the kernel does not know any more, or
 * this is not Linux. Loads the foreign-function library at first use.
 */
export function originalDestination(socket: Socket): Destination | undefined {
  const { localAddress, localPort } = socket;
  const descriptor = descriptorOf(socket);
  if (
    process.platform !== "linux" ||
    descriptor === undefined ||
    localAddress === undefined ||
    localPort === undefined
  )
    return undefined;
  const local = { address: plainAddress(localAddress), port: localPort };
  const six = local.address.includes(":");
  const value = Buffer.alloc(six ? SOCKADDR_IN6_LENGTH : SOCKADDR_IN_LENGTH);
  const length = new Uint32Array([value.length]);
  getsockopt ??= loadGetSockOpt();
  const status = getsockopt(
    descriptor,
    six ? SOL_IPV6 : SOL_IP,
    six ? IP6T_SO_ORIGINAL_DST : SO_ORIGINAL_DST,
    value,
    length,
  );
  // ENOENT: connection tracking never saw it, so no rule redirected it.
  if (status !== 0) return undefined;
  const original = parseSocketAddress(value.subarray(0, length[0] ?? 0));
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
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped?.[1] !== undefined) return mapped[1];
  // A link-local address carries its interface ("fe80::1%eth0"), which the kernel keeps in a field of its own.
  return address.split("%", 1)[0] ?? address;
}

/** As Node prints addresses (RFC 5952), so that they compare as text. */
function textOf(octets: Buffer): string {
  const address = ipaddr.fromByteArray([...octets]);
  return address.kind() === "ipv6"
    ? (address as ipaddr.IPv6).toRFC5952String()
    : address.toString();
}

/** The descriptor under a socket. Node has no public way to it; where the private one is gone, the answer is "not captured". */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, "_handle");
  if (typeof handle !== "object" || handle === null) return undefined;
  const descriptor: unknown = Reflect.get(handle, "fd");
  return typeof descriptor === "number" && descriptor >= 0
    ? descriptor
    : undefined;
}

/** Where there is no such function the answer is "not captured" as well. */
function loadGetSockOpt(): GetSockOpt {
  const native = libcFunction(
    "int getsockopt(int descriptor, int level, int option, _Out_ void *value, _Inout_ uint32_t *length)",
  );
  return (descriptor, level, option, value, length) => {
    const status = native?.(descriptor, level, option, value, length);
    return typeof status === "number" ? status : -1;
  };
}
