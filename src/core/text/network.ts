/** IP addresses and ranges: one form for each, and what they tell of where somebody is. */
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { memo } from "../memo.ts";

/** IPv6 clients are counted per /64, because one host controls the whole prefix. */
export function networkOf(address: string): string {
  const plain = unmapped(address);
  if (!plain.includes(":")) return plain;
  const [front = "", back] = (plain.split("%", 1)[0] ?? plain).split("::");
  const groups = front === "" ? [] : front.split(":");
  if (back !== undefined) {
    const tail = back === "" ? [] : back.split(":");
    while (groups.length + tail.length < 8) groups.push("0");
    groups.push(...tail);
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}

/** An IPv4 address in IPv6 notation as what it is; every other text as it stands. */
export function unmapped(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

/** An address as a socket tells it: IPv4 in IPv6 notation as IPv4, a link-local one without its zone. */
export function plainAddress(address: string): string {
  if (!address.includes(":")) return address;
  const plain = unmapped(address);
  const zone = plain.indexOf("%");
  return zone < 0 ? plain : plain.slice(0, zone);
}

/** An IP address in its one shortest form, IPv4 in IPv6 notation as IPv4; undefined where the text is none, or has a zone. */
export function canonicalAddress(text: string): string | undefined {
  const family = isIP(text);
  // Node takes one form alone of IPv4.
  if (family === 4) return text;
  if (family === 0 || text.includes("%")) return undefined;
  const address = ipaddr.process(text);
  return address instanceof ipaddr.IPv6
    ? address.toRFC5952String()
    : address.toString();
}

/** An address, or the name of a host, in the one form by which it is found whatever way it is written. */
export function comparableAddress(text: string): string {
  return canonicalAddress(text) ?? text.toLowerCase();
}

/** The CIDR range in its one form, a single address as a range of one; undefined where the text is neither. */
export function canonicalRange(text: string): string | undefined {
  const [front = "", length, ...more] = text.split("/");
  const address = canonicalAddress(front);
  if (address === undefined || more.length > 0) return undefined;
  const bits = isIP(address) === 4 ? 32 : 128;
  if (length === undefined) return `${address}/${bits}`;
  return /^\d{1,3}$/.test(length) && Number(length) <= bits
    ? `${address}/${Number(length)}`
    : undefined;
}

/** Whether one of the ranges has the address; anything but an address or a range is in none. */
export function isWithin(address: string, ranges: readonly string[]): boolean {
  const bits = addressBits(address);
  return (
    bits !== undefined &&
    ranges.some((range) => {
      const beginning = rangeBits(range);
      return beginning !== undefined && bits.startsWith(beginning);
    })
  );
}

/** An address as its family's digit and its bits, "4" and 32 of them, or "6" and 128; undefined where the text is none. */
export const addressBits: (address: string) => string | undefined = memo(
  (address) => {
    const plain = canonicalAddress(address);
    return plain === undefined ? undefined : bitsOf(ipaddr.parse(plain));
  },
);

/** What the bits of each of a range's addresses begin with. A range has addresses of its own family alone: "::/0" is not every IPv4 address. */
export function rangeBits(range: string): string | undefined {
  const known = canonicalRange(range);
  if (known === undefined) return undefined;
  const [network, length] = ipaddr.parseCIDR(known);
  return bitsOf(network).slice(0, 1 + length);
}

function bitsOf(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  const bytes = address.toByteArray();
  return `${bytes.length === 4 ? 4 : 6}${bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("")}`;
}

/** Callers from there, and what is called there, are on this machine. */
const LOOPBACK = ["127.0.0.0/8", "::1/128"];

export function isLoopback(address: string): boolean {
  return isWithin(address, LOOPBACK);
}

/** The same of a host that is listened on or called, which may have a name. */
export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || isLoopback(host);
}

/** Whether what is sent to the URL can be read on the way. */
export function isExposed(url: URL): boolean {
  return url.protocol === "http:" && !isLoopbackHost(hostOfUrl(url));
}

/** Without the brackets of IPv6; the URL's parser has made one form of all ways to write an IPv4 address. */
export function hostOfUrl({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

/** Why nobody can be reached by the address from elsewhere; undefined where somebody may be. */
export function unreachable(address: string): string | undefined {
  return UNREACHABLE.get(ipaddr.parse(address).range());
}

const UNREACHABLE: ReadonlyMap<string, string> = new Map([
  ["unspecified", "an unspecified address"],
  ["broadcast", "a broadcast address"],
  ["multicast", "a multicast address"],
  ["linkLocal", "a link-local address"],
]);

/** Clouds answer their own machines here, with credentials, though the address is a public one. */
const METADATA = ["168.63.129.16"];

/** Whether the address is one of the internet's: not of this machine, this network, or a way to write or tunnel such. */
export function isPublic(address: string): boolean {
  const plain = canonicalAddress(address);
  if (plain === undefined || METADATA.includes(plain)) return false;
  const parsed = ipaddr.parse(plain);
  return (
    parsed.range() === "unicast" &&
    // All that is given out of IPv6 (RFC 4291 2.4): the rest of "unicast" has old forms with IPv4 addresses in them.
    (parsed.kind() === "ipv4" || /^[23][0-9a-f]{3}:/.test(plain))
  );
}
