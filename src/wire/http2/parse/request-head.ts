/** Field lists to request heads: pseudo-headers, and what HTTP/2 forbids in a request (RFC 9113 section 8). */
import { canonicalAuthority } from "../../../core/text/authority.ts";
import type { Claims, RequestHead } from "../../exchange.ts";
import type { Field } from "../../fields.ts";
import {
  comparableAuthority,
  hasPort,
  LONGEST_REQUEST_LINE,
} from "../../grammar.ts";
import type { RefusalKind } from "../../refusal.ts";
import { Kind, type WireField } from "../hpack/names.ts";
import { WEBSOCKET } from "../../websocket/handshake.ts";
import { flawOf, lengthOf, type Flaw } from "./flaws.ts";

const UNMET_EXPECTATION: Flaw = "an expectation other than 100-continue";

const FOREIGN_METHOD: Flaw = "the method is none that crosses this proxy";

const LONG_TARGET: Flaw = `a method and path that make a request line of over ${LONGEST_REQUEST_LINE} bytes`;

/** The flaws that have a response of their own, and what HTTP/1 calls them, whose statuses they have. */
export const ANSWERED: ReadonlyMap<Flaw, RefusalKind> = new Map([
  [UNMET_EXPECTATION, "expectation"],
  // To some recipients "delete" is DELETE, and policy would have judged another method (RFC 9110 9.1, law 14).
  [FOREIGN_METHOD, "method"],
  // The next hop may write it as a request line of HTTP/1, which would be refused (RFC 9112 3).
  [LONG_TARGET, "line"],
]);

/** "GET /path HTTP/1.1" without method and path. */
const REST_OF_LINE = 10;

/** As HTTP/1 compares Host with a target in absolute form, or with that of CONNECT, which has no scheme. */
function isSameHost(
  host: string,
  authority: string,
  scheme: string | undefined,
): boolean {
  return scheme === undefined
    ? host.toLowerCase() === authority.toLowerCase()
    : comparableAuthority(host, scheme) ===
        comparableAuthority(authority, scheme);
}

/** What a request says once: its pseudo-headers, and the fields that frame or steer it. */
class Special {
  method: string | undefined;
  scheme: string | undefined;
  authority: string | undefined;
  path: string | undefined;
  protocol: string | undefined;
  host: string | undefined;
  length: string | undefined;
  /** The method is a token, and none that crosses the proxy. */
  foreign = false;
  /** There is an Expect, and all that is expected is 100-continue. */
  awaits = false;
  expected = true;
  /** It says that it takes trailers. */
  trailers = false;

  /** Takes a field that is not ordinary. Returns why it cannot stand there, where it cannot. */
  take({ kind, value, name, of }: WireField): Flaw | undefined {
    switch (kind) {
      case Kind.METHOD:
      case Kind.FOREIGN_METHOD:
        if (this.method !== undefined) return "two :method";
        this.method = value;
        this.foreign = kind === Kind.FOREIGN_METHOD;
        return undefined;
      case Kind.SCHEME:
        if (this.scheme !== undefined) return "two :scheme";
        this.scheme = value;
        return undefined;
      case Kind.AUTHORITY:
        if (this.authority !== undefined) return "two :authority";
        this.authority = value;
        return undefined;
      case Kind.PATH:
        if (this.path !== undefined) return "two :path";
        this.path = value;
        return undefined;
      case Kind.PROTOCOL:
        if (this.protocol !== undefined) return "two :protocol";
        this.protocol = value;
        return undefined;
      case Kind.STATUS:
        return ":status in a request";
      case Kind.HOST:
        if (this.host !== undefined) return "two host fields";
        this.host = value;
        return undefined;
      case Kind.CONTENT_LENGTH:
        if (this.length !== undefined) return "two content-length fields";
        this.length = value;
        return undefined;
      case Kind.TE:
        this.trailers = true;
        return undefined;
      case Kind.EXPECT:
        // Two of them are a list, which is not 100-continue.
        if (this.awaits || value.toLowerCase() !== "100-continue")
          this.expected = false;
        this.awaits = true;
        return undefined;
      default:
        return flawOf(of.kind, name);
    }
  }
}

/** Reads the fields of a request (8.3.1). `ended`: no body follows. `claims`: what is not believed of the caller. */
export function readRequestHead(
  fields: readonly WireField[],
  ended: boolean,
  claims?: Claims,
): RequestHead | Flaw {
  const special = new Special();
  const rest: Field[] = [];
  const dropped = claims?.dropped ?? 0;
  let ordinary = false;
  for (const field of fields) {
    const { kind } = field;
    if (kind === Kind.ORDINARY) {
      ordinary = true;
      if ((field.bits & dropped) === 0) rest.push(field);
      continue;
    }
    if (kind > Kind.STATUS) ordinary = true;
    else if (ordinary) return `${field.name} stands behind an ordinary field`;
    const flaw = special.take(field);
    if (flaw !== undefined) return flaw;
    if (kind === Kind.EXPECT) rest.push(field);
  }
  const { method, scheme, path, protocol } = special;
  const unanswerable = answeredFlaw(special);
  if (unanswerable !== undefined) return unanswerable;
  if (method === undefined) return "no :method";
  const said = special.authority ?? special.host;
  if (said === undefined) return "neither :authority nor host";
  if (
    special.host !== undefined &&
    special.host !== said &&
    !isSameHost(special.host, said, scheme)
  )
    return ":authority and host differ";
  // Read once, here: what goes on is the host that everybody sees (law 14).
  const authority = canonicalAuthority(said);
  if (authority === undefined) return "the authority is not one host and port";
  const flaw =
    method === "CONNECT" && protocol === undefined
      ? connectFlaw(special, authority)
      : formFlaw(special, method, ended);
  if (flaw !== undefined) return flaw;
  const contentLength = lengthOf(special.length);
  if (ended && contentLength !== undefined && contentLength > 0)
    return "content-length without content";
  if (claims !== undefined) for (const field of claims.known) rest.push(field);
  return {
    // As HTTP/1.1 asks for it: one handshake for route, policy and application (RFC 8441 5, law 14).
    method: protocol === WEBSOCKET ? "GET" : method,
    scheme: scheme ?? "http",
    authority,
    path: path ?? "",
    protocol,
    fields: rest,
    contentLength,
    acceptsTrailers: special.trailers,
    absoluteForm: false,
  };
}

/** The flaws that have a response of their own. */
function answeredFlaw({
  foreign,
  path,
  method,
  expected,
}: Special): Flaw | undefined {
  if (foreign) return FOREIGN_METHOD;
  if (
    path !== undefined &&
    path.length + (method?.length ?? 0) + REST_OF_LINE > LONGEST_REQUEST_LINE
  )
    return LONG_TARGET;
  return expected ? undefined : UNMET_EXPECTATION;
}

/** CONNECT has the target alone, with its port (8.5). What follows is not content that could have a length (RFC 9110 9.3.6). */
function connectFlaw(
  { scheme, path, length }: Special,
  authority: string,
): Flaw | undefined {
  if (scheme !== undefined || path !== undefined)
    return "CONNECT with :scheme or :path";
  if (!hasPort(authority)) return "CONNECT without a port";
  if (length !== undefined) return "CONNECT with content-length";
  return undefined;
}

/** Every other request has scheme and path (8.3.1). */
function formFlaw(
  { scheme, path, protocol, length }: Special,
  method: string,
  ended: boolean,
): Flaw | undefined {
  if (protocol !== undefined && method !== "CONNECT")
    return ":protocol without CONNECT";
  if (protocol !== undefined && length !== undefined)
    return "CONNECT with content-length";
  if (scheme === undefined) return "no :scheme";
  if (path === undefined) return "no :path";
  if (path === "*" && method !== "OPTIONS") return "the path * without OPTIONS";
  if (method === "TRACE" && (length !== undefined || !ended))
    return "TRACE with a body (RFC 9110 9.3.8)";
  return undefined;
}
