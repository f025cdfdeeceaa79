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
const ESCAPE = /%([0-9a-fA-F]{2})/g;

/** What is not UTF-8, or has a "%" that begins no escape, stands for itself. It is judged first: to catch an error takes ten times as long. */
export function decodeQuery(text: string): string {
  if (!text.includes("%") || !ESCAPED.test(text)) return text;
  const bytes = Buffer.from(
    Buffer.from(text, "utf8")
      .toString("latin1")
      .replaceAll(ESCAPE, (_escape, digits: string) =>
        String.fromCharCode(Number.parseInt(digits, 16)),
      ),
    "latin1",
  );
  return isUtf8(bytes) ? bytes.toString("utf8") : text;
}
