/** The methods of RFC 9110 9.3, and PATCH (RFC 5789): those that Gateway API and OpenTelemetry's conventions name. */
export const COMMON_METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "CONNECT",
  "OPTIONS",
  "TRACE",
  "PATCH",
] as const;

export type CommonMethod = (typeof COMMON_METHODS)[number];

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
