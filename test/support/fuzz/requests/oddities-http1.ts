/** What may be odd about the text of HTTP/1 alone: its lines, its blanks, its framing, and the fields that belong to one connection. */
import type { Oddity } from "./oddities.ts";
import type { Random } from "../random.ts";
import type { FuzzRequest } from "./request.ts";

const VERSIONS = [
  ...["HTTP/1.0", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "http/1.1"],
  ...[
    "HTTP/1.1 ",
    "",
    "HTTP/11",
    "HTTP/1.1\t",
    "HTTP/01.1",
    "ICE/1.0",
    "HTTP/1.10",
  ],
];
const SPACES = ["  ", "\t", "\x0b", "\0", " \t", "\r", "\n", "\x0c", "\xa0"];
const BEFORE = ["\r\n", "\r\n\r\n", "\n", " ", "\r", "\0", "\r\n "];
const LINE_ENDS = ["\n", "\r", "\r\r\n", "\n\r", " \r\n", "\0\r\n"];
const COLONS = [
  ":",
  ":\t",
  ": \t ",
  " :",
  "\t:",
  "",
  "::",
  "=",
  ":\r\n ",
  ":\0",
  ":\n",
];
const LINES = [
  ...["Connection: close", "Connection: keep-alive", "Connection: x-a, close"],
  ...[
    "Connection: host",
    "Connection: authorization",
    "Connection: a b",
    "Connection: ,",
  ],
  ...[
    "Connection: content-length",
    "Connection: x-canary",
    "Connection: CLOSE,,",
  ],
  ...[
    "Connection: te\r\nTE: trailers",
    "TE: trailers",
    "TE: gzip",
    "TE: chunked;q=0",
  ],
  ...[
    "Keep-Alive: timeout=5",
    "Proxy-Connection: close",
    "Proxy-Connection: keep-alive",
  ],
  ...[
    "Connection: Upgrade\r\nUpgrade: websocket",
    "Upgrade: h2c",
    "Upgrade: TLS/1.0",
  ],
  ...[
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
  ],
  ...[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:",
  ],
  ...[
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
  ],
  ...[
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked\t",
    "Transfer-Encoding : chunked",
  ],
  ...[
    "X-A: b\r\n folded",
    " X-A: b",
    "\tX-A: b",
    "no colon",
    ":",
    ": x",
    "X-A : b",
    "X-A:",
  ],
  ...[
    "Content-Length: 3",
    "Content-Length: 0",
    "Content-Length: 3\r\nContent-Length: 3",
  ],
  ...[
    "X-A: b\nX-B: c",
    "X-A: b\rX-B: c",
    "X-A: b\r\n\tc",
    "Host: admin.shop",
    "Host : admin.shop",
  ],
];
const CODINGS = [
  ...["Chunked", "CHUNKED", " chunked", "chunked ", "chunked,", ",chunked"],
  ...["gzip, chunked", "chunked, gzip", "chunked;x=1", '"chunked"', "xchunked"],
  ...["chunked\0", "identity", "", "chunked, chunked"],
];
const EXTENSIONS = [
  ...[";a", ";a=b", ';a="b c"', "; a", ";a=", " ;a", ";", ';a="b\n"', ";a\n"],
  ...[
    ";\r",
    ";a b",
    ';a="\\""',
    ";=",
    `;${"e".repeat(300)}`,
    ";a\t",
    ';a="b',
    " ",
    "\t",
  ],
];
const SIZES: readonly ((length: number) => string)[] = [
  (length) => `0${length.toString(16)}`,
  (length) => length.toString(16).toUpperCase(),
  (length) => `0x${length.toString(16)}`,
  (length) => `+${length.toString(16)}`,
  (length) => ` ${length.toString(16)}`,
  (length) => `${"0".repeat(20)}${length.toString(16)}`,
  (length) => `1${"0".repeat(15)}${length.toString(16)}`,
  (length) => (length + 1).toString(16),
  (length) => Math.max(0, length - 1).toString(16),
  () => "g",
  () => "",
  () => "-1",
];
const AFTER = [
  ...["\r\n", "\r\n\r\n", "x", "\0", "0\r\n\r\n", " ", "\n"],
  "GET /smuggled HTTP/1.1\r\nhost: orders.shop\r\n",
];

function oddity(
  name: string,
  weight: number,
  change: (request: FuzzRequest, chance: Random) => void,
): Oddity {
  return {
    name,
    weight,
    apply(request, chance) {
      request.versions = "http1";
      change(request, chance);
    },
  };
}

/** Content in chunks, so that there is something odd to say of them. */
function chunked(request: FuzzRequest): void {
  if (request.method === "CONNECT") request.method = "POST";
  if (!request.target.startsWith("/")) request.target = "/chunks";
  request.length = undefined;
  if (request.chunks.length === 0) request.chunks.push("hello", "x");
}

export const HTTP1_ODDITIES: readonly Oddity[] = [
  oddity("version", 3, ({ http1 }, chance) => {
    http1.version = chance.pick(VERSIONS);
  }),
  oddity("blanks in the request line", 2, ({ http1 }, chance) => {
    http1.space = chance.pick(SPACES);
  }),
  oddity("before the request line", 2, ({ http1 }, chance) => {
    http1.before = chance.pick(BEFORE);
  }),
  oddity("line ends", 2, ({ http1 }, chance) => {
    http1.lineEnd = chance.pick(LINE_ENDS);
  }),
  oddity("colon", 3, ({ http1 }, chance) => {
    http1.colon = chance.pick(COLONS);
  }),
  oddity("line", 14, ({ http1 }, chance) => {
    http1.lines.push(chance.pick(LINES));
  }),
  oddity("coding", 4, (request, chance) => {
    chunked(request);
    request.http1.coding = chance.pick(CODINGS);
  }),
  oddity("chunk extension", 4, (request, chance) => {
    chunked(request);
    request.http1.chunkExtension = chance.pick(EXTENSIONS);
  }),
  oddity("chunk size", 4, (request, chance) => {
    chunked(request);
    request.http1.chunkSize = chance.pick(SIZES);
  }),
  oddity("behind the message", 3, ({ http1 }, chance) => {
    http1.after = chance.pick(AFTER);
  }),
];
