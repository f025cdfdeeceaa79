/** The DER reader takes one encoding of everything and none that is broken (X.690 8.1, 10.1). */
import fc from "fast-check";
import t from "tap";
import {
  bitStringOctets,
  childrenOf,
  DerError,
  encodeOid,
  readElement,
} from "../../src/identity/der.ts";

const hex = (text: string): Buffer => Buffer.from(text, "hex");

void t.test(
  "object identifiers are encoded whatever the size of their arcs (8.19)",
  (t) => {
    const rows: [string, string][] = [
      ["2.5.29.17", "551d11"],
      ["1.2.840.10045.4.3.2", "2a8648ce3d040302"],
      ["2.999.3", "883703"],
      ["2.25.0", "6900"],
      ["2.25.128", "698100"],
      // X.667: a UUID of 128 bits takes 19 octets.
      [
        "2.25.340282366920938463463374607431768211455",
        "6983ffffffffffffffffffffffffffffffffff7f",
      ],
    ];
    for (const [dotted, octets] of rows)
      t.equal(encodeOid(dotted).toString("hex"), octets, dotted);
    t.end();
  },
);

void t.test("elements are cut out as they are", (t) => {
  const sequence = readElement(hex("3006020101040178"));
  t.equal(sequence.tag, 0x30);
  t.same(
    childrenOf(sequence).map(({ tag, value, whole }) => [
      tag,
      value.toString("hex"),
      whole.toString("hex"),
    ]),
    [
      [2, "01", "020101"],
      [4, "78", "040178"],
    ],
  );
  const long = Buffer.concat([hex("048180"), Buffer.alloc(128)]);
  t.equal(readElement(long).value.length, 128);
  t.equal(bitStringOctets(readElement(hex("03020041"))).toString("hex"), "41");
  t.end();
});

void t.test("what is no DER is refused", (t) => {
  const rows: [string, string][] = [
    ["nothing", ""],
    ["a tag alone", "30"],
    ["contents cut short", "0405aabb"],
    ["octets after the end", "020101ff"],
    ["indefinite length (10.1)", "30800000"],
    ["a long length that a short one could say (10.1)", "04810161"],
    ["a length with a leading zero (10.1)", `04820080${"00".repeat(128)}`],
    ["a length of four octets", "048400000001aa"],
    ["a length that is cut short", "0482"],
    ["a tag number above 30", "1f8101"],
  ];
  for (const [what, octets] of rows)
    t.throws(() => readElement(hex(octets)), DerError, what);
  t.throws(() => childrenOf(readElement(hex("30020401"))), DerError);
  t.throws(() => bitStringOctets(readElement(hex("03020141"))), DerError);
  t.end();
});

void t.test("no octets make it do anything but read or refuse", (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
      try {
        const element = readElement(Buffer.from(octets));
        t.equal(element.whole.length, octets.length);
        if ((element.tag & 0x20) !== 0) childrenOf(element);
      } catch (error) {
        if (!(error instanceof DerError)) throw error;
      }
    }),
  );
  t.end();
});
