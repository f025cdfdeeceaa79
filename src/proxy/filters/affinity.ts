/** What a request hashes to, where a TrafficPolicy asks for consistent hashing: a header, a cookie (that a caller without it gets), or its source. */
import { randomBytes } from "node:crypto";
import { hashText } from "../../policy/balance/ring.ts";
import type { HeaderEdits } from "../../policy/routing/header-edits.ts";
import type { SelfDescription } from "../../policy/snapshot.ts";
import type {
  ConsistentHash,
  HttpCookie,
} from "../../resources/traffic-policy/load-balancing.ts";
import { joinedValue, type Fields } from "../../wire/fields.ts";

export interface Affinity {
  /** 32 bits. */
  readonly hash: number;
  /** Gives the caller its cookie. */
  readonly edits: HeaderEdits | undefined;
}

/** What a request may be told apart by; a ServerStream has it. */
export interface RequestTraits {
  readonly head: { readonly fields: Fields };
  readonly connection: { readonly remoteAddress: string };
}

/** Undefined where the request has nothing to be told apart by: then it is balanced as any other. */
export function affinityOf(
  by: ConsistentHash<number>,
  stream: RequestTraits,
  self: SelfDescription,
): Affinity | undefined {
  const { httpHeaderName: header, httpCookie: cookie } = by;
  const { fields } = stream.head;
  if (header !== undefined) {
    const value = joinedValue(fields, header.toLowerCase());
    return value === undefined ? undefined : affinity(value);
  }
  if (cookie !== undefined) {
    const value = cookieValue(joinedValue(fields, "cookie"), cookie.name);
    return value === undefined ? newCookie(cookie) : affinity(value);
  }
  return affinity(sourceOf(stream, self));
}

function affinity(text: string, edits?: HeaderEdits): Affinity {
  return { hash: hashText(text), edits };
}

/** The local application has no address of its own on loopback, but every instance has a name. */
function sourceOf(
  { connection }: RequestTraits,
  self: SelfDescription,
): string {
  const { remoteAddress } = connection;
  return isLoopback(remoteAddress)
    ? `${self.namespace}/${self.name}`
    : remoteAddress;
}

function isLoopback(address: string): boolean {
  return (
    address === "::1" ||
    address.startsWith("127.") ||
    address.startsWith("::ffff:127.")
  );
}

/** Value of the first cookie of that name (RFC 6265 4.2.1). */
export function cookieValue(
  cookies: string | undefined,
  name: string,
): string | undefined {
  for (const pair of cookies?.split(";") ?? []) {
    const equals = pair.indexOf("=");
    if (equals >= 0 && pair.slice(0, equals).trim() === name)
      return pair.slice(equals + 1).trim();
  }
  return undefined;
}

/** Without `ttl` the cookie is the application's to give. */
function newCookie({
  name,
  path,
  ttl,
}: HttpCookie<number>): Affinity | undefined {
  if (ttl === undefined) return undefined;
  const value = randomBytes(16).toString("hex");
  const attributes = [
    `${name}=${value}`,
    ...(ttl === 0 ? [] : [`Max-Age=${Math.max(1, Math.round(ttl / 1000))}`]),
    `Path=${path ?? "/"}`,
    "HttpOnly",
    "SameSite=Lax",
  ];
  return affinity(value, {
    set: [],
    add: [{ name: "set-cookie", value: attributes.join("; ") }],
    remove: new Set(),
  });
}
