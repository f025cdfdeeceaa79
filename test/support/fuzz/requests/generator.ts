/** Makes requests: good ones of every form, most with one or two oddities from the whole grammar, and now and then one that has grown. */
import { HTTP1_ODDITIES } from "./oddities-http1.ts";
import { HTTP2_ODDITIES } from "./oddities-http2.ts";
import { chanceOf, type Random } from "../random.ts";
import { ODDITIES, type Oddity } from "./oddities.ts";
import { plainRequest, type FuzzRequest, type Pair } from "./request.ts";

const COMMON = ["GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE"];
const RARE = [
  ...["OPTIONS", "PATCH", "TRACE", "CONNECT", "PURGE", "PROPFIND", "M-SEARCH"],
  ...["LOCK", "QUERY", "MKCOL", "UNSUBSCRIBE", "SEARCH", "LINK", "MERGE"],
];
const SEGMENTS = [
  ...["a", "orders", "v2", "admin", "b.c", "x~y", "1", "r42", "%41b", "%2e%2e"],
  ...["%2E", "..", ".", "", "caf%C3%A9", "caf%c3%a9", "a%2Fb", "a;b", "a:b"],
  ...["%61dmin", "a@b", "v2%20", "(x)", "a|b", "{id}", "a\\b", "~", "a^b"],
];
const QUERIES = [
  ...["?", "?a=1", "?a=1&b=2", "?beta=1", "?beta=2&beta=1", "?a=%20", "?x?y"],
  ...["?beta=%31", "?a/../b", "?&&", "?=", "?a=%zz", "?%62eta=1", "?{}|\\"],
];
const HOSTS = [
  ...["orders.shop", "orders.shop", "orders.shop", "orders.shop"],
  ...["ORDERS.shop", "orders.shop:80", "Orders.Shop:80", "admin.shop"],
];
const FIELDS: readonly Pair[] = [
  ["Accept", "*/*"],
  ["X-A", "b"],
  ["x-a", "again"],
  ["X-Empty", ""],
  ["X-Latin", "\xe4\xf6"],
  ["Cookie", "a=1; b=2"],
  ["cookie", "c=3"],
  ["Authorization", "Bearer x.y.z"],
  ["Date", "Sun, 06 Nov 1994 08:49:37 GMT"],
  ["Content-Type", "text/plain; charset=utf-8"],
  ["X-Canary", "yes"],
  ["x-canary", "no"],
  ["If-None-Match", '"a", W/"b"'],
  ["Accept-Encoding", "gzip;q=1.0, *;q=0"],
  ["Range", "bytes=0-1,2-3"],
  ["User-Agent", "fuzz/1 (a; b)"],
  ["Forwarded", "for=1.2.3.4"],
  ["X-Forwarded-For", "1.2.3.4, 5.6.7.8"],
  ["X-Forwarded-Client-Cert", "By=spiffe://a"],
  ["X-Wherry-Reason", "DENIED"],
  ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"],
  ["Max-Forwards", "3"],
  ["Cache-Control", "no-cache, no-store"],
  ["Via", "1.1 a, 1.0 b"],
  ["Trailer", "x-t"],
];
const CHUNKS = [
  ...["hello", "x", "0\r\n\r\n", "\xff\0", "a\r\nb", "  ", "hello world"],
  // Not to its end: whatever comes behind it would make it a bad one.
  "GET /smuggled HTTP/1.1\r\nhost: admin.shop\r\nx: ",
];
/** One of so many cases has an element that has grown. */
const GROWN = 200;

const BOTH = weighed(ODDITIES);
const OVER_HTTP1 = weighed(HTTP1_ODDITIES);
const OVER_HTTP2 = weighed(HTTP2_ODDITIES);

export function requestOf(seed: number, index: number): FuzzRequest {
  const chance = chanceOf(seed, index);
  const request = plainRequest(index);
  fill(request, chance);
  if (chance.once(GROWN)) {
    grow(request, chance);
    return request;
  }
  const kind = chance.below(100);
  if (kind < 30) return request;
  const first = kind < 70 ? BOTH : kind < 86 ? OVER_HTTP1 : OVER_HTTP2;
  add(request, chance, first);
  if (chance.once(4)) add(request, chance, BOTH);
  settleLength(request);
  // HTTP/1.1 asks for a Host line beside an absolute form, HTTP/2 for nothing.
  if (request.hosts.length === 0 && request.absolute !== undefined)
    request.versions = "http1";
  if (chance.once(4) && request.versions !== "http2") mutate(request, chance);
  return request;
}

/** A length that is not that of the content: in HTTP/1 the next request's bytes would be taken for content, or content for the next request. */
function settleLength(request: FuzzRequest): void {
  const { length, chunks, http1, versions } = request;
  if (length === undefined || !/^\d{1,15}$/.test(length)) return;
  const more = Number(length) - chunks.join("").length;
  if (more > 0) http1.unfinished = true;
  if (more < 0 && versions === "both") request.versions = "http1";
}

function fill(request: FuzzRequest, chance: Random): void {
  request.method = chance.once(12) ? chance.pick(RARE) : chance.pick(COMMON);
  request.target = targetOf(chance);
  request.hosts = [chance.pick(HOSTS)];
  for (let count = chance.below(4); count > 0; count -= 1)
    request.fields.push(chance.pick(FIELDS));
  if (chance.once(10)) {
    request.absolute = { scheme: "http", authority: request.hosts[0] ?? "" };
  }
  if (request.method === "CONNECT") {
    const authority = chance.pick(["orders.shop:80", "open.shop:80"]);
    request.absolute = undefined;
    request.hosts = [authority];
    request.target = authority;
  } else if (
    request.method !== "TRACE" &&
    (request.method === "POST" || request.method === "PUT" || chance.once(8))
  )
    giveContent(request, chance);
}

function targetOf(chance: Random): string {
  let target = "";
  for (let count = chance.below(4); count >= 0; count -= 1)
    target += `/${chance.pick(SEGMENTS)}`;
  return chance.once(4) ? target + chance.pick(QUERIES) : target;
}

function giveContent(request: FuzzRequest, chance: Random): void {
  for (let count = chance.below(3); count >= 0; count -= 1)
    request.chunks.push(chance.pick(CHUNKS));
  if (chance.once(2)) request.length = String(request.chunks.join("").length);
  else if (chance.once(4)) request.trailers.push(["X-T", "t"]);
}

function add(
  request: FuzzRequest,
  chance: Random,
  from: readonly Oddity[],
): void {
  const oddity = chance.pick(from);
  oddity.apply(request, chance);
  request.notes.push(oddity.name);
}

function mutate(request: FuzzRequest, chance: Random): void {
  for (let count = chance.below(2); count >= 0; count -= 1)
    request.http1.mutations.push([
      chance.next(),
      chance.below(5),
      chance.next(),
    ]);
  request.versions = "http1";
  request.http1.unfinished = false;
  request.notes.push("mutated bytes");
}

/** Texts that a reader might go over again and again. */
const UNITS = [
  ...[" ", "\t", ",", ", ", "a,", " ,", ";", "a;", "=", '"', "\\", "a", "%"],
  ...["/", "/.", "/..", "%2e", ".", "-", "a=b; ", "a=1&", "&", ":", "\xe4"],
];
const GROWING = [
  ...["connection", "te", "upgrade", "keep-alive", "cookie", "accept", "via"],
  ...["expect", "x-a", "content-type", "x-forwarded-for", "forwarded", "range"],
  ...["authorization", "cache-control", "grpc-timeout", "baggage", "b3"],
  ...["tracestate", "traceparent", "x-canary", "origin", "if-none-match"],
];
const ONLY_HTTP1: ReadonlySet<string> = new Set([
  ...["connection", "te", "upgrade", "keep-alive"],
]);

function grow(request: FuzzRequest, chance: Random): void {
  const unit = chance.pick(UNITS);
  const size = 1000 + chance.below(47_000);
  const long = unit.repeat(Math.floor(size / unit.length));
  request.notes.push(`${JSON.stringify(unit)} grown to ${size}`);
  if (request.method === "CONNECT") {
    request.method = "GET";
    request.target = "/";
  }
  const where = chance.below(8);
  if (where === 0 && !/[ \t\xe4]/.test(unit))
    request.target = `/${long.slice(0, 15_000)}`;
  else if (where === 1 && !/[ \t\xe4]/.test(unit))
    request.target = `/a?${long.slice(0, 15_000)}`;
  else if (where === 2 && /^[a.-]$/.test(unit))
    request.hosts = [`${long}.shop`];
  else {
    const name = chance.pick(GROWING);
    // Something visible at both ends: blanks there are no part of a value.
    request.fields.push([name, `a${long}b`]);
    if (ONLY_HTTP1.has(name)) request.versions = "http1";
  }
}

/** Each as often as its weight. */
function weighed(oddities: readonly Oddity[]): Oddity[] {
  return oddities.flatMap((oddity) =>
    Array.from({ length: oddity.weight }, () => oddity),
  );
}
