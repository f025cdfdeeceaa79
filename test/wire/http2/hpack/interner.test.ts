/** Interning: one object for a field that keeps coming, and never the wrong one. */
import t from "tap";
import { makeField } from "../../../../src/wire/fields.ts";
import { ByteWriter } from "../../../../src/wire/http2/write/byte-writer.ts";
import { Decoder } from "../../../../src/wire/http2/hpack/decoder.ts";
import { Encoder } from "../../../../src/wire/http2/hpack/encoder.ts";
import { Interner } from "../../../../src/wire/http2/hpack/interner.ts";
import {
  Kind,
  type WireField,
} from "../../../../src/wire/http2/hpack/names.ts";

/** The field as a new connection decodes it. */
function decodeAlone(
  interner: Interner,
  name: string,
  value: string,
  first = 0x40,
): WireField {
  const decoder = new Decoder(
    { headerListBytes: 65_536, headerFields: 10, headerTableBytes: 1e6 },
    interner,
  );
  const long = (text: string): number[] =>
    text.length < 127
      ? [text.length]
      : [127, ((text.length - 127) & 127) | 128, (text.length - 127) >> 7];
  const block = Buffer.concat([
    Buffer.from([first, ...long(name)]),
    Buffer.from(name, "latin1"),
    Buffer.from(long(value)),
    Buffer.from(value, "latin1"),
  ]);
  decoder.decode(block, 0, block.length);
  const [field] = decoder.fields;
  if (field === undefined) throw new Error("one field");
  return field;
}

void t.test(
  "a field becomes shared when it is seen again, over all connections",
  (t) => {
    const interner = new Interner();
    const first = decodeAlone(interner, "user-agent", "probe/1.0");
    const second = decodeAlone(interner, "user-agent", "probe/1.0");
    const third = decodeAlone(interner, "user-agent", "probe/1.0");
    t.not(first, second, "a first sight is not kept");
    t.equal(second, third);
    t.ok(third.literal !== undefined, "it keeps its encoding");
    t.equal(third.value, "probe/1.0");
    t.not(
      decodeAlone(interner, "user-agent", "probe/1.0", 0x00),
      third,
      "another indexing is another field",
    );
    t.end();
  },
);

void t.test(
  "credentials, cookies, never-indexed and long values are not kept",
  (t) => {
    const interner = new Interner();
    const table: readonly (readonly [string, string, number])[] = [
      ["authorization", "Bearer abc", 0x40],
      ["cookie", "a=b", 0x40],
      ["set-cookie", "a=b", 0x40],
      ["x-secret", "s", 0x10],
      ["x-long", "v".repeat(400), 0x40],
    ];
    for (const [name, value, first] of table) {
      const seen = new Set<WireField>();
      for (let i = 0; i < 4; i++)
        seen.add(decodeAlone(interner, name, value, first));
      t.equal(seen.size, 4, name);
      t.ok([...seen].every((it) => it.value === value));
    }
    t.end();
  },
);

void t.test(
  "a credential sent without indexing is passed on as never indexed",
  (t) => {
    const interner = new Interner();
    const field = decodeAlone(interner, "authorization", "Bearer abc", 0x00);
    t.equal(field.indexing, "never");
    t.end();
  },
);

void t.test(
  "whatever collides in the cache, the value is the right one",
  (t) => {
    const interner = new Interner();
    // Long values that differ in their middle only have one hash; more values than slots.
    for (let round = 0; round < 3; round++)
      for (let i = 0; i < 6000; i++) {
        const value =
          i % 2 === 0
            ? `v${i}`
            : `${"a".repeat(40)}${String(i).padStart(5)}${"b".repeat(40)}`;
        const field = decodeAlone(interner, `x-${i % 700}`, value);
        if (field.value !== value || field.name !== `x-${i % 700}`)
          return void t.fail(`${field.name}: ${field.value}`);
      }
    t.pass("18,000 fields");
    t.end();
  },
);

void t.test(
  "what was kept as a literal is encoded by copying, short name or long",
  (t) => {
    const interner = new Interner();
    for (const name of ["x-short", "accept", `x-${"n".repeat(200)}`]) {
      for (let i = 0; i < 3; i++) decodeAlone(interner, name, "value", 0x00);
      const field = decodeAlone(interner, name, "value", 0x00);
      const made = makeField(name, "value", "without");
      for (const each of [field, made]) {
        for (let round = 0; round < 3; round++) {
          const out = new ByteWriter();
          new Encoder(4096).field(each, out);
          const decoder = new Decoder({
            headerListBytes: 9999,
            headerFields: 9,
            headerTableBytes: 1e6,
          });
          decoder.decode(out.bytes, 0, out.length);
          t.equal(decoder.fields[0]?.name, name);
          t.equal(decoder.fields[0]?.value, "value");
        }
      }
    }
    t.end();
  },
);

void t.test(
  "names and values outside the grammar are known as such (RFC 9113 8.2.1, 8.3)",
  (t) => {
    const interner = new Interner();
    const invalid: readonly (readonly [string, string])[] = [
      ["Upper", "v"],
      ["with space", "v"],
      ["", "v"],
      ["x:y", "v"],
      ["x\0", "v"],
      ["x-v", "a\rb"],
      ["x-v", "a\nb"],
      ["x-v", "a\0b"],
      ["x-v", "a\x7fb"],
      ["x-v", " a"],
      ["x-v", "a "],
      ["x-v", "\ta"],
      ["x-v", "a\t"],
      [":unknown", "v"],
      [":method", "G T"],
      [":method", ""],
      [":scheme", "ftp"],
      [":path", ""],
      [":path", "no-slash"],
      [":path", "/a b"],
      [":path", "/a#b"],
      [":path", "/\xe4"],
      [":authority", ""],
      [":authority", "user@host"],
      [":authority", "a/b"],
      [":authority", "a:b"],
      [":status", "99"],
      [":status", "600"],
      [":status", "2000"],
      ["host", "a b"],
      ["content-length", "-1"],
      ["content-length", "1,1"],
      ["content-length", ""],
      ["te", "gzip"],
    ];
    for (const [name, value] of invalid)
      t.equal(
        decodeAlone(interner, name, value).kind,
        Kind.INVALID,
        JSON.stringify([name, value]),
      );
    const valid: readonly (readonly [string, string, number])[] = [
      ["x-v", "", Kind.ORDINARY],
      ["x-v", "a\tb c", Kind.ORDINARY],
      ["x-v", "\xe4", Kind.ORDINARY],
      [":path", "/a?b=%20", Kind.PATH],
      [":path", "*", Kind.PATH],
      [":authority", "[::1]:80", Kind.AUTHORITY],
      [":authority", "shop.example:8080", Kind.AUTHORITY],
      ["te", "trailers", Kind.TE],
      ["connection", "close", Kind.CONNECTION],
      ["content-length", "12", Kind.CONTENT_LENGTH],
    ];
    for (const [name, value, kind] of valid)
      t.equal(
        decodeAlone(interner, name, value).kind,
        kind,
        `${name}: ${value}`,
      );
    t.end();
  },
);
