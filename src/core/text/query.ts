/** The query parameters that routes ask for, read once for all of them: a query is searched in time that grows with its length alone (law 15). */
import { isUtf8 } from "node:buffer";

/** The first value of each of the `wanted` parameters, decoded as far as it can be. "+" stays: it is a blank to forms only. */
export function readQuery(
  query: string,
  wanted: ReadonlySet<string>,
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  let start = 0;
  while (start < query.length && values.size < wanted.size) {
    const ampersand = query.indexOf("&", start);
    const end = ampersand < 0 ? query.length : ampersand;
    const parameter = query.slice(start, end);
    const equals = parameter.indexOf("=");
    const name = decodeQuery(
      equals < 0 ? parameter : parameter.slice(0, equals),
    );
    if (wanted.has(name) && !values.has(name))
      values.set(
        name,
        equals < 0 ? "" : decodeQuery(parameter.slice(equals + 1)),
      );
    start = end + 1;
  }
  return values;
}

const ESCAPED = /^(?:[^%]|%[0-9a-fA-F]{2})*$/;
const ESCAPE = /%([0-9a-fA-F]{2})/g;

/** What is not UTF-8, or has a "%" that begins no escape, stands for itself. It is judged first: to catch an error takes ten times as long. */
function decodeQuery(text: string): string {
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
