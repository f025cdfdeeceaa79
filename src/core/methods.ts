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
