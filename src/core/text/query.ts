/** The query parameters that routes ask for, read once for all of them: a query is searched in time that grows with its length alone (law 15). */
import { isUtf8 } from "node:buffer";

/** One parameter of a query. */
export interface Parameter {
  /** Decoded as far as it can be. "+" stays: it is a blank to forms only. */
  readonly name: string;
  /** As it is written. */
  readonly value: string;
  /** Name and value, as they are written. */
  readonly raw: string;
}

/** All parameters, in their order. */
export function* parametersOf(query: string): Generator<Parameter, void> {
  let start = 0;
  while (start < query.length) {
    const ampersand = query.indexOf("&", start);
    const end = ampersand < 0 ? query.length : ampersand;
    const raw = query.slice(start, end);
    const equals = raw.indexOf("=");
    yield {
      name: decodeQuery(equals < 0 ? raw : raw.slice(0, equals)),
      value: equals < 0 ? "" : raw.slice(equals + 1),
      raw,
    };
    start = end + 1;
  }
}

/** The first value of each of the `wanted` parameters, decoded as far as it can be. */
export function readQuery(
  query: string,
  wanted: ReadonlySet<string>,
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const { name, value } of parametersOf(query)) {
    if (wanted.has(name) && !values.has(name))
      values.set(name, decodeQuery(value));
    if (values.size === wanted.size) break;
  }
  return values;
}

const ESCAPED = /^(?:[^%]|%[0-9a-fA-F]{2})*$/;
const PERCENT = 0x25;

/**
 * What is not UTF-8, or has a "%" that begins no escape, stands for itself. It is judged first, since to catch an error takes ten times
 * as long; so does a call for each escape.
 */
export function decodeQuery(text: string): string {
  if (!text.includes("%") || !ESCAPED.test(text)) return text;
  const bytes = Buffer.from(text, "utf8");
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    let byte = bytes[at] ?? 0;
    if (byte === PERCENT) {
      byte = 16 * digit(bytes[at + 1] ?? 0) + digit(bytes[at + 2] ?? 0);
      at += 2;
    }
    bytes[length] = byte;
    length += 1;
  }
  const decoded = bytes.subarray(0, length);
  return isUtf8(decoded) ? decoded.toString("utf8") : text;
}

/** The value of a hexadecimal digit, by its code. */
function digit(code: number): number {
  return (code & 0xf) + (code > 0x39 ? 9 : 0);
}
