/**
 * A GET of an address that somebody else chose: it must not reach what only this machine can reach.
 *
 * Every address that the host resolves to is judged, the connection goes to a judged address and no other (a second look-up may
 * have another result), and each redirect is judged as the first address was. Time and size are bounded over all of it.
 */
import { isIP } from "node:net";
import type { Clock } from "../../core/clock.ts";
import type { Bytes } from "../../core/units.ts";
import { hostOfUrl } from "../../core/text/network.ts";
import { textWithin } from "../../core/text/text-within.ts";
import { late } from "../late.ts";
import { allowsFor, guardedLookup, type Reach } from "./guarded-lookup.ts";
import { resolveHost, type ResolveHost } from "./host-lookups.ts";

export interface GuardedFetchOptions {
  readonly clock: Clock;
  readonly allowance: Reach;
  /** Milliseconds for all of it, redirects included. */
  readonly timeout: number;
  /** The longest body. */
  readonly limit: Bytes;
  readonly accept: string;
  /** How a host is resolved; absent: by the system. */
  readonly resolve?: ResolveHost;
}

const MOST_REDIRECTS = 3;

/** The body of a response with status 200. Rejects with the reason where there is none. */
export async function guardedFetch(
  address: string,
  options: GuardedFetchOptions,
): Promise<string> {
  const { clock, timeout } = options;
  const abort = new AbortController();
  const stop = clock.after(timeout, () =>
    abort.abort(new Error(`no response within ${timeout} ms`)),
  );
  try {
    let url = fetchable(address);
    for (let hop = 0; hop <= MOST_REDIRECTS; hop += 1) {
      const result = await fetchOne(url, options, abort.signal);
      if (result.kind === "body") return result.text;
      const next = fetchable(result.location, url);
      if (url.protocol === "https:" && next.protocol !== "https:")
        throw new Error("redirected from https to http");
      url = next;
    }
    throw new Error(`redirected more than ${MOST_REDIRECTS} times`);
  } finally {
    stop();
  }
}

function fetchable(address: string, base?: URL): URL {
  const url = URL.parse(address, base);
  if (url === null || !["http:", "https:"].includes(url.protocol))
    throw new Error("not an address with http or https");
  if (url.username !== "" || url.password !== "")
    throw new Error("an address with credentials in it");
  return url;
}

type Fetched =
  | { readonly kind: "body"; readonly text: string }
  | { readonly kind: "redirect"; readonly location: string };

async function fetchOne(
  url: URL,
  options: GuardedFetchOptions,
  signal: AbortSignal,
): Promise<Fetched> {
  const { Agent, request } = await late(() => import("../undici.ts"));
  const literal = hostOfUrl(url);
  const allows = allowsFor(literal, options.allowance);
  // No look-up comes for these.
  if (isIP(literal) !== 0 && !allows(literal))
    throw new Error(`${literal} is not a public address`);
  const agent = new Agent({
    connect: {
      lookup: guardedLookup(options.resolve ?? resolveHost, allows),
      timeout: options.timeout,
    },
    pipelining: 0,
    maxResponseSize: options.limit,
    headersTimeout: options.timeout,
    bodyTimeout: options.timeout,
  });
  try {
    const { statusCode, headers, body } = await request(url, {
      dispatcher: agent,
      headers: { accept: options.accept, "user-agent": "wherry" },
      signal,
    });
    const { location } = headers;
    if (statusCode >= 300 && statusCode < 400 && typeof location === "string")
      return { kind: "redirect", location };
    if (statusCode !== 200) throw new Error(`responded with ${statusCode}`);
    return {
      kind: "body",
      text: await textWithin(body, options.limit, tooLong),
    };
  } finally {
    // What was not read of a response goes with its connection.
    await agent.destroy();
  }
}

function tooLong(limit: Bytes): Error {
  return new Error(`the response is longer than ${limit} bytes`);
}
