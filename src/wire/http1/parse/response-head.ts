/** Status line and header section to a neutral response head, by the strict reading of RFC 9112 4 and 6. */
import type { ResponseHead } from "../../exchange.ts";
import { isFieldValue } from "../../grammar.ts";
import { lineEnd } from "./field-lines.ts";
import {
  isChunked,
  parseHeaderSection,
  type Framing,
} from "./header-section.ts";
import type { HeadMemory } from "./head-memory.ts";
import type { Http1Limits } from "../limits.ts";
import { Http1Fault } from "../fault.ts";

export interface ParsedResponse {
  readonly head: ResponseHead;
  readonly framing: Framing | "tunnel";
  /** What the server says of the connection (RFC 9112 9.3); a close-delimited body ends it too. */
  readonly keepAlive: boolean;
  /** Milliseconds of Keep-Alive: timeout. */
  readonly keepAliveTimeout: number | undefined;
}

/** What of the request decides how its response is read. */
export interface Asked {
  readonly method: string;
  /** The protocol that it asked for. */
  readonly protocol: string | undefined;
}

/**
 * `text` is the head in latin-1 with the CRLF of its last line, without the empty line; `asked` the request, which decides whether
 * there is a body (RFC 9112 6.3). Throws `Http1Fault`.
 */
export function parseResponseHead(
  text: string,
  { method, protocol }: Asked,
  limits: Http1Limits,
  memory: HeadMemory,
): ParsedResponse {
  const end = lineEnd(text, 0);
  const { status, minor } = parseStatusLine(text, end);
  const section = parseHeaderSection(text, end + 2, limits, memory);
  // PHP's own server says the Host of the request again in every response. It is nobody's, and is not passed on.
  const keepAlive = !section.close && (minor === 1 || section.keepAlive);
  const { keepAliveTimeout } = section;
  const head = (contentLength: number | undefined): ResponseHead => ({
    status,
    fields: section.fields,
    contentLength,
  });
  // RFC 9110 9.3.6: whatever framing a 2xx to CONNECT claims is ignored, as everybody must.
  if (method === "CONNECT" && status >= 200 && status < 300)
    return {
      head: head(undefined),
      framing: "tunnel",
      keepAlive: false,
      keepAliveTimeout,
    };
  const chunked = isChunked(section, minor);
  // RFC 9110 15.2: HTTP/1.0 knows no 1xx, and a close before the final response is the end of it to some.
  if (status < 200 && !keepAlive)
    throw new Http1Fault("grammar", "a 1xx that ends the connection");
  if (status < 200 || status === 204) {
    // RFC 9110 8.6 and RFC 9112 6.1 forbid both fields here: some would read a body, some would not.
    if (chunked || (section.contentLength ?? 0) > 0)
      throw new Http1Fault("grammar", "a body announced for a 1xx or 204");
    // RFC 9110 7.8: a protocol may be switched only to one that was asked for.
    if (
      status === 101 &&
      (protocol === undefined || !section.webSocket || !section.switches)
    )
      throw new Http1Fault("grammar", "101 without an Upgrade");
    return {
      head: head(undefined),
      framing: status === 101 ? "tunnel" : "none",
      keepAlive,
      keepAliveTimeout,
    };
  }
  const { contentLength } = section;
  const bodiless =
    method === "HEAD" || status === 304 || (contentLength === 0 && !chunked);
  const framing = bodiless
    ? "none"
    : chunked
      ? "chunked"
      : contentLength === undefined
        ? "close"
        : "length";
  return {
    head: head(contentLength),
    framing,
    // An answer to HEAD that tells no length leaves open what a server that sends its body would send.
    keepAlive:
      keepAlive &&
      framing !== "close" &&
      (method !== "HEAD" || chunked || contentLength !== undefined),
    keepAliveTimeout,
  };
}

/**
 * status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 4). The second SP may be missing with the phrase:
 * many servers leave it out, and there is no second way to read the line.
 */
function parseStatusLine(
  text: string,
  end: number,
): { status: number; minor: 0 | 1 } {
  const minor = text.startsWith("HTTP/1.1 ")
    ? 1
    : text.startsWith("HTTP/1.0 ")
      ? 0
      : undefined;
  if (minor === undefined)
    throw new Http1Fault(
      "grammar",
      "the status line is not of HTTP/1.1 or 1.0",
    );
  const status =
    end >= 12
      ? digit(text, 9) * 100 + digit(text, 10) * 10 + digit(text, 11)
      : Number.NaN;
  if (!(status >= 100 && status <= 599))
    throw new Http1Fault("grammar", "the status is not from 100 to 599");
  if (end > 12 && text.charCodeAt(12) !== 0x20)
    throw new Http1Fault("grammar", "the status is not three digits");
  if (!isFieldValue(text.slice(12, end)))
    throw new Http1Fault("grammar", "a control character in the status line");
  return { status, minor };
}

function digit(text: string, at: number): number {
  const value = text.charCodeAt(at) - 0x30;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}
