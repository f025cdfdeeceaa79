/** Twice the size costs twice the time: every element of a request, in every form that a careless reader might go over again and again (law 15). */
import type { Fuzzer } from "./fuzzer.ts";
import { chanceOf } from "./random.ts";
import { plainRequest, type FuzzRequest } from "./requests/request.ts";

export interface Form {
  readonly name: string;
  readonly versions: FuzzRequest["versions"];
  /** The largest size within the limits; it is measured at a half and a quarter of it too. */
  readonly most: number;
  readonly put: (request: FuzzRequest, size: number) => void;
}

/** Listeners that lead through everything: both sidecars, the link between them, routes and policy. */
const LISTENERS = ["oe1", "oe2"];
/** Microseconds under which nothing is worth a second look: what is linear stays far below. */
const CHEAP = 4000;
/** Twice the size may cost this many times as much: 2 where it is linear, 4 where it is quadratic. */
const RATIO = 3;
/** Microseconds that one request may hold the event loop. */
const HELD = 50_000;
/** The least of so many is what it costs: in others garbage was collected, or a neighbour was at the machine's caches. */
const TRIES = 4;
/** It must seem so every time. */
const ROUNDS = 3;

/** What values are made of, repeated: blanks, separators, quotes, and what has a meaning in paths and queries. */
export const UNITS: readonly string[] = [
  ...[" ", "\t", " \t", ",", ", ", "a,", " ,", ";", "a;", "=", "a=", '"', "\\"],
  ...[
    '"a",',
    "a",
    "%",
    "%2",
    "-",
    ".",
    ":",
    "/",
    "a=b; ",
    "\xe4",
    "0",
    "(",
    "*/*,",
  ],
];
const FIELDS = [
  ...[
    "connection",
    "te",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "cookie",
  ],
  ...[
    "accept",
    "via",
    "expect",
    "x-a",
    "content-type",
    "x-forwarded-for",
    "range",
  ],
  ...["forwarded", "authorization", "cache-control", "grpc-timeout", "baggage"],
  ...["b3", "tracestate", "traceparent", "x-canary", "origin", "if-none-match"],
  ...[
    "transfer-encoding",
    "content-length",
    "x-forwarded-client-cert",
    "trailer",
  ],
  ...[
    "x-wherry-destination",
    "idempotency-key",
    "priority",
    "host",
    "max-forwards",
  ],
];
const ONLY_HTTP1 = new Set([
  ...["connection", "te", "upgrade", "keep-alive", "proxy-connection"],
  ...["transfer-encoding", "host"],
]);
const PATH_UNITS = [
  ...[
    "/",
    "/.",
    "/..",
    "/a",
    "/a/..",
    "%2e",
    "%",
    "%2",
    "%2F",
    "\\",
    "a",
    ";",
    "//a",
  ],
];
const QUERY_UNITS = [
  "&",
  "a=1&",
  "=",
  "%",
  "%20",
  "a",
  "beta=2&",
  "?",
  "+",
  ";",
];

function form(
  name: string,
  versions: Form["versions"],
  most: number,
  put: Form["put"],
): Form {
  return { name, versions, most, put };
}

function fill(unit: string, size: number): string {
  return unit.repeat(Math.max(1, Math.floor(size / unit.length)));
}

export const FORMS: readonly Form[] = [
  ...FIELDS.flatMap((field) =>
    UNITS.map((unit) =>
      form(
        `${field} of ${JSON.stringify(unit)}`,
        ONLY_HTTP1.has(field) ? "http1" : "both",
        48_000,
        // Something visible at both ends: blanks there are no part of the value.
        ({ fields }, size) => fields.push([field, `a${fill(unit, size)}b`]),
      ),
    ),
  ),
  ...UNITS.map((unit) =>
    form(
      `a line with ${JSON.stringify(unit)} around its value`,
      "http1",
      48_000,
      ({ http1 }, size) =>
        http1.lines.push(`x-a:${fill(unit, size / 2)}a${fill(unit, size / 2)}`),
    ),
  ),
  ...PATH_UNITS.map((unit) =>
    form(`a path of ${unit}`, "both", 15_000, (request, size) => {
      request.target = `/${fill(unit, size)}`;
    }),
  ),
  ...QUERY_UNITS.map((unit) =>
    form(`a query of ${unit}`, "both", 15_000, (request, size) => {
      request.target = `/a?${fill(unit, size)}`;
    }),
  ),
  ...["a", "a.", ".", "-", "1", ":", "["].map((unit) =>
    form(`a host of ${unit}`, "both", 48_000, (request, size) => {
      request.hosts = [fill(unit, size)];
    }),
  ),
  form("a method", "both", 12_000, (request, size) => {
    request.method = fill("A", size);
  }),
  form("blanks in the request line", "http1", 12_000, ({ http1 }, size) => {
    http1.space = fill(" ", size);
  }),
  form("a name of a field", "both", 48_000, ({ fields }, size) =>
    fields.push([`x-${fill("a", size)}`, "1"]),
  ),
  form("names of fields", "both", 96, ({ fields }, size) => {
    for (let count = 0; count < size; count += 1)
      fields.push([`x-${count}`, "v".repeat(400)]);
  }),
  form("the same field", "both", 96, ({ fields }, size) => {
    for (let count = 0; count < size; count += 1)
      fields.push(["x-canary", "v".repeat(400)]);
  }),
  form("crumbs of cookies", "both", 96, ({ fields }, size) => {
    for (let count = 0; count < size; count += 1)
      fields.push(["cookie", `a${count}=${"v".repeat(400)}`]);
  }),
  form("content in one piece", "both", 48_000, (request, size) => {
    request.method = "POST";
    request.length = String(size);
    for (let left = size; left > 0; left -= 16_000)
      request.chunks.push("c".repeat(Math.min(left, 16_000)));
  }),
  form("chunks of one byte", "both", 4000, (request, size) => {
    request.method = "POST";
    request.chunks = Array.from({ length: size }, () => "c");
  }),
  ...[" ", "a", "=", '"'].map((unit) =>
    form(`a trailer of ${unit}`, "both", 7500, (request, size) => {
      request.method = "POST";
      request.chunks = ["c"];
      request.trailers = [["x-t", `a${fill(unit, size)}b`]];
    }),
  ),
  form("trailers", "both", 96, (request, size) => {
    request.method = "POST";
    request.chunks = ["c"];
    for (let count = 0; count < size; count += 1)
      request.trailers.push([`x-${count}`, "v".repeat(40)]);
  }),
  form("zeros of a chunk's size", "http1", 4000, (request, size) => {
    request.method = "POST";
    request.chunks = ["c"];
    request.http1.chunkSize = (length) => fill("0", size) + String(length);
  }),
  form("an extension of a chunk", "http1", 4000, (request, size) => {
    request.method = "POST";
    request.chunks = ["c"];
    request.http1.chunkExtension = `;a=${fill("b", size)}`;
  }),
  form("empty lines before", "http1", 16_000, ({ http1 }, size) => {
    http1.before = fill("\r\n", size);
  }),
];

/** One form in `part` of them: others in each run, so that runs add up. */
export function someForms(seed: number, part: number): readonly Form[] {
  return FORMS.filter((_, index) => chanceOf(seed, index).once(part));
}

/** What costs more than its size, a sentence each; up to `mostFound` of them. */
export async function superLinear(
  fuzzer: Fuzzer,
  mostFound: number,
  forms: readonly Form[] = FORMS,
): Promise<string[]> {
  const found: string[] = [];
  for (const each of forms)
    for (const listener of LISTENERS) {
      if (found.length >= mostFound) return found;
      if (each.versions === "http1" && listener.endsWith("2")) continue;
      const why = await grows(fuzzer, each, listener);
      if (why !== undefined) found.push(`${listener}: ${each.name}: ${why}`);
    }
  return found;
}

async function grows(
  fuzzer: Fuzzer,
  each: Form,
  listener: string,
): Promise<string | undefined> {
  const at = (size: number, tries: number): Promise<number> =>
    fuzzer.cost(requestOf(each, size), listener, tries);
  // From the small to the large, so that what holds the loop is found before it holds it for minutes.
  for (const share of [4, 2, 1]) {
    const size = each.most / share;
    if ((await at(size, 1)) < CHEAP) continue;
    let why: string | undefined;
    for (let round = 0; round < ROUNDS; round += 1) {
      why = await costsTooMuch(at, size);
      if (why === undefined) break;
    }
    if (why !== undefined) return why;
  }
  return undefined;
}

async function costsTooMuch(
  at: (size: number, tries: number) => Promise<number>,
  size: number,
): Promise<string | undefined> {
  const whole = await at(size, TRIES);
  if (whole < CHEAP) return undefined;
  const costs = `${Math.round(whole)} µs for ${Math.floor(size)}`;
  if (whole > HELD) return costs;
  const half = await at(size / 2, TRIES);
  return whole > RATIO * half
    ? `${Math.round(half)} µs for ${Math.floor(size / 2)}, ${costs}`
    : undefined;
}

function requestOf({ put, versions }: Form, size: number): FuzzRequest {
  const request = plainRequest(0);
  request.versions = versions;
  put(request, Math.floor(size));
  return request;
}
