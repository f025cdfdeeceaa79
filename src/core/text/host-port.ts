/** Host and port as one text, the way URLs, authorities and messages have them (RFC 3986 3.2): an IPv6 address in brackets. */

/** `host`: a name or an address; an IPv6 address without its brackets. */
export function formatHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

export function formatHostPort(host: string, port: number): string {
  return `${formatHost(host)}:${port}`;
}

/** The parts of what `formatHostPort` made; "" and 0 of an empty text. */
export function splitHostPort(text: string): {
  readonly host: string;
  readonly port: number;
} {
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, Math.max(0, colon));
  return {
    host: host.startsWith("[") ? host.slice(1, -1) : host,
    port: Number(text.slice(colon + 1)),
  };
}
