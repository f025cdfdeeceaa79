/**
 * The one reading of a request that policy judges and the upstream gets (law 6): the path is normalised once, here.
 *
 * Follows Envoy's normalize_path, merge_slashes and path_with_escaped_slashes_action=UNESCAPE_AND_FORWARD, in that file's order:
 * escaped slashes, then escapes and dot segments (RFC 3986 5.2.4, 6.2.2.2), then runs of slashes. Unlike Envoy, it writes the hex
 * digits of an escape in upper case (RFC 3986 6.2.2.1), for "%c3" and "%C3" are one path to the application, and it refuses a "%"
 * that starts no escape.
 */
import { hostOf } from "../core/text/authority.ts";
import { upperEscapes } from "../core/text/percent.ts";
import type { HeaderLines } from "../mesh/header-readings.ts";
import type { PathNormalization } from "../resources/mesh/schema.ts";

export type NormalisedPath =
  | {
      readonly ok: true;
      /** For policy: without query. */
      readonly path: string;
      /** After the first "?", untouched. */
      readonly query: string;
      /** For the upstream: path and query. */
      readonly target: string;
    }
  | { readonly ok: false; readonly detail: string };

/** What a codec's request head must have to be read. `RequestHead` of the wire satisfies it. */
export interface RequestHeadLike {
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
  readonly fields: readonly {
    readonly name: string;
    readonly value: string;
  }[];
}

/** A request as every policy sees it. */
export interface RequestFacts {
  readonly method: string;
  readonly scheme: string;
  /** Canonical (`core/text/authority.ts`), without port. */
  readonly host: string;
  /** Normalised, without query; "" for a plain CONNECT, "*" for OPTIONS of the server. */
  readonly path: string;
  readonly query: string;
  /** By lower-case name; several values joined as RFC 9110 5.3 says; "host" gives `host`. */
  header(name: string): string | undefined;
  /** The same, line by line. */
  lines(name: string): HeaderLines;
}

export type ReadRequest =
  | {
      readonly ok: true;
      readonly facts: RequestFacts;
      /** The path and query to forward. */
      readonly target: string;
    }
  | { readonly ok: false; readonly detail: string };

const SLASH = 0x2f;
const DOT = 0x2e;
const PERCENT = 0x25;
const QUESTION = 0x3f;
const HASH = 0x23;
const BACKSLASH = 0x5c;

/** What one byte of a path asks for. */
const PLAIN = 0;
const LOOK = 1; // % # \ and what must be escaped: leave the fast path
const OCTETS = new Uint8Array(256);
/** RFC 3986 2.3: an escape of these is decoded. */
const UNRESERVED = new Uint8Array(256);
for (let octet = 0; octet < 256; octet += 1) {
  const character = String.fromCharCode(octet);
  if (/[A-Za-z0-9\-._~]/.test(character)) UNRESERVED[octet] = 1;
  // The path percent-encode set of the URL standard, as Envoy's canonicaliser escapes it.
  if (octet <= 0x20 || octet >= 0x7f || '%#\\"<>^`{}'.includes(character))
    OCTETS[octet] = LOOK;
}

/** RFC 3986 2.1: one recipient takes "%zz" for three characters, another for a fault, a third for a character of its own. */
const BARE_PERCENT = /%(?![0-9A-Fa-f]{2})/;
const NO_ESCAPE = 'the path has a "%" without two hex digits behind it';

/**
 * Characters that a path may grow to with its query, since an escape is three for one: what no longer fits in a request line would be
 * refused by the next sidecar, or by the application, and not where it came in.
 */
const LONGEST = 16_000;

/** Splits off the query and normalises the path. Refuses what no policy can judge: a fragment, an escaped NUL, half an escape. */
export function normalisePath(
  target: string,
  mode: PathNormalization,
): NormalisedPath {
  const first = target.charCodeAt(0);
  // CONNECT has no path, OPTIONS of the whole server has "*".
  if (target === "" || target === "*")
    return { ok: true, path: target, query: "", target };
  if (first !== SLASH) return refused("the path does not start with a slash");
  const verbatim = mode === "NONE";
  const merge = mode === "MERGE_SLASHES" || mode === "DECODE_AND_MERGE_SLASHES";
  let clean = true;
  let at = 0;
  for (; at < target.length; at += 1) {
    const code = target.charCodeAt(at);
    if (code === QUESTION) break;
    if (code === SLASH) {
      const next = target.charCodeAt(at + 1);
      if (next === DOT || (merge && next === SLASH)) clean = false;
    } else if (code > 0xff || OCTETS[code] !== PLAIN) {
      if (code === HASH) return refused("the path has a fragment");
      clean = false;
    }
  }
  const end = at;
  const query = end < target.length ? target.slice(end + 1) : "";
  const raw = end < target.length ? target.slice(0, end) : target;
  if (clean) return { ok: true, path: raw, query, target };
  // Forwarded as it came, and yet one path to policy however its escapes are written.
  if (verbatim && BARE_PERCENT.test(raw)) return refused(NO_ESCAPE);
  if (verbatim) return { ok: true, path: upperEscapes(raw), query, target };

  const decoded = decode(raw, mode === "DECODE_AND_MERGE_SLASHES");
  if (!decoded.ok) return decoded;
  let path = removeDotSegments(decoded.path);
  if (merge) path = path.replace(/\/{2,}/g, "/");
  if (path.length > raw.length && path.length + query.length > LONGEST)
    return refused("the path is too long once its characters are escaped");
  return {
    ok: true,
    path,
    query,
    target: path === raw ? target : path + target.slice(end),
  };
}

type Decoded =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly detail: string };

/** Decodes escapes of unreserved characters (and of slashes), escapes what may not stand raw, turns "\" into "/". One pass: nothing is decoded twice. */
function decode(raw: string, slashes: boolean): Decoded {
  let out = "";
  for (let at = 0; at < raw.length; at += 1) {
    const code = raw.charCodeAt(at);
    if (code === PERCENT) {
      const value = escapedOctet(raw, at);
      if (value < 0) {
        return refused(NO_ESCAPE);
      } else if (value === 0) {
        return refused("the path has an escaped NUL");
      } else if (UNRESERVED[value] === 1) {
        out += String.fromCharCode(value);
        at += 2;
      } else if (slashes && (value === SLASH || value === BACKSLASH)) {
        out += "/";
        at += 2;
      } else {
        out += raw.slice(at, at + 3).toUpperCase();
        at += 2;
      }
    } else if (code === BACKSLASH) {
      out += "/";
    } else if (code > 0xff) {
      return refused("the path has a character that is not a byte");
    } else if (OCTETS[code] === PLAIN) {
      out += raw[at] ?? "";
    } else {
      if (code === 0) return refused("the path has a NUL");
      out += `%${code.toString(16).toUpperCase().padStart(2, "0")}`;
    }
  }
  return { ok: true, path: out };
}

/** RFC 3986 5.2.4 on a path that starts with "/". */
function removeDotSegments(path: string): string {
  if (!path.includes("/.")) return path;
  const segments = path.split("/");
  const kept: string[] = [];
  for (let index = 1; index < segments.length; index += 1) {
    const segment = segments[index] ?? "";
    const last = index === segments.length - 1;
    if (segment === "..") kept.pop();
    else if (segment !== ".") kept.push(segment);
    // A dot segment at the end leaves a directory: "/a/b/.." is "/a/".
    if (last && (segment === "." || segment === "..")) kept.push("");
  }
  return `/${kept.join("/")}`;
}

/** The byte of the escape at `at`, or −1 where two hex digits do not follow. */
function escapedOctet(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at + 1));
  const low = hexDigit(text.charCodeAt(at + 2));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}

function refused(detail: string): { readonly ok: false; detail: string } {
  return { ok: false, detail };
}

/** Reads a head once, for routing, authorization and forwarding alike (law 6). `ok: false` is a 400. */
export function readRequest(
  head: RequestHeadLike,
  mode: PathNormalization,
): ReadRequest {
  const normalised = normalisePath(head.path, mode);
  if (!normalised.ok) return normalised;
  const facts: Facts = {
    method: head.method,
    scheme: head.scheme,
    host: hostOf(head.authority),
    path: normalised.path,
    query: normalised.query,
    fields: head.fields,
    header,
    lines,
  };
  return { ok: true, facts, target: normalised.target };
}

interface Facts extends RequestFacts {
  readonly fields: RequestHeadLike["fields"];
}

/** Shared by all facts: a closure for each request would be garbage for each request. */
function header(this: Facts, name: string): string | undefined {
  if (name === "host") return this.host === "" ? undefined : this.host;
  let joined: string | undefined;
  for (const field of this.fields) {
    if (field.name !== name) continue;
    if (joined === undefined) joined = field.value;
    else joined += (name === "cookie" ? "; " : ", ") + field.value;
  }
  return joined;
}

function lines(this: Facts, name: string): HeaderLines {
  if (name === "host") return this.header(name);
  let first: string | undefined;
  let all: string[] | undefined;
  for (const field of this.fields) {
    if (field.name !== name) continue;
    if (first === undefined) first = field.value;
    else (all ??= [first]).push(field.value);
  }
  return all ?? first;
}
