/** Responses of a hostile application: good ones of every form in HTTP/1, most with an oddity, as bytes. */
import { chanceOf, type Random } from "../random.ts";
import type { Pair } from "../requests/request.ts";
import { readByLetter } from "./response-by-letter.ts";

export interface FuzzResponse {
  readonly index: number;
  /** Of the request that it is for. */
  readonly method: "GET" | "HEAD" | "POST";
  readonly text: string;
  /** The application ends the connection behind it. */
  readonly ends: boolean;
  readonly notes: readonly string[];
}

const STATUSES = [
  ...[
    "200",
    "200",
    "200",
    "404",
    "500",
    "204",
    "304",
    "206",
    "301",
    "201",
    "205",
  ],
];
const ODD_STATUSES = [
  ...["100", "101", "103", "199", "099", "600", "999", "2000", "20", "", "2x0"],
  ...["+20", "000", "200 ", " 200", "599"],
];
const VERSIONS = [
  ...["HTTP/1.0", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "http/1.1"],
  ...["HTTP/1.1 ", "", "HTTP/11", "ICY", "HTTP/1.1\t", "HTTP/01.1"],
];
const PHRASES = ["OK", "", "Not Found", "\xe4", "O\0K", "a\tb", "O\rK", "O\nK"];
const FIELDS: readonly Pair[] = [
  ["Content-Type", "text/plain"],
  ["X-A", "b"],
  ["x-a", "again"],
  ["X-Empty", ""],
  ["X-Latin", "\xe4"],
  ["Set-Cookie", "a=1; Path=/"],
  ["set-cookie", "b=2"],
  ["Date", "Sun, 06 Nov 1994 08:49:37 GMT"],
  ["Cache-Control", "no-store"],
  ["Server", "odd/1"],
  ["Trailer", "x-t"],
  ["Vary", "*"],
  ["Location", "/a?b"],
  ["ETag", 'W/"a"'],
  ["X-Wherry-Reason", "DENIED"],
  ["Retry-After", "1"],
  ["Keep-Alive", "timeout=5"],
  ["Connection", "keep-alive"],
  ["X-Forwarded-Client-Cert", "By=a"],
];
const LINES = [
  ...[
    "Connection: close",
    "Connection: x-a",
    "Connection: set-cookie",
    "Connection: a b",
  ],
  ...[
    "Connection: content-length",
    "Connection: ,",
    "Connection: CLOSE",
    "Connection: date",
  ],
  ...[
    "Host: orders.shop",
    "X-A: b\r\n folded",
    " X-A: b",
    "no colon",
    ":",
    "X-A : b",
  ],
  ...[
    "X-A:b\0",
    "X-A: b\rX-B: c",
    "X-A: b\nX-B: c",
    "Content_Length: 3",
    "A B: c",
    "\xe4: x",
  ],
  ...[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
  ],
  ...[
    "Transfer-Encoding: chunked\t",
    "Transfer-Encoding:",
    "Content-Length: 3",
    "Content-Length: 0",
  ],
  ...[
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: +3",
    "Content-Length: 3,3",
  ],
  ...[
    "Content-Length: 00000000000000000003",
    "Upgrade: websocket",
    "Proxy-Connection: close",
  ],
  ...[
    "HTTP2-Settings: AAMAAABk",
    "TE: trailers",
    "X-A: \x7f",
    "X-A:\tb\t",
    "Expect: 100-continue",
  ],
];
const CHUNKS = [
  "hello",
  "x",
  "0\r\n\r\n",
  "\xff\0",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
];
const EXTENSIONS = [
  ...[
    ";a",
    ";a=b",
    ';a="b c"',
    "; a",
    ";a=",
    ";",
    ';a="b\n"',
    ";a b",
    " ",
    ";\r",
  ],
];
const TRAILERS: readonly Pair[] = [
  ["X-T", "1"],
  ["x-u", ""],
  ["Content-Length", "0"],
  ["Set-Cookie", "a=b"],
  ["Transfer-Encoding", "chunked"],
  ["A B", "x"],
  ["X-T", "a\0"],
  ["Grpc-Status", "0"],
];
const INTERIMS = [
  "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 102 \r\n\r\n",
];
const ODD_INTERIMS = [
  "HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\n",
  "HTTP/1.1 103 Early\r\nConnection: close\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
  "HTTP/1.0 100 Continue\r\n\r\n",
  "HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\n",
  "HTTP/1.1 103 E\r\n\r\n".repeat(17),
  "\r\n",
  "x",
];
const BEHIND = [
  ...["\r\n", "x", "\0", "0\r\n\r\n"],
  "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled",
];
const OCTETS = '\0\t\n\x0b\r !"#%(),/0:;<=>[\\]_a{}\x7f\x80\xa0\xff';

interface Draft {
  version: string;
  status: string;
  phrase: string;
  fields: Pair[];
  lines: string[];
  lineEnd: string;
  framing: "length" | "chunked" | "close" | "none";
  length: number | undefined;
  chunks: string[];
  extension: string;
  size: (length: number) => string;
  trailers: Pair[];
  before: string;
  behind: string;
  cut: number;
}

type Oddity = readonly [
  name: string,
  change: (draft: Draft, chance: Random) => void,
];

const ODDITIES: readonly Oddity[] = [
  ["status", (draft, chance) => (draft.status = chance.pick(ODD_STATUSES))],
  ["version", (draft, chance) => (draft.version = chance.pick(VERSIONS))],
  ["phrase", (draft, chance) => (draft.phrase = chance.pick(PHRASES))],
  ["line", (draft, chance) => draft.lines.push(chance.pick(LINES))],
  ["line", (draft, chance) => draft.lines.push(chance.pick(LINES))],
  ["line", (draft, chance) => draft.lines.push(chance.pick(LINES))],
  [
    "line end",
    (draft, chance) => (draft.lineEnd = chance.pick(["\n", "\r", "\r\r\n"])),
  ],
  [
    "length",
    (draft, chance) => {
      draft.framing = "length";
      const right = draft.chunks.join("").length;
      draft.length = Math.max(0, right + chance.pick([1, 5, -1, -3, 1000]));
    },
  ],
  [
    "chunk extension",
    (draft, chance) => {
      draft.framing = "chunked";
      draft.extension = chance.pick(EXTENSIONS);
    },
  ],
  [
    "chunk size",
    (draft, chance) => {
      draft.framing = "chunked";
      draft.size = chance.pick([
        (length: number) => `0${length.toString(16)}`,
        (length: number) => `0x${length.toString(16)}`,
        (length: number) => ` ${length.toString(16)}`,
        (length: number) => (length + 1).toString(16),
        (length: number) => `${"0".repeat(20)}${length}`,
        () => "",
        () => "g",
      ]);
    },
  ],
  [
    "trailers",
    (draft, chance) => {
      draft.framing = "chunked";
      draft.trailers.push(chance.pick(TRAILERS));
    },
  ],
  ["before it", (draft, chance) => (draft.before = chance.pick(ODD_INTERIMS))],
  ["behind it", (draft, chance) => (draft.behind = chance.pick(BEHIND))],
  ["behind it", (draft, chance) => (draft.behind = chance.pick(BEHIND))],
  ["content without a length", (draft) => (draft.framing = "none")],
  ["cut off", (draft, chance) => (draft.cut = 1 + chance.below(60))],
  [
    "grown",
    (draft, chance) => {
      const unit = chance.pick([" ", ",", "a,", "timeout=1", ";", "\t", "a"]);
      const name = chance.pick([
        ...["Connection", "Keep-Alive", "Set-Cookie", "X-A", "Vary", "Trailer"],
      ]);
      const size = 1000 + chance.below(40_000);
      draft.fields.push([name, `a${unit.repeat(size / unit.length)}b`]);
    },
  ],
  [
    "many fields",
    (draft, chance) => {
      for (let count = chance.pick([50, 85, 120]); count > 0; count -= 1)
        draft.fields.push([`X-${count}`, "v"]);
    },
  ],
];

export function responseOf(seed: number, index: number): FuzzResponse {
  const chance = chanceOf(seed ^ 0x5bd1e995, index);
  const method = chance.pick(["GET", "GET", "GET", "POST", "HEAD"] as const);
  const draft = draftOf(method, chance);
  const notes: string[] = [];
  if (!chance.once(3))
    for (let count = chance.once(4) ? 2 : 1; count > 0; count -= 1) {
      const [name, change] = chance.pick(ODDITIES);
      change(draft, chance);
      notes.push(name);
    }
  let text = render(draft, method);
  if (notes.length > 0 && chance.once(4)) {
    text = mutated(text, chance);
    notes.push("mutated bytes");
  }
  if (draft.cut > 0) text = text.slice(0, -draft.cut);
  // What is bad is ended, so that nobody waits for more of it.
  const ends =
    draft.framing === "close" ||
    readByLetter(text, method, false).kind === "bad";
  return { index, method, text, ends, notes };
}

function draftOf(method: string, chance: Random): Draft {
  const status = chance.pick(STATUSES);
  const bare = status === "204" || status === "304";
  const chunks: string[] = [];
  if (!bare && status !== "205")
    for (let count = chance.below(4); count > 0; count -= 1)
      chunks.push(chance.pick(CHUNKS));
  const fields: Pair[] = [];
  for (let count = chance.below(4); count > 0; count -= 1)
    fields.push(chance.pick(FIELDS));
  const framing = bare
    ? "none"
    : chance.pick(["length", "length", "chunked", "chunked", "close"] as const);
  return {
    version: "HTTP/1.1",
    status,
    phrase: chance.pick(["OK", "OK", "", "Odd \xe4"]),
    fields,
    lines: [],
    lineEnd: "\r\n",
    framing: method === "HEAD" && framing === "close" ? "length" : framing,
    length: undefined,
    chunks,
    extension: "",
    size: (length) => length.toString(16),
    trailers: framing === "chunked" && chance.once(4) ? [["X-T", "t"]] : [],
    before: chance.once(12) ? chance.pick(INTERIMS) : "",
    behind: "",
    cut: 0,
  };
}

function render(draft: Draft, method: string): string {
  const { lineEnd } = draft;
  const content = draft.chunks.join("");
  let text = `${draft.before}${draft.version} ${draft.status} ${draft.phrase}${lineEnd}`;
  for (const [name, value] of draft.fields)
    text += `${name}: ${value}${lineEnd}`;
  for (const line of draft.lines) text += line + lineEnd;
  if (draft.framing === "length")
    text += `Content-Length: ${draft.length ?? content.length}${lineEnd}`;
  if (draft.framing === "chunked")
    text += `Transfer-Encoding: chunked${lineEnd}`;
  text += lineEnd;
  if (method === "HEAD") return text + draft.behind;
  if (draft.framing !== "chunked") return text + content + draft.behind;
  for (const chunk of [...draft.chunks, ""]) {
    text += `${draft.size(chunk.length)}${chunk === "" ? "" : draft.extension}${lineEnd}`;
    if (chunk !== "") text += chunk + lineEnd;
  }
  for (const [name, value] of draft.trailers)
    text += `${name}: ${value}${lineEnd}`;
  return text + lineEnd + draft.behind;
}

function mutated(text: string, chance: Random): string {
  if (text === "") return text;
  const at = chance.below(text.length);
  const octet = OCTETS.charAt(chance.below(OCTETS.length));
  const before = text.slice(0, at);
  switch (chance.below(4)) {
    case 0:
      return before + octet + text.slice(at);
    case 1:
      return before + octet + text.slice(at + 1);
    case 2:
      return before + text.slice(at + 1);
    default:
      return (
        before + text.slice(at, at + 1 + chance.below(20)) + text.slice(at)
      );
  }
}
