/** HPACK under whatever may come: what is encoded is decoded, through tables of sizes that change all the time; other octets are refused, and cost little. */
import fc from "fast-check";
import t from "tap";
import {
  makeField,
  type Field,
  type Indexing,
} from "../../../../src/wire/fields.ts";
import { ByteWriter } from "../../../../src/wire/http2/write/byte-writer.ts";
import {
  ConnectionError,
  ErrorCode,
} from "../../../../src/wire/http2/frames/frames.ts";
import { Decoder } from "../../../../src/wire/http2/hpack/decoder.ts";
import { Encoder } from "../../../../src/wire/http2/hpack/encoder.ts";
import { Interner } from "../../../../src/wire/http2/hpack/interner.ts";

const SEED = Number(process.env["WHERRY_FUZZ_SEED"] ?? 20_260_101);
const CASES = Number(process.env["WHERRY_FUZZ_CASES"] ?? 10_000);
const LARGEST_TABLE = 5000;
const LIMITS = {
  headerListBytes: 4000,
  headerFields: 20,
  headerTableBytes: 1e6,
};

const name = fc.oneof(
  fc.constantFrom("accept", "cookie", "age", ":path", "x-id", "server"),
  fc.stringMatching(/^[a-z][a-z0-9-]{0,40}$/),
);
const value = fc.oneof(
  fc.constantFrom("", "/", "gzip, deflate", "the same value"),
  fc
    .uint8Array({ maxLength: 300 })
    .map((octets) => Buffer.from(octets).toString("latin1")),
);
const field = fc
  .tuple(
    name,
    value,
    fc.constantFrom<Indexing>("incremental", "incremental", "without", "never"),
  )
  .map((parts) => makeField(...parts));

type Step =
  | { readonly kind: "resize"; readonly size: number }
  | { readonly kind: "block"; readonly fields: readonly Field[] };

const steps = fc.array(
  fc.oneof<fc.Arbitrary<Step>[]>(
    fc.record({
      kind: fc.constant("resize" as const),
      size: fc.oneof(
        fc.integer({ min: 0, max: LARGEST_TABLE }),
        fc.constantFrom(0, 31, 32, 64, 4096, LARGEST_TABLE),
      ),
    }),
    fc.record({
      kind: fc.constant("block" as const),
      fields: fc.array(field, { maxLength: 8 }),
    }),
  ),
  { maxLength: 20 },
);

void t.test(
  "decoder(encoder(x)) = x, whatever becomes of the tables (RFC 7541 4.2)",
  (t) => {
    const interner = new Interner();
    fc.assert(
      fc.property(steps, (sequence) => {
        const encoder = new Encoder(LARGEST_TABLE);
        const decoder = new Decoder(
          { headerListBytes: 1e6, headerFields: 100, headerTableBytes: 1e6 },
          interner,
        );
        decoder.allowTable(LARGEST_TABLE);
        for (const step of sequence) {
          if (step.kind === "resize") {
            encoder.limitTable(step.size);
            continue;
          }
          const out = new ByteWriter();
          encoder.begin(out);
          for (const each of step.fields) encoder.field(each, out);
          decoder.decode(Buffer.from(out.bytes), 0, out.length);
          const got = decoder.fields.map((it) => `${it.name}: ${it.value}`);
          const sent = step.fields.map((it) => `${it.name}: ${it.value}`);
          if (got.join("\n") !== sent.join("\n")) return false;
        }
        return true;
      }),
      { seed: SEED, numRuns: CASES / 5 },
    );
    t.end();
  },
);

/** Decodes on, until it is refused; false where that is anything but what the protocol has for it, or too much was kept. */
function holds(blocks: readonly Uint8Array[]): boolean {
  const decoder = new Decoder(LIMITS, new Interner());
  decoder.allowTable(LARGEST_TABLE);
  for (const octets of blocks) {
    const block = Buffer.from(octets);
    try {
      decoder.decode(block, 0, block.length);
    } catch (thrown) {
      return (
        thrown instanceof ConnectionError &&
        thrown.code === ErrorCode.COMPRESSION_ERROR
      );
    }
    const size = decoder.fields.reduce((sum, it) => sum + it.size, 0);
    if (size > LIMITS.headerListBytes) return false;
    if (decoder.fields.length > LIMITS.headerFields) return false;
  }
  return true;
}

void t.test(
  "any octets at all are decoded or refused, within the limits",
  (t) => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 120 }), { maxLength: 5 }),
        holds,
      ),
      { seed: SEED, numRuns: CASES },
    );
    t.end();
  },
);

void t.test("so are blocks that were right once", (t) => {
  const spoilt = fc
    .tuple(
      fc.array(field, { minLength: 1, maxLength: 6 }),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }),
      fc.nat(400),
    )
    .map(([fields, changes, cut]) => {
      const out = new ByteWriter();
      const encoder = new Encoder(4096);
      for (const each of fields) encoder.field(each, out);
      const block = Buffer.from(out.bytes.subarray(0, out.length));
      for (const [at, octet] of changes) block[at % block.length] = octet;
      return block.subarray(0, Math.max(1, block.length - (cut % 50)));
    });
  fc.assert(fc.property(fc.array(spoilt, { maxLength: 5 }), holds), {
    seed: SEED,
    numRuns: CASES,
  });
  t.end();
});
