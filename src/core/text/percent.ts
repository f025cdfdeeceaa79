/** Percent-escapes in their one form. */

/** The one form of percent-escapes (RFC 3986 6.2.2.1), of paths and of what is compared with them. */
export function upperEscapes(text: string): string {
  return text.includes("%")
    ? text.replace(/%[0-9a-fA-F]{2}/g, (escape) => escape.toUpperCase())
    : text;
}
