/**
 * How applications may read a header that comes in several lines, as a list, or under another spelling of its name.
 *
 * Go's Header.Get gives the first line, Node and PHP join them, wsgiref joins them without a blank, and others split what they get.
 * What forbids holds for each of these readings, and what allows asks all of them (law 14).
 */
import { dashed } from "./field-class.ts";

/** The values of a header, one for each line; the text alone where there is one. */
export type HeaderLines = string | readonly string[] | undefined;

const SEPARATOR = /,/;
/** Cookies are separated by ";", and by "," in older recipients (RFC 2965 3.3.4). */
const OF_COOKIES = /[,;]/;

/** Members that the headers which rules read may have together: each of them is compared with each value of each rule. */
const MOST_MEMBERS = 1000;

/** Each line, the lines joined, and each member of a list: one that fits is enough to forbid. */
export function anyReading(name: string, lines: HeaderLines): HeaderLines {
  const separator = name === "cookie" ? OF_COOKIES : SEPARATOR;
  if (typeof lines === "string" && !separator.test(lines)) return lines;
  if (lines === undefined) return undefined;
  const all = typeof lines === "string" ? [lines] : lines;
  const readings = new Set([...all, all.join(", "), all.join(",")]);
  if (name === "cookie") readings.add(all.join("; "));
  for (const line of all)
    for (const member of line.split(separator, MOST_MEMBERS))
      readings.add(member.trim());
  return [...readings];
}

/** Each line and the lines joined: all of them must fit before anything is allowed. Cookie is one value, however many lines it has (RFC 9113 8.2.3). */
export function wholeReading(name: string, lines: HeaderLines): HeaderLines {
  if (lines === undefined || typeof lines === "string") return lines;
  if (name === "cookie") return lines.join("; ");
  return [...lines, lines.join(", "), lines.join(",")];
}

/** The headers that rules of a port read. */
export interface ReadHeaders {
  /** In lower case, as the rules write them. */
  readonly names: ReadonlySet<string>;
  /** The same as `dashed` writes them. */
  readonly spelled: ReadonlySet<string>;
}

/** Undefined where no rule reads a header, so that no request is searched for them. */
export function readHeadersOf(
  names: readonly string[],
): ReadHeaders | undefined {
  if (names.length === 0) return undefined;
  const lower = names.map((name) => name.toLowerCase());
  return { names: new Set(lower), spelled: new Set(lower.map(dashed)) };
}

/** Why no rule could judge a request with these fields; undefined where they can. */
export function ambiguityOf(
  { names, spelled }: ReadHeaders,
  fields: readonly { readonly name: string; readonly value: string }[],
): string | undefined {
  let members = 0;
  for (const { name, value } of fields) {
    if (names.has(name)) {
      members += membersOf(value);
      if (members > MOST_MEMBERS)
        return `header ${name} has too many members: a policy reads it, and judges at most ${MOST_MEMBERS}`;
    } else if (spelled.has(dashed(name)))
      return `header ${name.slice(0, 100)} is ${[...names].find((read) => dashed(read) === dashed(name)) ?? ""} to some applications, and a policy reads that one: send only that one`;
  }
  return undefined;
}

function membersOf(value: string): number {
  let count = 1;
  for (let at = 0; at < value.length; at += 1) {
    const code = value.charCodeAt(at);
    if (code === 0x2c || code === 0x3b) count += 1;
  }
  return count;
}
