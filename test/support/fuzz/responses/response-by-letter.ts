/** A slow reading of an HTTP/1 response by the letter of RFC 9112 and of decisions 009 and 012, to compare the codec's with: regular expressions, and no line of it shared. */
import type { Pair } from "../requests/request.ts";

export type ByLetter =
  | {
      readonly kind: "response";
      readonly status: number;
      /** Lower-case names; what belongs to one connection alone is left out. */
      readonly fields: readonly Pair[];
      readonly body: string;
      readonly trailers: readonly string[];
      /** Bytes stand behind it. */
      readonly more: boolean;
    }
  | {
      readonly kind: "bad";
      readonly why: string;
      /** In what is behind its content alone: all the rest may have gone on before that came. */
      readonly late?: boolean;
    };

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const STATUS_LINE =
  /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const OF_CONNECTION = new Set([
  ...["connection", "keep-alive", "proxy-connection", "upgrade", "te"],
  ...["http2-settings", "transfer-encoding", "content-length", "host"],
]);
/** What a Connection field may not name (decision 009), of the names that are used here. */
const NEVER_NAMED =
  /^(?:content-(?:length|encoding|type|range)|transfer-encoding|host|.*cookie.*|date|trailer|cache-control|x-wherry-.*|x-forwarded-.*|via|traceparent|retry-after.*never)$/;
/** RFC 9110 6.5.1, of the names that are used here. */
const NEVER_TRAILER =
  /^(?:content-length|transfer-encoding|set-cookie|host|connection|content-type|trailer|date.*never|te)$/;
/** To CGI, names that frame the message (decision 012). */
const LOOKALIKE =
  /^(?:content_length|transfer_encoding|x_forwarded_client_cert)$/;
const MOST_FIELDS = 100;
const MOST_HEAD = 65_536;
const MOST_INTERIMS = 16;

/** `ended`: the connection was ended behind these bytes. */
export function readByLetter(
  text: string,
  method: string,
  ended: boolean,
): ByLetter {
  let rest = text;
  for (let interims = 0; ; interims += 1) {
    const head = headOf(rest);
    if (typeof head === "string") return bad(head);
    const { status, minor, fields, end } = head;
    const all = (name: string): string[] =>
      fields.filter(([each]) => each === name).map(([, value]) => value);
    const flaw = flawOf(fields);
    if (flaw !== undefined) return bad(flaw);
    const lengths = all("content-length");
    const codings = all("transfer-encoding");
    if (all("host").length > 1) return bad("two hosts");
    const [length] = lengths;
    const [coding] = codings;
    if (lengths.length > 1 || codings.length > 1) return bad("two framings");
    if (length !== undefined && !/^[0-9]{1,16}$/.test(length))
      return bad("no length");
    if (coding !== undefined) {
      if (length !== undefined) return bad("a length beside a coding");
      if (minor === "0") return bad("a coding in HTTP/1.0");
      if (coding.toLowerCase() !== "chunked") return bad("another coding");
    }
    const options = optionsOf(all("connection"));
    const closes =
      options.includes("close") ||
      all("proxy-connection").some((value) =>
        optionsOf([value]).includes("close"),
      );
    const keeps = !closes && (minor === "1" || options.includes("keep-alive"));
    const announced = coding !== undefined || Number(length ?? 0) > 0;
    const after = rest.slice(end);
    if (status < 200) {
      if (status === 101) return bad("a change of protocol");
      if (!keeps) return bad("a 1xx that ends the connection");
      if (announced) return bad("a 1xx with content");
      if (interims + 1 > MOST_INTERIMS) return bad("too many 1xx");
      rest = after;
      continue;
    }
    if (status === 204 && announced) return bad("a 204 with content");
    const kept = fields.filter(
      ([name]) => !OF_CONNECTION.has(name) && !options.includes(name),
    );
    const done = (
      body: string,
      size: number,
      trailers: string[] = [],
    ): ByLetter => ({
      kind: "response",
      status,
      fields: kept,
      body,
      trailers,
      more: after.length > size,
    });
    if (status === 204 || status === 304 || method === "HEAD")
      return done("", 0);
    if (coding !== undefined) {
      const read = chunksOf(after);
      return typeof read === "string"
        ? bad(read)
        : done(read.body, read.size, read.trailers);
    }
    if (length !== undefined) {
      const size = Number(length);
      return after.length < size
        ? bad("cut off")
        : done(after.slice(0, size), size);
    }
    return ended ? done(after, after.length) : bad("without an end");
  }
}

function bad(why: string): ByLetter {
  return { kind: "bad", why };
}

interface Head {
  readonly status: number;
  readonly minor: string;
  readonly fields: readonly Pair[];
  readonly end: number;
}

function headOf(text: string): Head | string {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd === -1) return "no end of the head";
  if (headEnd + 4 > MOST_HEAD) return "a large head";
  const [first = "", ...lines] = text.slice(0, headEnd).split("\r\n");
  const said = STATUS_LINE.exec(first);
  if (said === null) return "no status line";
  const fields: Pair[] = [];
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon));
    const value = line.slice(colon + 1);
    if (!TOKEN.test(name) || !VALUE.test(value)) return "no field line";
    const trimmed = trim(value);
    // What Node's parser takes for a part of the name of a coding (decision 012).
    if (
      /^transfer-encoding$/i.test(name) &&
      /\t/.test(value.slice(value.lastIndexOf(trimmed) + trimmed.length))
    )
      return "a tab behind a coding";
    fields.push([name.toLowerCase(), trimmed]);
  }
  if (fields.length > MOST_FIELDS) return "too many fields";
  return {
    status: Number(said[2]),
    minor: said[1] ?? "",
    fields,
    end: headEnd + 4,
  };
}

function flawOf(fields: readonly Pair[]): string | undefined {
  for (const [name, value] of fields) {
    if (LOOKALIKE.test(name)) return "a lookalike";
    if (name !== "connection") continue;
    for (const option of optionsOf([value]))
      if (!TOKEN.test(option)) return "no connection option";
      else if (NEVER_NAMED.test(option))
        return "a connection option that is not for it";
  }
  return undefined;
}

function optionsOf(values: readonly string[]): string[] {
  return values
    .flatMap((value) => value.toLowerCase().split(","))
    .map(trim)
    .filter((option) => option !== "");
}

/** Character by character: a regular expression for it is where quadratic time comes from. */
function trim(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && /[ \t]/.test(text.charAt(from))) from += 1;
  while (to > from && /[ \t]/.test(text.charAt(to - 1))) to -= 1;
  return text.slice(from, to);
}

function chunksOf(text: string):
  | {
      readonly body: string;
      readonly size: number;
      readonly trailers: string[];
    }
  | string {
  let at = 0;
  let body = "";
  for (;;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return "a chunk that is cut off";
    const line = text.slice(at, lineEnd);
    const said =
      /^([0-9a-fA-F]{1,16})((?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)*)$/.exec(
        line,
      );
    if (said === null || (said[2] ?? "").length > 256) return "no chunk";
    const size = Number.parseInt(said[1] ?? "", 16);
    at = lineEnd + 2;
    if (size === 0) break;
    if (text.length < at + size + 2) return "a chunk that is cut off";
    body += text.slice(at, at + size);
    at += size;
    if (text.slice(at, at + 2) !== "\r\n") return "no end of a chunk";
    at += 2;
  }
  const trailers: string[] = [];
  for (;;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return "trailers that are cut off";
    const line = text.slice(at, lineEnd);
    at = lineEnd + 2;
    if (line === "") return { body, size: at, trailers };
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    const value = line.slice(colon + 1);
    if (!TOKEN.test(name) || !VALUE.test(value)) return "no trailer";
    if (NEVER_TRAILER.test(name) || LOOKALIKE.test(name))
      return "a trailer that is none";
    trailers.push(`${name}: ${trim(value)}`);
  }
}
