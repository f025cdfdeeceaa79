/**
 * The one reading of an authority, `host` or `host:port` (RFC 3986 3.2): what routes, policy, telemetry and the application see is
 * the one text that comes out of here (law 14).
 */
import { isIPv6, SocketAddress } from "node:net";
import { memo } from "../memo.ts";

/**
 * What a registered name is made of here: unreserved characters alone. RFC 3986 3.2.2 has sub-delims (a comma would be a list
 * to one parser, a name to another) and percent-encoding (compared decoded by some, raw by others) as well: refused.
 */
const PLAIN = 1;
const UPPER = 2;
const NAME = new Uint8Array(256);
for (const character of "abcdefghijklmnopqrstuvwxyz0123456789-_~")
  NAME[character.charCodeAt(0)] = PLAIN;
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
  NAME[character.charCodeAt(0)] = UPPER;

const DOT = 0x2e;
const COLON = 0x3a;
const BRACKET = 0x5b;
const ZERO = 0x30;
const MAX_PORT = 65_535;

/**
 * The authority as everybody is to see it: lower-case, without the final dot of an absolute DNS name, an IPv6 address as
 * RFC 5952 writes it, the port (1 to 65535: nobody listens on 0) without leading zeros. Undefined where the text is none: a
 * character that no name has, user information, an empty label, a zone id, a port that is none. A text that is canonical is
 * returned as it is.
 */
export function canonicalAuthority(text: string): string | undefined {
  if (text.charCodeAt(0) === BRACKET) return canonicalLiteral(text);
  let clean = true;
  // Where the label begins that is read now: "a..b" and ".a" have an empty one.
  let label = 0;
  let at = 0;
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (NAME[code] === PLAIN) continue;
    if (code === COLON) break;
    if (code === DOT) {
      if (at === label) return undefined;
      label = at + 1;
    } else if (NAME[code] === UPPER) clean = false;
    else return undefined;
  }
  if (at === 0) return undefined;
  const absolute = at === label;
  const port = portText(text, at);
  if (port === undefined) return undefined;
  if (clean && !absolute && at + port.length === text.length) return text;
  return text.slice(0, absolute ? at - 1 : at).toLowerCase() + port;
}

/** "[v6]" or "[v6]:port". A zone id means something on one machine only (RFC 6874 2), and isIPv6 takes it. */
const canonicalLiteral: (text: string) => string | undefined = memo((text) => {
  const end = text.indexOf("]");
  const address = text.slice(1, end);
  if (end === -1 || address.includes("%") || !isIPv6(address)) return undefined;
  const port = portText(text, end + 1);
  return port === undefined
    ? undefined
    : `[${new SocketAddress({ address, family: "ipv6" }).address}]${port}`;
});

/** What follows the host at `at`: "" or ":PORT" without leading zeros; undefined where it is neither. */
function portText(text: string, at: number): string | undefined {
  if (at === text.length) return "";
  if (text.charCodeAt(at) !== COLON) return undefined;
  const digits = text.length - at - 1;
  if (digits < 1 || digits > 5) return undefined;
  let value = 0;
  for (let index = at + 1; index < text.length; index += 1) {
    const digit = text.charCodeAt(index) - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value > 0 && value <= MAX_PORT ? `:${value}` : undefined;
}

export interface Authority {
  /** Canonical; an IPv6 address in its brackets. */
  readonly host: string;
  readonly port: number | undefined;
}

/** Host and port of an authority; undefined where it is none. */
export const readAuthority: (text: string) => Authority | undefined = memo(
  (text) => {
    const canonical = canonicalAuthority(text);
    if (canonical === undefined) return undefined;
    // In "[::1]:80" the colons inside the brackets are the address's.
    const colon = canonical.lastIndexOf(":");
    return colon > canonical.lastIndexOf("]")
      ? {
          host: canonical.slice(0, colon),
          port: Number(canonical.slice(colon + 1)),
        }
      : { host: canonical, port: undefined };
  },
);

/** The host of an authority, without port (Gateway API and trap 5); "" where there is none. */
export function hostOf(authority: string): string {
  return readAuthority(authority)?.host ?? "";
}
