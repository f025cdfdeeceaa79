/** The examples of RFC 7541 appendix C, decoded one after the other with their dynamic tables. */
import t from "tap";
import { Decoder } from "../../../../src/wire/http2/hpack/decoder.ts";
import { DynamicTable } from "../../../../src/wire/http2/hpack/dynamic-table.ts";
import {
  readContinued,
  writeInteger,
} from "../../../../src/wire/http2/hpack/integers.ts";

function decoder(table = 4096): Decoder {
  const made = new Decoder({
    headerListBytes: 65_536,
    headerFields: 100,
    headerTableBytes: 1e6,
  });
  made.allowTable(table);
  return made;
}

function decode(with_: Decoder, hex: string): string[] {
  const source = Buffer.from(hex.replaceAll(" ", ""), "hex");
  with_.decode(source, 0, source.length);
  return with_.fields.map(({ name, value }) => `${name}: ${value}`);
}

void t.test("C.1: integers", (t) => {
  const table: readonly (readonly [number, number, string])[] = [
    [10, 0x1f, "0a"],
    [1337, 0x1f, "1f9a0a"],
    [42, 0xff, "2a"],
    [31, 0x1f, "1f00"],
    [2 ** 28 - 1, 0x7f, "7f80ffff7f"],
  ];
  for (const [value, prefix, hex] of table) {
    const target = Buffer.alloc(6);
    const end = writeInteger(target, 0, 0, prefix, value);
    t.equal(target.toString("hex", 0, end), hex);
    const first = target[0] ?? 0;
    const cursor = { at: 1 };
    t.equal(
      first < prefix ? first : readContinued(prefix, target, cursor, end),
      value,
    );
  }
  t.throws(
    () => readContinued(31, Buffer.from("ffffffffff", "hex"), { at: 0 }, 5),
    { message: /too large/ },
  );
  t.throws(() => readContinued(31, Buffer.from("ff", "hex"), { at: 0 }, 1), {
    message: /ends within/,
  });
  t.end();
});

void t.test("C.2: field representations", (t) => {
  const table: readonly (readonly [string, string, string])[] = [
    [
      "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
      "custom-key: custom-header",
      "incremental",
    ],
    ["040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", "without"],
    ["1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", "never"],
    ["82", ":method: GET", "incremental"],
  ];
  for (const [hex, line, indexing] of table) {
    const made = decoder();
    t.strictSame(decode(made, hex), [line]);
    t.equal(made.fields[0]?.indexing, indexing);
  }
  t.end();
});

const REQUEST = [
  ":method: GET",
  ":scheme: http",
  ":path: /",
  ":authority: www.example.com",
];
const CUSTOM = [
  ":method: GET",
  ":scheme: https",
  ":path: /index.html",
  ":authority: www.example.com",
  "custom-key: custom-value",
];

void t.test("C.3 and C.4: requests, without and with Huffman code", (t) => {
  const runs: readonly (readonly string[])[] = [
    [
      "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "8286 84be 5808 6e6f 2d63 6163 6865",
      "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ],
    [
      "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
      "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ],
  ];
  for (const [first = "", second = "", third = ""] of runs) {
    const made = decoder();
    t.strictSame(decode(made, first), REQUEST);
    t.strictSame(decode(made, second), [...REQUEST, "cache-control: no-cache"]);
    t.strictSame(decode(made, third), CUSTOM);
  }
  t.end();
});

void t.test(
  "C.5 and C.6: responses with a table of 256 octets that evicts",
  (t) => {
    const date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
    const location = "location: https://www.example.com";
    const runs: readonly (readonly string[])[] = [
      [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
      ],
      [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
      ],
    ];
    for (const [first = "", second = "", third = ""] of runs) {
      const made = decoder();
      // A table size update to 256 in front (6.3).
      t.strictSame(decode(made, `3fe1 01 ${first}`), [
        ":status: 302",
        "cache-control: private",
        date,
        location,
      ]);
      t.strictSame(decode(made, second), [
        ":status: 307",
        "cache-control: private",
        date,
        location,
      ]);
      t.strictSame(decode(made, third), [
        ":status: 200",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
        location,
        "content-encoding: gzip",
        "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
      ]);
    }
    t.end();
  },
);

void t.test("refuses broken field blocks", (t) => {
  const table: readonly (readonly [string, string])[] = [
    ["80", "index 0 (6.1)"],
    ["be", "an index into the empty table (2.3.3)"],
    ["ff80 8080 8001", "an index too large (7.4)"],
    ["7f", "an index cut off (5.1)"],
    ["40", "a field cut off"],
    ["4003 6162", "a name cut off (5.2)"],
    ["4001 6105 61", "a value cut off (5.2)"],
    ["4001 6181 ff", "a value that is not Huffman code (5.2)"],
    ["8220", "a table size update after a field (4.2)"],
    ["3fe2 7f", "a table size update over the limit (6.3)"],
  ];
  for (const [hex, why] of table)
    t.throws(
      () => decode(decoder(), hex),
      { name: "ConnectionError", code: 9 },
      why,
    );
  t.end();
});

void t.test(
  "the peer must shrink its table when ours was acknowledged smaller (4.2)",
  (t) => {
    const made = decoder();
    made.acknowledgeTable(100);
    t.throws(() => decode(made, "82"), { message: /not shrunk/ });
    t.strictSame(decode(made, "3f45 82"), [":method: GET"]);
    t.end();
  },
);

void t.test(
  "a list over the limits is cut short, and the table stays right",
  (t) => {
    const made = new Decoder({
      headerListBytes: 120,
      headerFields: 3,
      headerTableBytes: 1e6,
    });
    decode(made, "4001 6101 62 4001 6301 64");
    t.equal(made.overflow, false);
    t.equal(made.count, 2);
    decode(made, "be be be be");
    t.equal(made.overflow, true, "four fields");
    t.strictSame(decode(made, "bf"), ["a: b"]);
    t.equal(made.overflow, false);
    t.end();
  },
);

void t.test(
  "the table evicts the oldest and is emptied by an entry too large (4.4)",
  (t) => {
    const made = decoder();
    decode(made, "4001 6101 62 4001 6301 64 4001 6501 66");
    const [a, b, c] = made.fields;
    if (a === undefined || b === undefined || c === undefined)
      return void t.fail("three fields");
    const table = new DynamicTable(70);
    for (const field of [a, b, c]) table.add(field);
    t.equal(table.length, 2);
    t.equal(table.size, 68);
    t.equal(table.get(0), c);
    t.equal(table.get(1), b);
    t.equal(table.get(2), undefined);
    table.resize(20);
    t.equal(table.length, 0);
    table.resize(10_000);
    for (let i = 0; i < 200; i++) table.add(i % 2 === 0 ? a : b);
    t.equal(table.length, 200);
    t.equal(table.get(199), a);
    t.equal(table.get(198), b);
    table.resize(30);
    table.add(a);
    t.equal(table.length, 0, "too large for the table");
    t.end();
  },
);
