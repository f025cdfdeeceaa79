/** What may be odd about a request in either version of HTTP: its method, target, host, fields, length and trailers. */
import type { Random } from "../random.ts";
import type { FuzzRequest, Pair } from "./request.ts";

export interface Oddity {
  readonly name: string;
  readonly weight: number;
  apply(request: FuzzRequest, chance: Random): void;
}

export const STRANGE_METHODS: readonly string[] = [
  ...[
    "get",
    "delete",
    "Delete",
    "purge",
    "BREW",
    "PRI",
    "DELETE2",
    "GE",
    "GETT",
  ],
  ...["G(T", "D\xc9LETE", "DELETE\x7f", "post", "options", "put", "connect"],
];
const PATHS = [
  ...[
    "*",
    "a",
    "?q",
    "//",
    "///",
    "/a#b",
    "/%",
    "/%z",
    "/%zz",
    "/%00",
    "/\x7f",
  ],
  ...[
    "/\xe4",
    "/a%",
    "/%%361dmin",
    "/..",
    "/../admin",
    "/a/../admin",
    "/./admin",
  ],
  ...["//admin", "/admin/", "/admin;x", "/ADMIN", "/%2fadmin", "/a/..%2fadmin"],
  ...[
    "/\\admin",
    "/a\\..\\admin",
    "/%5cadmin",
    "/admin%20",
    "/admin?x",
    "/admin%3f",
  ],
  ...[
    "/caf%c3%A9",
    "/caf%C3%a9/x",
    "/CAF%C3%A9",
    "/v2/../admin",
    "/v2/..",
    "/.%2e/admin",
  ],
  ...[
    "/a'b",
    '/a"b',
    "/<a>",
    "/a`b",
    "/a{b}",
    "/a|b",
    "/%7Badmin",
    "/%61%64min",
  ],
  ...[
    "/v2",
    "/v2x",
    "/v2%2fx",
    "/v%32/x",
    "/admin.",
    "/.admin",
    "/admin/..;/x",
    "/*",
  ],
];
const STRANGE_HOSTS = [
  ...[
    "orders.shop.",
    "orders.shop..",
    "admin.shop.",
    "admin.shop..",
    "ADMIN.shop",
  ],
  ...["admin.shop:80", "admin.shop:8080", "admin.shop.:80", "orders..shop"],
  ...[".orders.shop", "orders.shop:", "orders.shop:0", "orders.shop:65536"],
  ...[
    "orders.shop:080",
    "orders.shop:+80",
    "orders.shop:80:80",
    "u@orders.shop",
  ],
  ...[
    "orders.shop,admin.shop",
    "orders.shop admin.shop",
    "orders.shop/x",
    "",
    ".",
  ],
  ...[
    "orders.shop#a",
    "orders.shop?a",
    "orders%2eshop",
    "[::1]",
    "[::1]:80",
    "[::1",
  ],
  ...[
    "[::ffff:127.0.0.1]",
    "[fe80::1%25lo]",
    "orders_shop",
    "other.example",
    "127.0.0.1",
  ],
  ...[
    "admin.shop\tx",
    "orders.shop\0",
    "\xe4.shop",
    "*",
    "orders.shop;x",
    "0x7f.1",
    "-",
  ],
  ...[
    "xn--orders.shop",
    "orders.shop:00000080",
    "orders",
    "admin",
    "[v1.x]",
    "[]",
  ],
];
const STRANGE_NAMES = [
  ...["", "A B", " A", "A\t", "(A)", "\xe4", "A\x7f", "A\0", "a\x0b"],
  ...[
    "Content_Length",
    "Transfer_Encoding",
    "X_Forwarded_Client_Cert",
    "Host_",
  ],
  ...["x!#$%&'*+-.^_`|~9", "A\r", "A\n", ":method", ":path", ":x", "__proto__"],
];
const STRANGE_VALUES = [
  ...["a\0b", "a\rb", "a\nb", "a\x7f", "\x01", "a\xff", "a\tb", "a  b", "\x0b"],
  ...[
    "\x1b[0m",
    "a\x0cb",
    "\x80",
    '"',
    ",",
    ";",
    "\\",
    "a,,b",
    "=?utf-8?q?a?=",
  ],
];
const LENGTHS = [
  ...["+3", "-1", "0x3", "3,3", "3, 3", "3 3", "1e1", "1.0", "", "x", "3\t3"],
  ...[
    "18446744073709551616",
    "9007199254740993",
    "00000000000000000003",
    "\x0b3",
  ],
];
const EXPECTATIONS = [
  ...["100-continue", "100-Continue", "100-continue, x", "200-ok", "", "x"],
];
const TRAILERS: readonly Pair[] = [
  ["X-T", "1"],
  ["x-t", ""],
  ["Content-Length", "0"],
  ["Host", "admin.shop"],
  ["Transfer-Encoding", "chunked"],
  ["Authorization", "x"],
  ["Connection", "close"],
  ["X-Wherry-Destination", "a.b:1"],
  ["X-Forwarded-Client-Cert", "By=a"],
  ["Set-Cookie", "a=b"],
  ["Content-Type", "a"],
  ["A B", "x"],
  ["", "x"],
  ["X-T", "a\0"],
  ["X-T", "a\rb"],
  ["Content_Length", "3"],
  ["traceparent", "x"],
  ["TE", "trailers"],
  ["Grpc-Status", "0"],
];
const SAME_NAMES: readonly (readonly Pair[])[] = [
  [
    ["Content-Length", "3"],
    ["Content-Length", "3"],
  ],
  [
    ["Content-Length", "3"],
    ["content-length", "4"],
  ],
  [["Host", "admin.shop"]],
  [["host", "orders.shop"]],
  [
    ["X-Canary", "yes"],
    ["X-Canary", "no"],
  ],
  [
    ["x-canary", "yes"],
    ["x-canary", "yes"],
  ],
  [
    ["Cookie", "a=1"],
    ["Cookie", "b=2"],
    ["Cookie", ""],
  ],
  [
    ["Expect", "100-continue"],
    ["Expect", "100-continue"],
  ],
  [
    ["Authorization", "a"],
    ["Authorization", "b"],
  ],
  [
    ["traceparent", "a"],
    ["traceparent", "b"],
  ],
];

function oddity(
  name: string,
  weight: number,
  apply: (request: FuzzRequest, chance: Random) => void,
): Oddity {
  return { name, weight, apply };
}

export const ODDITIES: readonly Oddity[] = [
  oddity("method", 6, (request, chance) => {
    const connect = request.method === "CONNECT";
    request.method = chance.pick(STRANGE_METHODS);
    if (connect) request.target = "/connect";
    if (request.method === "PRI") request.versions = "http1";
  }),
  oddity("empty method", 1, (request) => {
    if (request.method === "CONNECT") request.target = "/connect";
    request.method = "";
    // Nothing but a blank: HTTP/1 has another first word then.
    request.versions = "http1";
  }),
  oddity("CONNECT", 3, (request, chance) => {
    const authority = chance.pick([
      ...["orders.shop:80", "admin.shop:80", "open.shop:80", "open.shop:80"],
      ...["orders.shop", "orders.shop:0"],
      ...["[::1]:80", "orders.shop.:80", "ORDERS.shop:80", "orders.shop:81"],
    ]);
    request.method = "CONNECT";
    request.absolute = undefined;
    request.target = authority;
    request.hosts = [authority];
    request.chunks = [];
    request.trailers = [];
    request.length = undefined;
  }),
  oddity("path", 14, (request, chance) => {
    if (request.method === "CONNECT") return;
    request.target = chance.pick(PATHS);
    // In HTTP/1 these are targets without a path, which are said otherwise in HTTP/2.
    if (request.absolute !== undefined && !request.target.startsWith("/"))
      request.absolute = undefined;
  }),
  oddity("server-wide OPTIONS", 1, (request) => {
    if (request.method === "CONNECT") return;
    request.method = "OPTIONS";
    request.absolute = undefined;
    request.target = "*";
  }),
  oddity("host", 12, (request, chance) => {
    if (request.method === "CONNECT") return;
    const host = chance.pick(STRANGE_HOSTS);
    if (request.absolute !== undefined && chance.once(2))
      request.absolute = { scheme: "http", authority: host };
    else request.hosts = [host];
    if (request.absolute !== undefined && chance.once(2))
      request.absolute = { scheme: "http", authority: host };
    // There it is no authority any more, but the beginning of a path.
    if (/[/?]/.test(request.absolute?.authority ?? ""))
      request.versions = "http1";
  }),
  oddity("hosts", 2, (request, chance) => {
    if (request.method === "CONNECT") return;
    request.hosts = chance.pick([
      [],
      ["orders.shop", "orders.shop"],
      ["orders.shop", "admin.shop"],
      ["admin.shop", "orders.shop"],
    ]);
  }),
  oddity("absolute form", 4, (request, chance) => {
    if (request.method === "CONNECT") return;
    request.absolute = {
      scheme: chance.pick(["http", "http", "https", "ftp", "HTTP", "ws"]),
      authority: chance.pick([
        ...["orders.shop", "ORDERS.SHOP", "admin.shop", "orders.shop:80"],
        ...["orders.shop:443", "u@orders.shop", "", "orders.shop."],
      ]),
    };
    if (!request.target.startsWith("/")) request.target = "/";
  }),
  oddity("field name", 6, (request, chance) => {
    request.fields.push([chance.pick(STRANGE_NAMES), "1"]);
  }),
  oddity("field value", 6, (request, chance) => {
    request.fields.push([
      chance.pick(["X-V", "Cookie", "Authorization", "X-Canary", "Accept"]),
      chance.pick(STRANGE_VALUES),
    ]);
  }),
  oddity("the same field again", 4, (request, chance) => {
    request.fields.push(...chance.pick(SAME_NAMES));
  }),
  oddity("content-length", 4, (request, chance) => {
    if (request.method === "CONNECT") return;
    const right = `00${request.chunks.join("").length}`;
    request.length = chance.once(8) ? right : chance.pick(LENGTHS);
    request.trailers = [];
  }),
  oddity("less content than declared", 2, (request) => {
    if (request.chunks.length === 0) request.chunks.push("hello");
    request.trailers = [];
    request.length = String(request.chunks.join("").length + 5000);
  }),
  oddity("a length, and no content", 2, (request, chance) => {
    request.chunks = [];
    request.trailers = [];
    request.length = chance.pick(["0", "0", "00", "5000"]);
  }),
  oddity("content with a method that has none", 2, (request, chance) => {
    request.method = chance.pick(["TRACE", "CONNECT", "GET", "HEAD"]);
    if (request.method === "CONNECT") {
      request.target = "orders.shop:80";
      request.hosts = ["orders.shop:80"];
      request.absolute = undefined;
      request.chunks = [];
      request.trailers = [];
      request.length = "0";
      return;
    }
    if (request.chunks.length === 0) request.chunks.push("hello");
  }),
  oddity("expectation", 3, (request, chance) => {
    request.fields.push(["Expect", chance.pick(EXPECTATIONS)]);
  }),
  oddity("trailers", 5, (request, chance) => {
    if (request.method === "CONNECT" || request.method === "TRACE") return;
    if (request.length !== undefined) request.length = undefined;
    if (request.chunks.length === 0) request.chunks.push("hello");
    for (let count = chance.below(2); count >= 0; count -= 1)
      request.trailers.push(chance.pick(TRAILERS));
  }),
  oddity("the same field many times", 1, (request, chance) => {
    const pair: Pair = [
      chance.pick(["x-a", "X-Repeated", "via"]),
      "v".repeat(chance.pick([10, 400, 600])),
    ];
    for (let count = chance.pick([20, 50, 80]); count > 0; count -= 1)
      request.fields.push(pair);
  }),
  oddity("many fields", 1, (request, chance) => {
    const count = chance.pick([20, 60, 85, 120, 300]);
    for (let index = 0; index < count; index += 1)
      request.fields.push([`x-${index}`, "v"]);
  }),
  oddity("a large field", 1, (request, chance) => {
    request.fields.push([
      "x-large",
      "v".repeat(chance.pick([1000, 17_000, 40_000, 70_000])),
    ]);
  }),
];
