/** Encoder against decoder: whatever is sent arrives, whatever becomes of the tables. */
import fc from "fast-check";
import t from "tap";
import {
  makeField,
  type Field,
  type Indexing,
} from "../../../../src/wire/fields.ts";
import { ByteWriter } from "../../../../src/wire/http2/write/byte-writer.ts";
import { Decoder } from "../../../../src/wire/http2/hpack/decoder.ts";
import { Encoder } from "../../../../src/wire/http2/hpack/encoder.ts";
import { Interner } from "../../../../src/wire/http2/hpack/interner.ts";
import type { WireField } from "../../../../src/wire/http2/hpack/names.ts";

const LIMITS = {
  headerListBytes: 1e7,
  headerFields: 1000,
  headerTableBytes: 1e6,
};

/** An encoder and a decoder that are joined, of one size of table. */
class Line {
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  /** Octets of the last block. */
  size = 0;

  constructor(
    table: number,
    interner: Interner = new Interner(),
    limits: typeof LIMITS = LIMITS,
  ) {
    this.encoder = new Encoder(table);
    this.encoder.limitTable(table);
    this.decoder = new Decoder(limits, interner);
    this.decoder.allowTable(table);
  }

  send(fields: readonly Field[]): WireField[] {
    const out = new ByteWriter();
    this.encoder.begin(out);
    for (const field of fields) this.encoder.field(field, out);
    this.size = out.length;
    this.decoder.decode(Buffer.from(out.bytes), 0, out.length);
    return [...this.decoder.fields];
  }
}

function show(fields: readonly Field[]): string[] {
  return fields.map((it) => `${it.name}: ${it.value} (${it.indexing})`);
}

const name = fc.oneof(
  fc.constantFrom(
    "accept",
    "accept-encoding",
    "x-id",
    "cookie",
    "server",
    "authorization",
  ),
  fc.stringMatching(/^[a-z][a-z0-9-]{0,140}$/),
);
const value = fc.oneof(
  fc.constantFrom("", "gzip, deflate", "a", "the same value"),
  fc
    .uint8Array({ maxLength: 500 })
    .map((it) => Buffer.from(it).toString("latin1")),
);
const field = fc.record({
  name,
  value,
  indexing: fc.constantFrom<Indexing>("incremental", "without", "never"),
});
const blocks = fc.array(fc.array(field, { maxLength: 12 }), { maxLength: 12 });

void t.test(
  "every field arrives with its value, through tables of any size",
  (t) => {
    fc.assert(
      fc.property(
        blocks,
        fc.constantFrom(0, 64, 400, 4096, 16_384),
        (sent, size) => {
          const line = new Line(size);
          for (const block of sent) {
            const made = block.map((it) =>
              makeField(it.name, it.value, it.indexing),
            );
            const got = line.send(made);
            if (
              got.length !== made.length ||
              got.some(
                (it, i) =>
                  it.name !== made[i]?.name || it.value !== made[i].value,
              )
            )
              return false;
          }
          return true;
        },
      ),
      { numRuns: 150 },
    );
    t.end();
  },
);

void t.test(
  "what was decoded is encoded again alike, over a second hop",
  (t) => {
    fc.assert(
      fc.property(blocks, (sent) => {
        const first = new Line(4096);
        const second = new Line(4096);
        return sent.every((block) => {
          const made = block.map((it) =>
            makeField(it.name, it.value, it.indexing),
          );
          const got = second.send(first.send(made));
          return got.every(
            (it, i) => it.name === made[i]?.name && it.value === made[i].value,
          );
        });
      }),
      { numRuns: 100 },
    );
    t.end();
  },
);

void t.test(
  "the table's size may change between blocks (RFC 7541 4.2)",
  (t) => {
    const line = new Line(4096);
    const fields = [makeField("x-one", "1"), makeField("x-two", "2")];
    line.send(fields);
    line.encoder.limitTable(0);
    line.encoder.limitTable(200);
    t.strictSame(show(line.send(fields)), show(fields));
    t.strictSame(show(line.send(fields)), show(fields));
    t.equal(line.size, 2, "two indices");
    line.encoder.limitTable(200);
    line.send(fields);
    t.equal(line.size, 2, "no update where nothing changed");
    t.end();
  },
);

void t.test(
  "what a caller repeats makes no block that its receiver takes for a bomb",
  (t) => {
    const repeated = fc.array(
      fc.record({
        name: fc.constantFrom("x-a", "x-b", "via", "x-a-long-name-of-a-field"),
        value: fc.constantFrom(
          ...["", "v"],
          ...[200, 400, 4000].map((length) => "v".repeat(length)),
        ),
        times: fc.integer({ min: 1, max: 60 }),
      }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(
        fc.array(repeated, { maxLength: 4 }),
        fc.constantFrom(0, 100, 4096, 16_384),
        (blocks, table) => {
          const line = new Line(table, new Interner(), {
            ...LIMITS,
            headerTableBytes: table,
          });
          return blocks.every((block) => {
            const made = block.flatMap(({ name, value, times }) =>
              Array.from({ length: times }, () => makeField(name, value)),
            );
            const got = line.send(made);
            return (
              got.length === made.length &&
              got.every((it, i) => it.value === made[i]?.value)
            );
          });
        },
      ),
      { numRuns: 200 },
    );
    t.end();
  },
);

void t.test("a field that keeps coming costs one octet", (t) => {
  const line = new Line(4096);
  const make = (): Field[] => [
    makeField("user-agent", "something long enough"),
    makeField("accept-encoding", "gzip, deflate"),
    makeField("age", ""),
  ];
  line.send(make());
  line.send(make());
  t.equal(line.size, 3);
  t.end();
});

void t.test("the sender's choice of indexing is kept (6.2)", (t) => {
  const first = new Line(4096);
  const second = new Line(4096);
  const fields = [
    makeField("x-a", "1", "incremental"),
    makeField("x-b", "2", "without"),
    makeField("x-c", "3", "never"),
    makeField("authorization", "secret"),
  ];
  for (let round = 0; round < 3; round++)
    t.strictSame(
      second.send(first.send(fields)).map(({ indexing }) => indexing),
      ["incremental", "without", "never", "never"],
    );
  t.end();
});

void t.test(
  "values that are never asked for again stop churning the table",
  (t) => {
    const line = new Line(4096);
    const stable = makeField("x-stable", "always");
    line.send([stable]);
    let indexed = 0;
    for (let i = 0; i < 200; i++)
      indexed += line
        .send([stable, makeField("x-request-id", `id-${i}-0123456789`)])
        .filter(
          (it) => it.name === "x-request-id" && it.indexing === "incremental",
        ).length;
    t.ok(indexed < 20, `${indexed} of 200 were indexed`);
    line.send([stable]);
    t.equal(line.size, 1, "the stable one is still there");
    t.end();
  },
);

void t.test(
  "two names with one value are told apart, also after one was evicted",
  (t) => {
    const line = new Line(100);
    for (let round = 0; round < 5; round++) {
      const fields = ["x-a", "x-b", "x-c"].map((it) => makeField(it, "same"));
      t.strictSame(show(line.send(fields)), show(fields));
    }
    t.end();
  },
);

void t.test("more names than are remembered do no harm", (t) => {
  const line = new Line(4096);
  for (let i = 0; i < 600; i++) {
    const fields = [makeField(`x-name-${i}`, "v")];
    t.strictSame(show(line.send(fields)), show(fields));
  }
  t.end();
});
