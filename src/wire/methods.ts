import { COMMON_METHODS } from "../core/methods.ts";

/**
 * The methods that cross the proxy: those of the IANA registry and of WebDAV, UPnP and caches that servers know. Any other is a
 * 501 (RFC 9110 9.1), over HTTP/1 and HTTP/2 alike: to one recipient "delete" is DELETE, to another it is nothing, and policy would have seen neither.
 */
export const METHODS: readonly string[] = [
  ...COMMON_METHODS,
  "ACL",
  "BIND",
  "CHECKOUT",
  "COPY",
  "LINK",
  "LOCK",
  "M-SEARCH",
  "MERGE",
  "MKACTIVITY",
  "MKCALENDAR",
  "MKCOL",
  "MOVE",
  "NOTIFY",
  "PROPFIND",
  "PROPPATCH",
  "PURGE",
  "QUERY",
  "REBIND",
  "REPORT",
  "SEARCH",
  "SOURCE",
  "SUBSCRIBE",
  "UNBIND",
  "UNLINK",
  "UNLOCK",
  "UNSUBSCRIBE",
];

/** The method that text[0, length) is, as one text each, whoever sends it: what looks at it later finds it by identity. */
export function knownMethod(text: string, length: number): string | undefined {
  for (const method of METHODS)
    if (method.length === length && text.startsWith(method)) return method;
  return undefined;
}

const KNOWN: ReadonlySet<string> = new Set(METHODS);

/** Whether a method crosses the proxy. Methods are case-sensitive (RFC 9110 9.1). */
export function isKnownMethod(method: string): boolean {
  return KNOWN.has(method);
}
