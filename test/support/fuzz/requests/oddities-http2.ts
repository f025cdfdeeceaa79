/** What may be odd about the frames and the field list of HTTP/2 alone. */
import { FrameType } from "../../../../src/wire/http2/frames/frames.ts";
import type { Oddity } from "./oddities.ts";
import type { Random } from "../random.ts";
import type { FuzzRequest, Pair } from "./request.ts";

const EDITS: readonly ((pairs: Pair[]) => Pair[])[] = [
  // 8.3: once each, all of them, before the others, and no more than there are.
  (pairs) => [...pairs, [":method", "DELETE"]],
  (pairs) => [[":method", "DELETE"], ...pairs],
  (pairs) => [[":path", "/admin"], ...pairs],
  (pairs) => [[":authority", "admin.shop"], ...pairs],
  (pairs) => pairs.filter(([name]) => name !== ":scheme"),
  (pairs) => pairs.filter(([name]) => name !== ":method"),
  (pairs) => pairs.filter(([name]) => name !== ":path"),
  (pairs) => [["x-first", "1"], ...pairs],
  (pairs) => [[":status", "200"], ...pairs],
  (pairs) => [[":protocol", "websocket"], ...pairs],
  (pairs) => [[":Method", "GET"], ...pairs],
  (pairs) => pairs.toReversed(),
  (pairs) =>
    pairs.map((pair) => (pair[0] === ":scheme" ? [":scheme", "ftp"] : pair)),
  (pairs) =>
    pairs.map((pair) => (pair[0] === ":scheme" ? [":scheme", "HTTP"] : pair)),
  (pairs) => pairs.map((pair) => (pair[0] === ":path" ? [":path", ""] : pair)),
  (pairs) =>
    pairs.map((pair) => (pair[0] === ":path" ? [":path", "/a b"] : pair)),
  (pairs) =>
    pairs.map((pair) =>
      pair[0] === ":path" ? [":path", "/ HTTP/1.1\r\nx: y"] : pair,
    ),
  (pairs) =>
    pairs.map((pair) =>
      pair[0] === ":method"
        ? [":method", "GET /admin HTTP/1.1\r\nx: y\r\n\r\nGET"]
        : pair,
    ),
  (pairs) =>
    pairs.map((pair) => (pair[0] === ":method" ? [":method", ""] : pair)),
  // 8.2.1 and 8.2.2.
  (pairs) => [...pairs, ["X-Upper", "1"]],
  (pairs) => [...pairs, ["connection", "close"]],
  (pairs) => [...pairs, ["connection", "x-canary"]],
  (pairs) => [...pairs, ["keep-alive", "timeout=5"]],
  (pairs) => [...pairs, ["transfer-encoding", "chunked"]],
  (pairs) => [...pairs, ["upgrade", "h2c"]],
  (pairs) => [...pairs, ["proxy-connection", "close"]],
  (pairs) => [...pairs, ["te", "trailers"]],
  (pairs) => [...pairs, ["te", "gzip"]],
  (pairs) => [...pairs, ["x-a", "b\r\nx-injected: 1"]],
  (pairs) => [...pairs, ["x-a", "b\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"]],
  (pairs) => [...pairs, ["x-a", " b"]],
  (pairs) => [...pairs, ["x-a", "b "]],
  (pairs) => [...pairs, ["x-a\r\nx-b", "c"]],
  (pairs) => [...pairs, ["cookie", "a=1"], ["x-a", "b"], ["cookie", "b=2"]],
  (pairs) => [...pairs, ["host", "orders.shop"]],
  (pairs) => [...pairs, ["host", "admin.shop"]],
];
const BETWEEN: readonly (readonly [number, number, string])[] = [
  [FrameType.PRIORITY, 0, "\0\0\0\0\x10"],
  [0xbe, 0, "x"],
  [FrameType.WINDOW_UPDATE, 0, "\0\0\x10\0"],
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
      request.versions = "http2";
      change(request, chance);
    },
  };
}

export const HTTP2_ODDITIES: readonly Oddity[] = [
  oddity("field list", 12, ({ http2 }, chance) => {
    http2.edit = chance.pick(EDITS);
  }),
  oddity("other literals", 3, ({ http2 }, chance) => {
    http2.literal = chance.pick([0x10, 0x40]);
  }),
  oddity("padding", 2, ({ http2 }, chance) => {
    http2.padding = 1 + chance.below(255);
  }),
  oddity("continuation", 3, (request, chance) => {
    request.http2.cut = 60 + chance.below(100);
    if (request.fields.length > 6) request.fields.length = 6;
  }),
  oddity("frames between", 2, (request, chance) => {
    if (request.chunks.length === 0) request.chunks.push("hello");
    request.http2.between.push(chance.pick(BETWEEN));
  }),
  oddity("more content than declared", 3, (request) => {
    if (request.method === "CONNECT") return;
    request.trailers = [];
    request.length = String(request.chunks.join("").length);
    request.http2.surplus = "surplus";
  }),
  oddity("trailers that do not end", 2, (request) => {
    if (request.method === "CONNECT") return;
    if (request.chunks.length === 0) request.chunks.push("hello");
    request.length = undefined;
    request.trailers = [["x-t", "1"]];
    request.http2.openTrailers = true;
  }),
];
