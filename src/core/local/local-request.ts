/** What a request to a port of this machine says of where it comes from: no web page of another site reaches one, by whatever name. */
import type { IncomingHttpHeaders } from "node:http";

/** "host": asked for by a name that is not this machine's, as a web page does whose own name leads here (DNS rebinding). "site": a page of another site asks. */
export type Foreign = "host" | "site";

/** Undefined where neither. A browser adds both fields by itself, and no page can leave them out or change them (Fetch 3.1, Fetch Metadata 2.4). */
export function foreignness(headers: IncomingHttpHeaders): Foreign | undefined {
  const { host, origin } = headers;
  if (host === undefined || !isLocalHost(host)) return "host";
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none")
    return "site";
  // The scheme is that of all pages of this machine. "null" is a page that hides what it is.
  return origin === undefined || sameText(origin, `http://${host}`)
    ? undefined
    : "site";
}

function isLocalHost(host: string): boolean {
  return /^(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?$/i.test(host);
}

function sameText(one: string, two: string): boolean {
  return one.toLowerCase() === two.toLowerCase();
}
