/** The Huffman code (RFC 7541 5.2, appendix B). */
import fc from "fast-check";
import t from "tap";
import {
  huffmanDecode,
  huffmanEncode,
  huffmanLength,
} from "../../../../src/wire/http2/hpack/huffman.ts";

function encode(text: string): string {
  const target = Buffer.alloc(text.length * 4 + 8);
  return target.toString("hex", 0, huffmanEncode(text, target, 0));
}

function decode(hex: string): string | undefined {
  const source = Buffer.from(hex, "hex");
  const target = Buffer.alloc(source.length * 2 + 2);
  const length = huffmanDecode(source, 0, source.length, target);
  return length < 0 ? undefined : target.toString("latin1", 0, length);
}

void t.test("encodes and decodes the strings of appendix C", (t) => {
  const table: readonly (readonly [string, string])[] = [
    ["www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"],
    ["no-cache", "a8eb10649cbf"],
    ["custom-key", "25a849e95ba97d7f"],
    ["custom-value", "25a849e95bb8e8b4bf"],
    ["302", "6402"],
    ["private", "aec3771a4b"],
    [
      "Mon, 21 Oct 2013 20:13:21 GMT",
      "d07abe941054d444a8200595040b8166e082a62d1bff",
    ],
    ["https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"],
    ["gzip", "9bd9ab"],
    [
      "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
      "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ],
    ["", ""],
  ];
  for (const [text, hex] of table) {
    t.equal(encode(text), hex, text);
    t.equal(huffmanLength(text), hex.length / 2);
    t.equal(decode(hex), text);
  }
  t.end();
});

void t.test("spells the longest codes as appendix B does", (t) => {
  // 30, 28, 27 and 26 bits, each padded with ones.
  const table: readonly (readonly [number, string])[] = [
    [10, "fffffff3"],
    [22, "fffffffb"],
    [249, "ffffffef"],
    [254, "fffffe1f"],
    [255, "fffffbbf"],
    [0, "ffc7"],
  ];
  for (const [octet, hex] of table)
    t.equal(encode(String.fromCharCode(octet)), hex, String(octet));
  t.end();
});

void t.test("brings any octets back", (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
      const text = Buffer.from(octets).toString("latin1");
      return decode(encode(text)) === text;
    }),
  );
  t.end();
});

void t.test("refuses what is no encoding", (t) => {
  const table: readonly (readonly [string, string])[] = [
    ["ff", "padding of 8 bits"],
    ["f1e3c2e5f23a6ba0ab90f4ffff", "padding longer than 7 bits"],
    ["00", "padding of zeros"],
    ["fffffffc", "EOS"],
    ["fffffffffc", "EOS after a byte of ones"],
  ];
  for (const [hex, why] of table) t.equal(decode(hex), undefined, why);
  t.end();
});
