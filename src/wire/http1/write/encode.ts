/** Neutral heads to HTTP/1.1 text, one latin-1 character a byte (RFC 9112 3, 4, 5). */
import type { RequestHead, ResponseHead } from "../../exchange.ts";
import { FieldClass } from "../../../mesh/field-class.ts";
import { type Field, type Fields } from "../../fields.ts";
import { isFieldValue, isTarget, isToken } from "../../grammar.ts";
import { phraseOf } from "./phrases.ts";
import { Http1Fault } from "../fault.ts";

/** The codec alone writes these; whatever else puts them among the fields would break the framing. */
const OWN = FieldClass.CONNECTION | FieldClass.FRAMING;

/** How the codec wants its message read: the lines that it adds behind the fields. */
export const CHUNKED = "transfer-encoding: chunked\r\n";
export const CLOSE = "connection: close\r\n";
export const KEEP_ALIVE = "connection: keep-alive\r\n";
/** A WebSocket's handshake has them, and the 101 that takes it (RFC 6455 4.1, 4.2.2). */
export const UPGRADE = "connection: Upgrade\r\nupgrade: websocket\r\n";
/** A 426 has to name what is asked for (RFC 9110 15.5.22). */
export const CLOSE_AND_UPGRADE =
  "connection: close, Upgrade\r\nupgrade: websocket\r\n";

export function contentLengthLine(bytes: number): string {
  return `content-length: ${bytes}\r\n`;
}

const statusLines = new Map<number, string>();

function statusLine(status: number): string {
  let line = statusLines.get(status);
  if (line === undefined) {
    if (!(Number.isInteger(status) && status >= 100 && status <= 599))
      throw new Http1Fault("grammar", "a status that HTTP does not have");
    // RFC 9112 4: the phrase may be empty, the space before it may not.
    line = `HTTP/1.1 ${status} ${phraseOf(status)}\r\n`;
    statusLines.set(status, line);
  }
  return line;
}

/** `own` are the codec's lines. Throws `Http1Fault` where the head has what no head may have. */
export function encodeResponse(head: ResponseHead, own: string): string {
  return `${statusLine(head.status)}${fieldLines(head.fields)}${own}\r\n`;
}

/** Host stands first (RFC 9110 7.2). Throws `Http1Fault`. */
export function encodeRequest(head: RequestHead, own: string): string {
  const { method, authority } = head;
  const target = targetOf(head);
  if (!isToken(method))
    throw new Http1Fault("grammar", "the method is not a token");
  if (!isTarget(target))
    throw new Http1Fault("grammar", "a target that no request line can hold");
  if (authority !== "" && !isTarget(authority))
    throw new Http1Fault("grammar", "an authority that Host cannot hold");
  // RFC 9110 10.1.4: TE is for the next hop, and Connection says so.
  const trailers = head.acceptsTrailers
    ? "te: trailers\r\nconnection: te\r\n"
    : "";
  return (
    `${method} ${target} HTTP/1.1\r\nhost: ${authority}\r\n` +
    `${requestFieldLines(head.fields)}${trailers}${own}\r\n`
  );
}

/** The request target (RFC 9112 3.2). */
function targetOf(head: RequestHead): string {
  const { method, scheme, authority, path, absoluteForm } = head;
  if (method === "CONNECT") return authority;
  if (!absoluteForm) return path;
  return `${scheme}://${authority}${path === "*" ? "" : path}`;
}

/** The lines of a trailer section. */
export function fieldLines(fields: Fields): string {
  let lines = "";
  for (const field of fields)
    if ((field.bits & OWN) === 0) lines += field.line ?? lineOf(field);
  return lines;
}

/** HTTP/2 splits Cookie at will; HTTP/1.1 has it in one line (RFC 9113 8.2.3). */
function requestFieldLines(fields: Fields): string {
  let lines = "";
  let cookie: Field | undefined;
  let crumbs = "";
  for (const field of fields) {
    if ((field.bits & OWN) !== 0) continue;
    if ((field.bits & FieldClass.SENSITIVE) !== 0 && field.name === "cookie") {
      if (cookie === undefined) cookie = field;
      else crumbs += `; ${checked(field).value}`;
      continue;
    }
    lines += field.line ?? lineOf(field);
  }
  if (cookie === undefined) return lines;
  return crumbs === ""
    ? lines + (cookie.line ?? lineOf(cookie))
    : `${lines}cookie: ${checked(cookie).value}${crumbs}\r\n`;
}

function lineOf(field: Field): string {
  checked(field);
  const line = `${field.name}: ${field.value}\r\n`;
  field.line = line;
  return line;
}

/** Fields come from the other codec and from configuration too: none may bring a line break of its own into this text. */
function checked(field: Field): Field {
  const { name, value } = field;
  if (!isToken(name) || !isFieldValue(value))
    throw new Http1Fault("grammar", "a field that no field line can hold");
  return field;
}
