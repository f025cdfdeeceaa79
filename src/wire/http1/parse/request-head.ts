/** Request line and header section to a neutral request head, by the strict reading of RFC 9112 3 and 6. */
import { canonicalAuthority } from "../../../core/text/authority.ts";
import type { Claims, RequestHead } from "../../exchange.ts";
import type { Field } from "../../fields.ts";
import { knownMethod } from "../../methods.ts";
import {
  comparableAuthority,
  hasPort,
  isTarget,
  isToken,
} from "../../grammar.ts";
import { lineEnd } from "./field-lines.ts";
import {
  isChunked,
  parseHeaderSection,
  type Framing,
} from "./header-section.ts";
import type { HeadMemory } from "./head-memory.ts";
import type { Http1Limits } from "../limits.ts";
import { Http1Fault } from "../fault.ts";
import { WEBSOCKET } from "../../websocket/handshake.ts";

export interface ParsedRequest {
  readonly head: RequestHead;
  readonly framing: Framing;
  /** The minor version of HTTP/1. */
  readonly minor: 0 | 1;
  /** What the caller wants of the connection (RFC 9112 9.3). */
  readonly keepAlive: boolean;
  /** The caller may hold its body back until it sees a 100 (RFC 9110 10.1.1). */
  readonly expectsContinue: boolean;
  /** The caller asks for another protocol (RFC 9110 7.8): the head says so of a WebSocket, and of no other. */
  readonly asksUpgrade: boolean;
}

interface Target {
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
  readonly absolute: boolean;
}

/**
 * `text` is the head in latin-1 with the CRLF of its last line, without the empty line. `scheme` is that of the connection,
 * for targets that do not say it. `claims`: what is not believed of the caller. Throws `Http1Fault`.
 */
export function parseRequestHead(
  text: string,
  scheme: "http" | "https",
  limits: Http1Limits,
  memory: HeadMemory,
  claims?: Claims,
): ParsedRequest {
  const { end, minor, method, target } = parseRequestLine(text, limits);
  const section = parseHeaderSection(text, end + 2, limits, memory, claims);
  if (section.host === undefined && minor === 1)
    throw new Http1Fault("grammar", "no Host in an HTTP/1.1 request");
  // Read once, here: what goes on is the host that everybody sees (law 14).
  const host =
    section.host === undefined
      ? undefined
      : canonical(section.host, "Host is not one host and port");
  const chunked = isChunked(section, minor);
  const {
    scheme: saidScheme,
    authority,
    path,
    absolute,
  } = target.charCodeAt(0) === 0x2f && method !== "CONNECT"
    ? { scheme, authority: host ?? "", path: target, absolute: false }
    : otherForm(method, target, section.host, host, scheme);
  if (method === "CONNECT" && (chunked || section.contentLength !== undefined))
    throw new Http1Fault("grammar", "CONNECT with a body (RFC 9110 9.3.6)");
  if (method === "TRACE" && (chunked || section.contentLength !== undefined))
    throw new Http1Fault("grammar", "TRACE with a body (RFC 9110 9.3.8)");
  const framing =
    section.contentLength === undefined || section.contentLength === 0
      ? chunked
        ? "chunked"
        : "none"
      : "length";
  // RFC 9110 7.8: not of HTTP/1.0. Other protocols are asked for by clients that can do without (h2c, TLS).
  const protocol =
    section.webSocket && section.switches && minor === 1
      ? WEBSOCKET
      : undefined;
  if (protocol !== undefined && framing !== "none")
    throw new Http1Fault("grammar", "a WebSocket handshake with a body");
  return {
    head: {
      method,
      scheme: saidScheme,
      authority,
      path,
      protocol,
      fields: expectationJudged(section.fields, section.expect, minor),
      contentLength: section.contentLength,
      acceptsTrailers: section.trailers,
      absoluteForm: absolute,
    },
    framing,
    minor,
    keepAlive: !section.close && (minor === 1 || section.keepAlive),
    expectsContinue: minor === 1 && section.expect !== undefined,
    asksUpgrade: section.upgrade,
  };
}

interface RequestLine {
  /** Where it ends in the text. */
  readonly end: number;
  readonly minor: 0 | 1;
  readonly method: string;
  readonly target: string;
}

/** request-line = method SP request-target SP HTTP-version (RFC 9112 3). */
function parseRequestLine(text: string, limits: Http1Limits): RequestLine {
  const end = lineEnd(text, 0);
  if (end > limits.requestLineBytes)
    throw new Http1Fault(
      "line",
      `the request line is over ${limits.requestLineBytes} bytes`,
    );
  const methodEnd = text.indexOf(" ");
  if (methodEnd === -1 || methodEnd > end)
    throw new Http1Fault("grammar", "the request line has no target");
  const method = knownMethod(text, methodEnd);
  const targetEnd = text.indexOf(" ", methodEnd + 1);
  if (targetEnd === -1 || targetEnd > end)
    throw new Http1Fault("grammar", "the request line has no version");
  if (method === undefined && !/ |http/i.test(text.slice(targetEnd + 1, end)))
    throw new Http1Fault("foreign", "what came is of another protocol");
  const minor = parseVersion(text, targetEnd + 1, end);
  if (method === undefined) throw methodFault(text.slice(0, methodEnd));
  const target = text.slice(methodEnd + 1, targetEnd);
  if (!isTarget(target))
    throw new Http1Fault(
      "grammar",
      "the request target has a character that no target has",
    );
  return { end, minor, method, target };
}

function methodFault(method: string): Http1Fault {
  return isToken(method)
    ? new Http1Fault("method", "the method is none that crosses this proxy")
    : new Http1Fault("grammar", "the method is not a token");
}

/** HTTP-version = "HTTP/" DIGIT "." DIGIT, case-sensitive (RFC 9112 2.3). */
function parseVersion(text: string, from: number, end: number): 0 | 1 {
  if (end - from === 8) {
    if (text.startsWith("HTTP/1.1", from)) return 1;
    if (text.startsWith("HTTP/1.0", from)) return 0;
    if (/^HTTP\/[0-9]\.[0-9]$/.test(text.slice(from, end)))
      throw new Http1Fault("version", "neither HTTP/1.1 nor HTTP/1.0");
  }
  throw new Http1Fault(
    "grammar",
    "the request line has no well-formed version",
  );
}

/** Absolute, authority and asterisk form (RFC 9112 3.2.2 to 3.2.4). `said` is Host as it was sent, `host` its canonical form. */
function otherForm(
  method: string,
  target: string,
  said: string | undefined,
  host: string | undefined,
  scheme: string,
): Target {
  if (method === "CONNECT") {
    const fault = "the target of CONNECT is host:port";
    const authority = canonical(target, fault);
    if (!hasPort(authority)) throw new Http1Fault("grammar", fault);
    requireSameHost(target, said, "");
    return { scheme, authority, path: "", absolute: false };
  }
  if (target === "*") {
    if (method !== "OPTIONS")
      throw new Http1Fault("grammar", "the target * is for OPTIONS only");
    return { scheme, authority: host ?? "", path: "*", absolute: false };
  }
  const opening = /^https?:\/\//i.exec(target)?.[0];
  if (opening === undefined)
    throw new Http1Fault(
      "grammar",
      "the request target is in none of the four forms",
    );
  const lowerScheme = opening.slice(0, -3).toLowerCase();
  const afterAuthority = target.slice(opening.length).search(/[/?]/);
  const authorityEnd =
    afterAuthority === -1 ? target.length : opening.length + afterAuthority;
  const saidAuthority = target.slice(opening.length, authorityEnd);
  const authority = canonical(
    saidAuthority,
    "the target's authority is not host:port",
  );
  const rest = target.slice(authorityEnd);
  requireSameHost(saidAuthority, said, lowerScheme);
  const path =
    rest === ""
      ? // RFC 9112 3.2.4: OPTIONS with an empty path means the server as a whole.
        method === "OPTIONS"
        ? "*"
        : "/"
      : rest.startsWith("?")
        ? `/${rest}`
        : rest;
  return { scheme: lowerScheme, authority, path, absolute: true };
}

function canonical(text: string, fault: string): string {
  const authority = canonicalAuthority(text);
  if (authority === undefined) throw new Http1Fault("grammar", fault);
  return authority;
}

/** RFC 9112 3.2.2 has a proxy ignore Host here; but then two of us could go by different ones, so they must agree as they were sent. */
function requireSameHost(
  authority: string,
  host: string | undefined,
  scheme: string,
): void {
  if (host === undefined) return;
  const same =
    scheme === ""
      ? authority.toLowerCase() === host.toLowerCase()
      : comparableAuthority(authority, scheme) ===
        comparableAuthority(host, scheme);
  if (!same)
    throw new Http1Fault("grammar", "Host differs from the request target");
}

/** RFC 9110 10.1.1: 100-continue is passed on, another expectation is refused, and an HTTP/1.0 caller has none. */
function expectationJudged(
  fields: readonly Field[],
  expect: string | undefined,
  minor: 0 | 1,
): readonly Field[] {
  if (expect === undefined) return fields;
  if (minor === 0) return fields.filter((field) => field.name !== "expect");
  if (expect !== "100-continue")
    throw new Http1Fault("expectation", "the only expectation is 100-continue");
  return fields;
}
