/** Heads of what comes to a sidecar from its application, as its codecs and its tunnels make them. */
import type { RequestHead } from "../../../src/wire/exchange.ts";

const HEAD: RequestHead = {
  ...{ method: "GET", scheme: "http", authority: "", path: "/" },
  ...{ protocol: undefined, fields: [], contentLength: undefined },
  ...{ acceptsTrailers: false, absoluteForm: false },
};

/** A request with that Host. */
export function requestTo(authority: string): RequestHead {
  return { ...HEAD, authority };
}

/** Bytes that were captured on their way to the place. */
export function bytesTo(authority: string): RequestHead {
  return { ...HEAD, method: "CONNECT", authority, path: "" };
}
