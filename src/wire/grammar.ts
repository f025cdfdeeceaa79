/** The character classes and small productions of RFC 9110 and RFC 9112: look-up tables for names and single bytes, expressions for long texts. */
import { canonicalAuthority } from "../core/text/authority.ts";

/** Bytes of the longest request line that crosses a hop, whatever version it came over (RFC 9112 3). */
export const LONGEST_REQUEST_LINE: number = 16 * 1024;

const ALPHANUMERIC =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** tchar (RFC 9110 5.6.2). */
export const TOKEN: Uint8Array = tableOf(ALPHANUMERIC + "!#$%&'*+-.^_`|~");

/** What a field value is made of: HTAB, SP, VCHAR and obs-text (RFC 9110 5.5). No other control character, so neither CR, LF nor NUL. */
export const FIELD_VALUE: Uint8Array = rangeTable([
  [0x09, 0x09],
  [0x20, 0x7e],
  [0x80, 0xff],
]);

function tableOf(characters: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const character of characters) table[character.charCodeAt(0)] = 1;
  return table;
}

function rangeTable(
  ranges: readonly (readonly [number, number])[],
): Uint8Array {
  const table = new Uint8Array(256);
  for (const [first, last] of ranges) table.fill(1, first, last + 1);
  return table;
}

const FIELD_VALUE_TEXT = /^[\t\x20-\x7e\x80-\xff]*$/;

/** As `FIELD_VALUE` says of each character. A token has hundreds of them, and for so many an expression takes a third of a loop's time. */
export function isFieldValue(text: string): boolean {
  return FIELD_VALUE_TEXT.test(text);
}

const TARGET_TEXT = /^[\x21\x22\x24-\x7e]+$/;

/**
 * What a request target is made of: visible ASCII but "#" (RFC 9112 3.2, RFC 3986 2). Characters that a URI must
 * percent-encode but no parser takes for a delimiter, such as "|", are let through: path normalisation judges them.
 */
export function isTarget(text: string): boolean {
  return TARGET_TEXT.test(text);
}

/** SP or HTAB: the white space of OWS (RFC 9110 5.6.3). */
export function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** The text without the blanks at its ends. Not by an expression: "blanks up to the end" is tried at every blank of a long run of them. */
export function withoutBlanks(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from += 1;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
  return text.slice(from, to);
}

/** token = 1*tchar (RFC 9110 5.6.2). */
export function isToken(text: string): boolean {
  return beginsWithToken(text, text.length);
}

/** Whether text[0, end) is a token. */
export function beginsWithToken(text: string, end: number): boolean {
  for (let at = 0; at < end; at += 1)
    if (TOKEN[text.charCodeAt(at)] !== 1) return false;
  return end > 0;
}

/** 1*DIGIT without a sign, a space or a list (RFC 9110 8.6); undefined also where the number is past 2^53. */
export function parseDigits(text: string): number | undefined {
  if (text.length === 0 || text.length > 16) return undefined;
  let value = 0;
  for (let at = 0; at < text.length; at += 1) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
}

/** uri-host [ ":" port ] without userinfo (RFC 9110 4.2.4, 7.2). */
export function isAuthority(text: string): boolean {
  return canonicalAuthority(text) !== undefined;
}

/** Whether an authority ends in a port. */
export function hasPort(authority: string): boolean {
  const colon = authority.lastIndexOf(":");
  return colon > authority.lastIndexOf("]");
}

/** The authority as it is compared: lower case, the scheme's default port left out (RFC 9110 4.2.3). */
export function comparableAuthority(authority: string, scheme: string): string {
  const lower = authority.toLowerCase();
  const port = scheme === "https" ? ":443" : ":80";
  return lower.endsWith(port) && hasPort(lower)
    ? lower.slice(0, -port.length)
    : lower;
}
