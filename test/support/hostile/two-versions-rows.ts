/** The grammar of requests, a row a message: what is said in HTTP/1 and in HTTP/2 alike, and the few rows whose verdicts may differ. */
import { METHODS } from "../../../src/core/text/methods.ts";
import type { Pairs } from "../http2/raw-peer.ts";

/** A request as both versions can say it. What is absent is as in a plain GET. */
export interface Message {
  readonly method?: string;
  readonly path?: string;
  /** "": said, and empty. */
  readonly authority?: string;
  /** Nobody says which host is meant. */
  readonly noAuthority?: true;
  /** Beside the authority: Host behind a target in absolute form, `host` behind `:authority`. */
  readonly host?: string;
  readonly fields?: Pairs;
  readonly body?: string;
  readonly trailers?: Pairs;
}

export type Row = readonly [what: string, message: Message];

const quoted = (text: string): string => JSON.stringify(text);
const each = (
  texts: readonly string[],
  what: string,
  make: (text: string) => Message,
): Row[] =>
  texts.map((text) => [`${what} ${quoted(text.slice(0, 60))}`, make(text)]);
const field = (name: string, value: string): Message => ({
  fields: [[name, value]],
});
const post = (fields: Pairs, body = "\r\n\r\n"): Message => ({
  method: "POST",
  body,
  fields,
});

const NAMES_OF_METHODS = METHODS.filter(
  (method) => method !== "CONNECT" && method !== "TRACE",
);

const FOREIGN_METHODS = [
  ...NAMES_OF_METHODS.map((method) => method.toLowerCase()),
  ...["Get", "DeLeTe", "gET", "BREW", "GETT", "GE", "G", "PRI", "connect"],
  ...["X".repeat(33), "GET!", "_GET", "GET-", "FOO.BAR", "0"],
];
const NO_METHODS = ["", "G(T", "GE,T", "G\x7fT", "G\xe4T", "G{T", "G:T"];

const PATHS = [
  ...["/", "/a", "/a?b=c", "//a", "/a//b", "/?", "/??", "/a/../b", "/a/./b"],
  ...["/..", "/../..", "/%2e%2e/a", "/%2E/a", "/a%2fb", "/a%5cb", "/a\\b"],
  ...["/%C3%A9", "/%c3%a9", "/%41", "/%7e", "/a;b=c", "/a,b", "/a:b@c"],
  ...["/{}|^`<>", '/a"b', "/a'b", "/%zz", "/%", "/%2", "/%2g", "/%00"],
  ...["/%0a", "/%0d%0a", "/a#b", "/#", "/\x7f", "/\xe4", "/a\tb", "/a\0b"],
  ...["", "a", "?q", "a/b", "/a?b#c", "/a?%zz", "/a?%00", "http:/a", ":a"],
  ...["http://orders.shop", "//orders.shop/a", "/http://b.shop/"],
];

const AUTHORITIES = [
  ...["orders.shop", "ORDERS.shop", "orders.shop:80", "orders.shop:080"],
  ...["orders.shop.", "orders.shop..", ".orders.shop", "orders..shop", "."],
  ...["orders.shop:", "orders.shop:0", "orders.shop:65536", "orders.shop:8x"],
  ...["orders.shop:-1", ":80", "", "u@orders.shop", "u:p@orders.shop"],
  ...["orders.shop,b.shop", "orders%2eshop", "%6frders.shop", "orders_.shop"],
  ...["[::1]", "[::1]:80", "[::1", "::1", "[::g]", "[fe80::1%25eth0]", "[]"],
  ...["127.0.0.1", "127.1", "0x7f000001", "orders.shop/a", "orders.shop?a"],
  ...["orders.shop#a", "orders.shop\\a", "orders shop", "orders.shop\t"],
  ...["orders.shop\0", "\xe4.shop", "orders.shop\x7f", "*", "-", "~"],
  "a".repeat(64) + ".shop",
];

const HOSTS = [
  ...["orders.shop", "Orders.Shop", "orders.shop:80", "other.shop"],
  ...["orders.shop.", "orders.shop:81", "", "orders.shop, other.shop"],
];

const NAMES = [
  ...["x", "x-a", "x.a", "x!#$%&'*+-.^_`|~9", "0", "-", "_"],
  ...["x a", " x", "x ", "", "x:a", "x\0", "x\x7f", "x\xe4", "x(", "x,y"],
  ...["x/y", "x[0]", "x{", 'x"', "x;", "x=y", "x\\y", "x@y", "x\ty"],
  ...["content_length", "transfer_encoding", "x_forwarded_client_cert"],
  ...["content-length_", "x_wherry_reason", "host_", "x_y"],
];

const VALUES = [
  ...["v", "", "two words", "a\tb", "a,b", '"q"', "a;b=c", "=", "\xe4\xff"],
  ...["a\0b", "\0", "a\rb", "a\nb", "a\r\nb: c", "a\x01b", "a\x0bb", "a\x7fb"],
  ...["a\x1fb", "a\x08", "%0d%0a", "\x80", "x".repeat(9000)],
];

const LENGTHS = [
  ...["4", "04", "0000000000000004", "+4", "-4", "4 4", "4,4", "4, 4", "0x4"],
  ...["4.0", "4e0", "", "four", "99999999999999999999", "9007199254740992"],
  ...["\t4", "4;", "\x004"].filter((text) => text.trim() === text),
];

const EXPECTATIONS = [
  ...["100-continue", "100-Continue", "100-continue, x", "x", "200-ok", ""],
  ...["100-continue;q=1", "100-continue,", "100 continue"],
];

/** Of fields that a trailer section may and may not hold. */
const TRAILERS: readonly (readonly [string, string])[] = [
  ["x-t", "1"],
  ["grpc-status", "0"],
  ["x-t", ""],
  ["x-t", "a\0"],
  ["x t", "1"],
  ...[
    ...["content-length", "transfer-encoding", "host", "connection", "te"],
    ...["trailer", "upgrade", "keep-alive", "proxy-connection", "expect"],
    ...["content-type", "content-encoding", "content-range", "cache-control"],
    ...["authorization", "cookie", "set-cookie", "max-forwards", "range"],
    ...["x-forwarded-client-cert", "x-wherry-reason", "x-forwarded-for"],
    ...["forwarded", "x-real-ip", "content_length"],
  ].map((name) => [name, "1"] as const),
];

const many = (count: number): Pairs =>
  Array.from({ length: count }, (_, index) => [`x-${index}`, "1"] as const);

/** Fields of one connection: HTTP/1 takes them out (RFC 9110 7.6.1), in HTTP/2 they are malformed (RFC 9113 8.2.2). */
const CONNECTION_ROWS: readonly Row[] = (
  [
    ["connection", "x-mine"],
    ["keep-alive", "timeout=5"],
    ["proxy-connection", "keep-alive"],
    ["upgrade", "h2c"],
    ["http2-settings", "AAMAAABkAAQAAP__"],
    ["te", "gzip, trailers"],
  ] as const
).map(([name, value]) => [`field ${name}: ${value}`, field(name, value)]);

/** What RFC 9112 has a recipient of HTTP/1 read as if it were not there, and RFC 9113 calls malformed. */
const LENIENT_ROWS: readonly Row[] = [
  ["a name in upper case", field("X-A", "1")],
  ["a blank before a value", field("x-a", " 1")],
  ["a tab behind a value", field("x-a", "1\t")],
];

export const ROWS: readonly Row[] = [
  ["a plain GET", {}],
  ...each(NAMES_OF_METHODS, "method", (method) => ({ method })),
  ["method TRACE", { method: "TRACE" }],
  ...each(FOREIGN_METHODS, "method", (method) => ({ method })),
  ...each(NO_METHODS, "method", (method) => ({ method })),
  ...each(PATHS, "path", (path) => ({ path })),
  ["path * of OPTIONS", { method: "OPTIONS", path: "*" }],
  ["path * of GET", { path: "*" }],
  ["path /* of OPTIONS", { method: "OPTIONS", path: "/*" }],
  ["a path of 16,000 characters", { path: `/${"a".repeat(15_999)}` }],
  ["a path of 16,400 characters", { path: `/${"a".repeat(16_399)}` }],
  ...each(AUTHORITIES, "authority", (authority) => ({ authority })),
  ["no authority", { noAuthority: true }],
  ...each(HOSTS, "host beside the authority", (host) => ({ host })),
  [
    "two host fields",
    {
      fields: [
        ["host", "orders.shop"],
        ["host", "orders.shop"],
      ],
    },
  ],
  ...each(NAMES, "field name", (name) => field(name, "1")),
  ...each(VALUES, "field value", (value) => field("x-a", value)),
  ...each(VALUES, "value of a cookie", (value) => field("cookie", value)),
  [
    "two cookies",
    {
      fields: [
        ["cookie", "a=1"],
        ["cookie", "b=2"],
      ],
    },
  ],
  [
    "two of a field",
    {
      fields: [
        ["x-a", "1"],
        ["x-a", "2"],
      ],
    },
  ],
  ...each(LENGTHS, "content-length", (value) =>
    post([["content-length", value]]),
  ),
  [
    "two content-lengths that agree",
    post([
      ["content-length", "4"],
      ["content-length", "4"],
    ]),
  ],
  [
    "two content-lengths that do not",
    post([
      ["content-length", "4"],
      ["content-length", "5"],
    ]),
  ],
  [
    "content-length of nothing",
    { method: "POST", fields: [["content-length", "0"]] },
  ],
  [
    "a GET with content",
    { body: "\r\n\r\n", fields: [["content-length", "4"]] },
  ],
  [
    "a TRACE with content",
    { method: "TRACE", body: "\r\n\r\n", fields: [["content-length", "4"]] },
  ],
  [
    "a TRACE with a length of 0",
    { method: "TRACE", fields: [["content-length", "0"]] },
  ],
  [
    "a HEAD with content",
    { method: "HEAD", body: "\r\n\r\n", fields: [["content-length", "4"]] },
  ],
  [
    "a TRACE with chunked content",
    { method: "TRACE", body: "x", trailers: [] },
  ],
  ["content without a length", { method: "POST", body: "x", trailers: [] }],
  ...each(EXPECTATIONS, "expect", (value) =>
    post([
      ["content-length", "4"],
      ["expect", value],
    ]),
  ),
  [
    "two expects",
    post([
      ["content-length", "4"],
      ["expect", "100-continue"],
      ["expect", "100-continue"],
    ]),
  ],
  ["expect without content", field("expect", "100-continue")],
  ...TRAILERS.map(([name, value]): Row => [
    `trailer ${name}: ${quoted(value)}`,
    { method: "POST", body: "x", trailers: [[name, value]] },
  ]),
  ...(["OPTIONS", "TRACE", "GET"] as const).flatMap((method) =>
    ["0", "1", "2", "9999999999", "x", "-1", "", "1, 0"].map((value): Row => [
      `max-forwards ${quoted(value)} of ${method}`,
      { method, fields: [["max-forwards", value]] },
    ]),
  ),
  ["te: trailers", field("te", "trailers")],
  ["te: Trailers", field("te", "Trailers")],
  ...CONNECTION_ROWS,
  ...LENIENT_ROWS,
  ["a hundred fields", { fields: many(90) }],
  ["a hundred and twenty fields", { fields: many(120) }],
  [
    "64 KiB of fields",
    { fields: many(16).map(([name]) => [name, "v".repeat(4096)] as const) },
  ],
  [
    "identity of the caller's own making",
    {
      fields: [
        ["x-forwarded-client-cert", "x"],
        ["x-wherry-reason", "DENIED"],
        ["x-wherry-deadline", "60000"],
      ],
    },
  ],
  [
    "origin of the caller's own making",
    {
      fields: [
        ["x-forwarded-for", "1.2.3.4"],
        ["forwarded", "for=1.2.3.4"],
        ["x_real_ip", "1.2.3.4"],
      ],
    },
  ],
  [
    "a method in a field",
    {
      method: "POST",
      fields: [
        ["x-http-method-override", "DELETE"],
        ["content-length", "0"],
      ],
    },
  ],
  [
    "a path in a field",
    {
      fields: [
        ["x-original-url", "/admin"],
        ["x-rewrite-url", "/admin"],
      ],
    },
  ],
  [
    "CONNECT to the service",
    { method: "CONNECT", authority: "orders.shop:80" },
  ],
  ["CONNECT without a port", { method: "CONNECT", authority: "orders.shop" }],
  [
    "CONNECT with another host",
    { method: "CONNECT", authority: "orders.shop:80", host: "other.shop:80" },
  ],
  [
    "CONNECT with content-length",
    {
      method: "CONNECT",
      authority: "orders.shop:80",
      fields: [["content-length", "4"]],
    },
  ],
  ["CONNECT to nowhere", { method: "CONNECT", authority: "" }],
];

/** What a version of HTTP says of a row where the two do not say the same, and why that may be. */
export interface Difference {
  readonly why: string;
  readonly http1: number;
  readonly http2: number;
}

/** By the name of the row; nothing else may differ. */
export const DIFFERENCES: Readonly<Record<string, Difference>> = {
  ...Object.fromEntries(
    CONNECTION_ROWS.map(([what]) => [
      what,
      {
        why: "it belongs to one connection: HTTP/1 takes it out (RFC 9110 7.6.1), in HTTP/2 it is malformed (RFC 9113 8.2.2)",
        http1: 200,
        http2: 400,
      },
    ]),
  ),
  ...Object.fromEntries(
    LENIENT_ROWS.map(([what]) => [
      what,
      {
        why: "HTTP/1 has names in any case, and white space around a value (RFC 9112 5); HTTP/2 has neither (RFC 9113 8.2)",
        http1: 200,
        http2: 400,
      },
    ]),
  ),
  'path "http://orders.shop"': {
    why: "HTTP/1 has an absolute form of the target, HTTP/2 has :scheme and :authority for it",
    http1: 200,
    http2: 400,
  },
  'authority "orders.shop\\t"': {
    why: "white space around a value is no part of it in HTTP/1 (RFC 9112 5), and malformed in HTTP/2 (RFC 9113 8.2.1)",
    http1: 200,
    http2: 400,
  },
  'field name "x:a"': {
    why: "the first colon ends the name in HTTP/1: it is another message",
    http1: 200,
    http2: 400,
  },
  'field value "a\\r\\nb: c"': {
    why: "it is two fields in HTTP/1: another message",
    http1: 200,
    http2: 400,
  },
  'value of a cookie "a\\r\\nb: c"': {
    why: "it is two fields in HTTP/1: another message",
    http1: 200,
    http2: 400,
  },
};
