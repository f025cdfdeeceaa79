/** The header section of either message: field lines to neutral fields, with what belongs to framing and to the connection taken out (RFC 9110 7.6.1, RFC 9112 6). */
import type { Claims } from "../../exchange.ts";
import { classOf, FieldClass } from "../../../mesh/field-class.ts";
import { type Field } from "../../fields.ts";
import { isToken, parseDigits, withoutBlanks } from "../../grammar.ts";
import type { HeadMemory } from "./head-memory.ts";
import type { Http1Limits } from "../limits.ts";
import { Http1Fault } from "../fault.ts";

const { CONNECTION, FORWARDED, FRAMING, MESH, NO_TRAILER, SENSITIVE, TRACE } =
  FieldClass;

/** Fields that need a look, and "Expect"; all others are passed on as they are. */
const LOOKED_AT = CONNECTION | FRAMING;

/**
 * What the Connection field may not name: fields for all recipients (RFC 9110 7.6.1), those that frame the message, and those
 * that policy or the trace relies on: to have them stripped on the way is an attack.
 */
const NEVER_AN_OPTION =
  FRAMING | MESH | SENSITIVE | TRACE | NO_TRAILER | FORWARDED;
const NEVER_AN_OPTION_NAMES: ReadonlySet<string> = new Set([
  "accept",
  "date",
  "idempotency-key",
  "origin",
  "user-agent",
  "via",
  "x-request-id",
]);

export interface HeaderSection {
  /** What crosses the proxy. */
  fields: Field[];
  /** The value of the one Host line. */
  host: string | undefined;
  contentLength: number | undefined;
  /** The value of the one Transfer-Encoding line. */
  transferEncoding: string | undefined;
  /** Connection: close. */
  close: boolean;
  /** Connection: keep-alive. */
  keepAlive: boolean;
  /** There is an Upgrade field. */
  upgrade: boolean;
  /** It lists websocket. */
  webSocket: boolean;
  /** Connection: upgrade; without it an Upgrade field means nothing (RFC 9110 7.8). */
  switches: boolean;
  /** TE lists trailers. */
  trailers: boolean;
  /** Milliseconds of Keep-Alive: timeout. */
  keepAliveTimeout: number | undefined;
  /** The value of Expect, lower-case; the field is among `fields` too. */
  expect: string | undefined;
  /** Names from Connection whose fields do not cross. */
  named: Set<string> | undefined;
}

/** Reads the field lines in text[at, end of text); each ends in CRLF, the empty line is not there. Throws `Http1Fault`. */
export function parseHeaderSection(
  text: string,
  start: number,
  limits: Http1Limits,
  memory: HeadMemory,
  claims?: Claims,
): HeaderSection {
  const section: HeaderSection = {
    fields: [],
    host: undefined,
    contentLength: undefined,
    transferEncoding: undefined,
    close: false,
    keepAlive: false,
    upgrade: false,
    webSocket: false,
    switches: false,
    trailers: false,
    keepAliveTimeout: undefined,
    expect: undefined,
    named: undefined,
  };
  const dropped = claims?.dropped ?? 0;
  let count = 0;
  memory.begin();
  for (let at = start; at < text.length; at = memory.end) {
    count += 1;
    if (count > limits.headerCount)
      throw new Http1Fault(
        "head",
        `more than ${limits.headerCount} field lines`,
      );
    const field = memory.read(text, at);
    const { bits } = field;
    if ((bits & dropped) !== 0) continue;
    if ((bits & LOOKED_AT) !== 0 || field.name === "expect")
      takeField(section, field);
    else section.fields.push(field);
  }
  const { named } = section;
  if (named !== undefined)
    section.fields = section.fields.filter((field) => !named.has(field.name));
  if (claims !== undefined)
    for (const field of claims.known) section.fields.push(field);
  return section;
}

function takeField(section: HeaderSection, field: Field): void {
  switch (field.name) {
    case "host":
      if (section.host !== undefined)
        throw new Http1Fault("grammar", "more than one Host line");
      section.host = field.value;
      return;
    case "content-length":
      if (section.contentLength !== undefined)
        throw new Http1Fault("grammar", "more than one Content-Length line");
      section.contentLength = parseDigits(field.value);
      if (section.contentLength === undefined)
        throw new Http1Fault("grammar", "Content-Length is not one number");
      return;
    case "transfer-encoding":
      if (section.transferEncoding !== undefined)
        throw new Http1Fault("grammar", "more than one Transfer-Encoding line");
      section.transferEncoding = field.value;
      return;
    case "connection":
      takeConnectionOptions(section, field.value);
      return;
    case "te":
      if (listOf(field.value).some(isTrailersOption)) section.trailers = true;
      return;
    case "upgrade":
      // It is for this connection, and may be ignored (RFC 9110 7.8); but no WebSocket can do without its own.
      section.upgrade = true;
      section.webSocket ||= listOf(field.value).includes("websocket");
      return;
    case "keep-alive":
      section.keepAliveTimeout = timeoutOf(field.value);
      return;
    case "expect":
      section.expect =
        section.expect === undefined
          ? field.value.toLowerCase()
          : `${section.expect}, ${field.value}`;
      section.fields.push(field);
      return;
    default:
      // Nobody standardised Proxy-Connection, but to some its "close" is the end of the connection (RFC 9112 C.2.2).
      if (field.name === "proxy-connection")
        section.close ||= listOf(field.value).includes("close");
      // What is left of this class (it, HTTP2-Settings) is for this connection alone.
      if ((field.bits & CONNECTION) === 0) section.fields.push(field);
  }
}

/** Connection = #connection-option (RFC 9110 7.6.1). */
function takeConnectionOptions(section: HeaderSection, value: string): void {
  // The two values that nearly every Connection field has.
  if (value === "keep-alive") {
    section.keepAlive = true;
    return;
  }
  if (value === "close") {
    section.close = true;
    return;
  }
  for (const option of listOf(value)) {
    if (!isToken(option))
      throw new Http1Fault("grammar", "a connection option is not a token");
    const bits = classOf(option);
    if (option === "close") section.close = true;
    else if (option === "keep-alive") section.keepAlive = true;
    else if (option === "upgrade") section.switches = true;
    else if ((bits & CONNECTION) !== 0 && (bits & FRAMING) === 0) continue;
    else if (
      (bits & NEVER_AN_OPTION) !== 0 ||
      NEVER_AN_OPTION_NAMES.has(option)
    )
      throw new Http1Fault(
        "grammar",
        "Connection names a field that is not for this connection alone",
      );
    else (section.named ??= new Set()).add(option);
  }
}

/** The members of a list, lower-case; empty ones are ignored (RFC 9110 5.6.1.2). */
function listOf(value: string): string[] {
  return value
    .toLowerCase()
    .split(",")
    .map(withoutBlanks)
    .filter((member) => member !== "");
}

function isTrailersOption(member: string): boolean {
  return member === "trailers";
}

/** Keep-Alive: timeout=N, in milliseconds (RFC 2068 19.7.1; what servers send). */
function timeoutOf(value: string): number | undefined {
  const seconds = /(?:^|[,; \t])timeout=(\d{1,9})(?:$|[,; \t])/i.exec(value);
  return seconds?.[1] === undefined ? undefined : Number(seconds[1]) * 1000;
}

/** Where the body ends, of the ways that RFC 9112 6.3 has. */
export type Framing = "none" | "length" | "chunked" | "close";

/**
 * Whether the message is chunked. Throws where its framing could be read in two ways: Transfer-Encoding beside
 * Content-Length, in HTTP/1.0, or with anything but one final "chunked" (RFC 9112 6.1).
 */
export function isChunked(section: HeaderSection, minor: 0 | 1): boolean {
  const { transferEncoding } = section;
  if (transferEncoding === undefined) return false;
  if (section.contentLength !== undefined)
    throw new Http1Fault(
      "grammar",
      "both Content-Length and Transfer-Encoding",
    );
  if (minor === 0)
    throw new Http1Fault("grammar", "Transfer-Encoding in HTTP/1.0");
  if (transferEncoding.toLowerCase() === "chunked") return true;
  const codings = transferEncoding.toLowerCase().split(",").map(withoutBlanks);
  const understandable =
    codings.length > 1 &&
    codings.every(isToken) &&
    codings.indexOf("chunked") === codings.length - 1;
  throw understandable
    ? new Http1Fault("coding", "a transfer coding other than chunked")
    : new Http1Fault(
        "grammar",
        "Transfer-Encoding is not exactly one final chunked",
      );
}
