/** Every way in which the fields of a request are malformed (RFC 9113 8.1.1 to 8.5), and why: at the codec and through a whole proxy they are refused alike. */
import { GET, type Pairs } from "./raw-peer.ts";

/** GET without some fields and with others. */
export function get(without: readonly string[], ...more: Pairs): Pairs {
  return [...GET.filter(([name]) => !without.includes(name)), ...more];
}

/** GET with another value of one pseudo-header. */
function having(name: string, value: string): Pairs {
  return get([name], [name, value]);
}

/** A CONNECT, and an extended one (RFC 8441 4), to which fields are added. */
function connect(authority: string, ...more: Pairs): Pairs {
  return [[":method", "CONNECT"], [":authority", authority], ...more];
}
function extended(without: readonly string[], ...more: Pairs): Pairs {
  return get(
    [":method", ...without],
    [":method", "CONNECT"],
    [":protocol", "websocket"],
    ...more,
  );
}

export type Malformed = readonly [Pairs, RegExp];

function each(
  values: readonly string[],
  make: (value: string) => Pairs,
  why: RegExp,
): Malformed[] {
  return values.map((value) => [make(value), why]);
}

/** 8.3: which pseudo-headers there are, once each, before all others. */
const PSEUDO_HEADERS: readonly Malformed[] = [
  [get([":method"]), /no :method/],
  [get([":scheme"]), /no :scheme/],
  [get([":path"]), /no :path/],
  [get([":authority"]), /neither :authority nor host/],
  [get([], [":method", "GET"]), /two :method/],
  [get([], [":scheme", "http"]), /two :scheme/],
  [get([], [":authority", "shop"]), /two :authority/],
  [get([], [":path", "/"]), /two :path/],
  [get([], [":status", "200"]), /:status in a request/],
  [get([], [":made-up", "1"]), /":made-up" is not known/],
  [get([], [":Path", "/"]), /":Path" is not known/],
  [get([], [":", "1"]), /":" is not known/],
  [get([":path"], ["x", "1"], [":path", "/"]), /:path stands behind/],
  [get([":path"], ["host", "shop"], [":path", "/"]), /:path stands behind/],
  [
    get([":method"], ["content-length", "0"], [":method", "GET"]),
    /:method stands behind/,
  ],
];

/** 8.3.1: what they may be. */
const VALUES: readonly Malformed[] = [
  ...each(
    ["", "G\x01T", "G T", "GET ", "GET / HTTP/1.1\r\nx: y", "G\0T", "G\xe4T"],
    (value) => having(":method", value),
    /value of ":method"/,
  ),
  ...each(
    ["", "ftp", "HTTP", "http ", "http://", "http\r\nx: y"],
    (value) => having(":scheme", value),
    /value of ":scheme"/,
  ),
  ...each(
    [
      ...["", "shop", "http://shop/", "?a", "/a b", "/a#b", "/\xe4", "/\0"],
      ...["/\x7f", "/ HTTP/1.1\r\nx: y", "/\t", "* ", "**"],
    ],
    (value) => having(":path", value),
    /value of ":path"/,
  ),
  [having(":path", "*"), /without OPTIONS/],
  ...each(
    [
      ...["", "u@shop", "u:p@shop", "shop:x", "shop:", "shop:65536", "shop:-1"],
      ...["shop:80:80", "a,b", "a b", "shop/x", "shop?x", "shop#x", "sh%6fp"],
      ...["[::1", "::1", "[zz]", "[::1]x", "[fe80::1%25lo]", "shop\r\nx: y"],
      ...["shop\0", " shop", "*", "shop;x", "sh\xf6p"],
    ],
    (value) => having(":authority", value),
    /value of ":authority"/,
  ),
];

/** 8.3.1 and RFC 9110 7.2: one authority, whichever field says it. */
const HOSTS: readonly Malformed[] = [
  [get([], ["host", "other"]), /:authority and host differ/],
  [get([], ["host", "shop:81"]), /:authority and host differ/],
  [get([], ["host", "shop."]), /:authority and host differ/],
  [get([], ["host", "shop"], ["host", "shop"]), /two host/],
  [get([":authority"], ["host", "a"], ["host", "a"]), /two host/],
  ...each(
    ["", "u@shop", "shop:99999", "a, b", "shop/x"],
    (value) => get([":authority"], ["host", value]),
    /value of "host"/,
  ),
];

/** 8.2 and 8.2.1: what names and values are made of. */
const FIELDS: readonly Malformed[] = [
  // A recipient that takes "_" for "-", as CGI does, would be framed or steered by these.
  ...each(
    ["content_length", "transfer_encoding", "x_forwarded_client_cert"],
    (name) => get([], [name, "1"]),
    /is not a valid field name/,
  ),
  ...each(
    ["X-Upper", "a b", "", " x", "x ", "x:y", "x\0", "\xe4", "x\r\ny", "x\t"],
    (name) => get([], [name, "1"]),
    /is not a valid field name/,
  ),
  ...each(
    [
      ...["a\r\nb: c", "a\rb", "a\nb", "\n", "a\0", "\0", "a\x01", "a\x7f"],
      ...[" a", "a ", "\ta", "a\t", " ", "\t", "a\x1bb"],
    ],
    (value) => get([], ["x", value]),
    /value of "x"/,
  ),
  [get([], ["cookie", "a=1\r\nx: y"]), /value of "cookie"/],
  [get([], ["authorization", "a\nb"]), /value of "authorization"/],
];

/** 8.2.2: what belongs to connections of HTTP/1.1. */
const CONNECTION: readonly Malformed[] = [
  ...each(
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding"],
    (name) => get([], [name, name === "transfer-encoding" ? "chunked" : "x"]),
    /belongs to HTTP\/1.1/,
  ),
  [get([], ["upgrade", "x"]), /"upgrade" belongs/],
  [get([], ["http2-settings", "x"]), /"http2-settings" belongs/],
  ...each(
    ["gzip", "", "trailers, gzip", "trailers;q=1", "chunked"],
    (value) => get([], ["te", value]),
    /value of "te"/,
  ),
];

/** 8.1.1: a length that is no length, or not that of nothing. */
const LENGTHS: readonly Malformed[] = [
  [get([], ["content-length", "5"]), /without content/],
  ...each(
    ["x", "", "-1", "+1", "1,1", "1, 1", "0x1", "1e3", "1.0", "9".repeat(20)],
    (value) => get([], ["content-length", value]),
    /value of "content-length"/,
  ),
  [
    get([], ["content-length", "0"], ["content-length", "0"]),
    /two content-length/,
  ],
];

/** 8.5 and RFC 8441 4. */
const CONNECTS: readonly Malformed[] = [
  [having(":method", "CONNECT"), /CONNECT with :scheme or :path/],
  [connect("shop:80", [":path", "/"]), /CONNECT with :scheme or :path/],
  [connect("shop:80", [":scheme", "http"]), /CONNECT with :scheme or :path/],
  [connect("shop"), /CONNECT without a port/],
  [connect("[::1]"), /CONNECT without a port/],
  [connect("shop:65536"), /value of ":authority"/],
  [connect("u@shop:80"), /value of ":authority"/],
  [connect("shop:80", ["content-length", "0"]), /CONNECT with content-length/],
  [[[":method", "CONNECT"]], /neither :authority nor host/],
  [get([], [":protocol", "websocket"]), /:protocol without CONNECT/],
  [extended([], [":protocol", "b"]), /two :protocol/],
  [extended([":scheme"]), /no :scheme/],
  [extended([":path"]), /no :path/],
  [extended([":authority"]), /neither :authority nor host/],
  ...each(
    ["", "web socket", "a/b", "a\r\nb"],
    (value) => [...having(":method", "CONNECT"), [":protocol", value]],
    /value of ":protocol"/,
  ),
];

export const MALFORMED: readonly Malformed[] = [
  ...PSEUDO_HEADERS,
  ...VALUES,
  ...HOSTS,
  ...FIELDS,
  ...CONNECTION,
  ...LENGTHS,
  ...CONNECTS,
];

/** A name for a row. */
export function show(pairs: Pairs): string {
  return pairs.map((pair) => pair.map((it) => JSON.stringify(it))).join(" ");
}
