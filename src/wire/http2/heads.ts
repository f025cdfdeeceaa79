/** Field lists to message heads and back: pseudo-headers, and what HTTP/2 forbids in a message (RFC 9113 section 8). */
import { canonicalAuthority } from "../../core/text/authority.ts";
import { FieldClass, makeField, type Field, type Fields } from "../fields.ts";
import type { Claims, RequestHead, ResponseHead } from "../exchange.ts";
import type { RefusalKind } from "../refusal.ts";
import type { ByteWriter } from "./frames/byte-writer.ts";
import {
  comparableAuthority,
  hasPort,
  LONGEST_REQUEST_LINE,
} from "../grammar.ts";
import type { Encoder } from "./hpack/encoder.ts";
import { Kind, type WireField } from "./hpack/names.ts";

/** Why a message is malformed (8.1.1), in words for a log. */
export type Flaw = string;

const UNMET_EXPECTATION: Flaw = "an expectation other than 100-continue";

const FOREIGN_METHOD: Flaw = "the method is none that crosses this proxy";

const LONG_TARGET: Flaw = `a method and path that make a request line of over ${LONGEST_REQUEST_LINE} octets`;

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

const NEVER_CROSSES = FieldClass.CONNECTION | FieldClass.FRAMING;

/** What an INVALID field is, for the log; its value may be a secret and is not shown. */
function flawOf(kind: number, text: string): Flaw {
  const name = JSON.stringify(text.slice(0, 64));
  switch (kind) {
    case Kind.INVALID:
      return text.startsWith(":")
        ? `the pseudo-header ${name} is not known`
        : `${name} is not a valid field name`;
    case Kind.CONNECTION:
      return `${name} belongs to HTTP/1.1 connections`;
    default:
      return `the value of ${name} is outside its grammar`;
  }
}

/** Digits to a number; `undefined` for what was not there. */
function lengthOf(value: string | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

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

/** Reads the first `fields` of a request (8.3.1). `ended`: no body follows. `claims`: what is not believed of the caller. */
export function readRequestHead(
  fields: readonly WireField[],
  ended: boolean,
  claims?: Claims,
): RequestHead | Flaw {
  let method: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let path: string | undefined;
  let protocol: string | undefined;
  let host: string | undefined;
  let length: string | undefined;
  const rest: Field[] = [];
  const dropped = claims?.dropped ?? 0;
  let ordinary = false;
  let expected = true;
  let awaits = false;
  let foreign = false;
  for (const field of fields) {
    const { kind } = field;
    if (kind === Kind.ORDINARY) {
      ordinary = true;
      if ((field.bits & dropped) === 0) rest.push(field);
      continue;
    }
    if (kind <= Kind.STATUS && ordinary)
      return `${field.name} stands behind an ordinary field`;
    const { value } = field;
    switch (kind) {
      case Kind.METHOD:
        if (method !== undefined) return "two :method";
        method = value;
        break;
      case Kind.FOREIGN_METHOD:
        if (method !== undefined) return "two :method";
        method = value;
        foreign = true;
        break;
      case Kind.SCHEME:
        if (scheme !== undefined) return "two :scheme";
        scheme = value;
        break;
      case Kind.AUTHORITY:
        if (authority !== undefined) return "two :authority";
        authority = value;
        break;
      case Kind.PATH:
        if (path !== undefined) return "two :path";
        path = value;
        break;
      case Kind.PROTOCOL:
        if (protocol !== undefined) return "two :protocol";
        protocol = value;
        break;
      case Kind.STATUS:
        return ":status in a request";
      case Kind.HOST:
        ordinary = true;
        if (host !== undefined) return "two host fields";
        host = value;
        break;
      case Kind.CONTENT_LENGTH:
        ordinary = true;
        if (length !== undefined) return "two content-length fields";
        length = value;
        break;
      case Kind.TE:
        ordinary = true;
        break;
      case Kind.EXPECT:
        ordinary = true;
        // Two of them are a list, which is no 100-continue.
        if (awaits || value.toLowerCase() !== "100-continue") expected = false;
        awaits = true;
        rest.push(field);
        break;
      default:
        return flawOf(field.of.kind, field.name);
    }
  }
  if (foreign) return FOREIGN_METHOD;
  if (
    path !== undefined &&
    path.length + (method?.length ?? 0) + REST_OF_LINE > LONGEST_REQUEST_LINE
  )
    return LONG_TARGET;
  if (!expected) return UNMET_EXPECTATION;
  if (method === undefined) return "no :method";
  const said = authority ?? host;
  if (said === undefined) return "neither :authority nor host";
  if (host !== undefined && host !== said && !isSameHost(host, said, scheme))
    return ":authority and host differ";
  // Read once, here: what goes on is the host that everybody sees (law 14).
  const read = canonicalAuthority(said);
  if (read === undefined) return "the authority is not one host and port";
  const tunnel = method === "CONNECT" && protocol === undefined;
  if (tunnel) {
    // 8.5: the target alone, with its port. What follows is no content that could have a length (RFC 9110 9.3.6).
    if (scheme !== undefined || path !== undefined)
      return "CONNECT with :scheme or :path";
    if (!hasPort(read)) return "CONNECT without a port";
    if (length !== undefined) return "CONNECT with content-length";
  } else {
    if (protocol !== undefined && method !== "CONNECT")
      return ":protocol without CONNECT";
    if (scheme === undefined) return "no :scheme";
    if (path === undefined) return "no :path";
    if (path === "*" && method !== "OPTIONS")
      return "the path * without OPTIONS";
    if (method === "TRACE" && (length !== undefined || !ended))
      return "TRACE with a body (RFC 9110 9.3.8)";
  }
  const contentLength = lengthOf(length);
  if (ended && contentLength !== undefined && contentLength > 0)
    return "content-length without content";
  if (claims !== undefined) for (const field of claims.known) rest.push(field);
  return {
    method,
    scheme: scheme ?? "http",
    authority: read,
    path: path ?? "",
    protocol,
    fields: rest,
    contentLength,
    acceptsTrailers: true,
    absoluteForm: false,
  };
}

/** Reads the fields of a response, final or interim (8.3.2). */
export function readResponseHead(
  fields: readonly WireField[],
): ResponseHead | Flaw {
  let status = 0;
  let length: string | undefined;
  const rest: Field[] = [];
  for (const field of fields) {
    const { kind } = field;
    if (kind === Kind.ORDINARY) {
      rest.push(field);
      continue;
    }
    switch (kind) {
      case Kind.STATUS:
        if (status !== 0) return "two :status";
        if (rest.length > 0 || length !== undefined)
          return ":status stands behind an ordinary field";
        status = Number(field.value);
        break;
      case Kind.CONTENT_LENGTH:
        if (length !== undefined) return "two content-length fields";
        length = field.value;
        break;
      case Kind.EXPECT:
        rest.push(field);
        break;
      case Kind.TE:
        return flawOf(field.of.kind, field.name);
      default:
        return kind === Kind.INVALID || kind === Kind.CONNECTION
          ? flawOf(field.of.kind, field.name)
          : `${field.name} in a response`;
    }
  }
  if (status === 0) return "no :status";
  // 8.6: there is no switching of protocols.
  if (status === 101) return "status 101";
  const contentLength = lengthOf(length);
  // RFC 9110 8.6: some would wait for content, some would not.
  if ((status < 200 || status === 204) && (contentLength ?? 0) > 0)
    return "content announced for a 1xx or 204";
  return { status, fields: rest, contentLength };
}

/** Reads a trailer section (8.1). What belongs in the head is refused, as in HTTP/1: some would merge it, some would not (RFC 9110 6.5.1). */
export function readTrailers(fields: readonly WireField[]): Fields | Flaw {
  for (const { kind, bits, of, name } of fields) {
    if (kind === Kind.ORDINARY && (bits & FieldClass.NO_TRAILER) === 0)
      continue;
    return kind === Kind.INVALID || kind === Kind.CONNECTION
      ? flawOf(of.kind, name)
      : `${name} in a trailer section`;
  }
  return fields.slice();
}

const TE_TRAILERS: Field = makeField("te", "trailers");

function writeFields(encoder: Encoder, fields: Fields, out: ByteWriter): void {
  for (const field of fields)
    if ((field.bits & NEVER_CROSSES) === 0) encoder.field(field, out);
}

export function writeRequestHead(
  encoder: Encoder,
  head: RequestHead,
  out: ByteWriter,
): void {
  encoder.begin(out);
  encoder.method(head.method, out);
  if (head.method !== "CONNECT" || head.protocol !== undefined) {
    encoder.scheme(head.scheme, out);
    encoder.pair(":authority", head.authority, "incremental", out);
    encoder.pair(":path", head.path, "incremental", out);
    if (head.protocol !== undefined)
      encoder.pair(":protocol", head.protocol, "incremental", out);
  } else {
    encoder.pair(":authority", head.authority, "incremental", out);
  }
  writeFields(encoder, head.fields, out);
  if (head.contentLength !== undefined)
    encoder.pair("content-length", String(head.contentLength), "without", out);
  if (head.acceptsTrailers) encoder.field(TE_TRAILERS, out);
}

export function writeResponseHead(
  encoder: Encoder,
  head: ResponseHead,
  out: ByteWriter,
): void {
  encoder.begin(out);
  encoder.status(head.status, out);
  writeFields(encoder, head.fields, out);
  // RFC 9110 8.6: not in a 1xx or 204.
  if (
    head.contentLength !== undefined &&
    head.status >= 200 &&
    head.status !== 204
  )
    encoder.pair("content-length", String(head.contentLength), "without", out);
}

export function writeTrailers(
  encoder: Encoder,
  trailers: Fields,
  out: ByteWriter,
): void {
  encoder.begin(out);
  for (const field of trailers)
    if ((field.bits & (NEVER_CROSSES | FieldClass.NO_TRAILER)) === 0)
      encoder.field(field, out);
}
