/** The static table (RFC 7541 appendix A). */
import { huffmanEncode, huffmanLength } from "./huffman.ts";
import { Name, WireField } from "./names.ts";

const ENTRIES: readonly (readonly [name: string, value: string])[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""],
  ["accept-ranges", ""],
  ["accept", ""],
  ["access-control-allow-origin", ""],
  ["age", ""],
  ["allow", ""],
  ["authorization", ""],
  ["cache-control", ""],
  ["content-disposition", ""],
  ["content-encoding", ""],
  ["content-language", ""],
  ["content-length", ""],
  ["content-location", ""],
  ["content-range", ""],
  ["content-type", ""],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["expect", ""],
  ["expires", ""],
  ["from", ""],
  ["host", ""],
  ["if-match", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["if-range", ""],
  ["if-unmodified-since", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["max-forwards", ""],
  ["proxy-authenticate", ""],
  ["proxy-authorization", ""],
  ["range", ""],
  ["referer", ""],
  ["refresh", ""],
  ["retry-after", ""],
  ["server", ""],
  ["set-cookie", ""],
  ["strict-transport-security", ""],
  ["transfer-encoding", ""],
  ["user-agent", ""],
  ["vary", ""],
  ["via", ""],
  ["www-authenticate", ""],
];

/** Entries of the static table; the dynamic table's indices begin behind it. */
export const STATIC_ENTRIES: number = ENTRIES.length;

/** The string literal of a name, Huffman-coded; every name of the table is short. */
function nameLiteral(name: string): Buffer {
  const length = huffmanLength(name);
  const literal = Buffer.allocUnsafeSlow(1 + length);
  literal[0] = 0x80 | length;
  huffmanEncode(name, literal, 1);
  return literal;
}

function makeTable(): readonly WireField[] {
  const names = new Map<string, Name>();
  return ENTRIES.map(([text, value], at) => {
    const name =
      names.get(text) ??
      new Name(text, nameLiteral(text), Math.imul(at + 1, 0x9e3779b1));
    names.set(text, name);
    return new WireField(name, value, "incremental", undefined, 0);
  });
}

/** By index minus one. */
export const STATIC_TABLE: readonly WireField[] = makeTable();

/** The lowest index of each name. */
export const STATIC_NAMES: ReadonlyMap<string, number> = new Map(
  ENTRIES.map(([name], at) => [name, at + 1] as const).reverse(),
);
