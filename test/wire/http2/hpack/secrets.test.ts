/** No credential lives on in a cache that all callers share: looked for in the heap itself. */
import { randomBytes } from "node:crypto";
import { getHeapSnapshot } from "node:v8";
import t from "tap";
import { collectGarbage } from "../../../../src/runtime/v8.ts";
import { ByteWriter } from "../../../../src/wire/http2/write/byte-writer.ts";
import { Decoder } from "../../../../src/wire/http2/hpack/decoder.ts";
import { Encoder } from "../../../../src/wire/http2/hpack/encoder.ts";

/** A value that exists as octets only, so that no string of this test's own is found. */
function secret(prefix: string): Buffer {
  return Buffer.concat([
    Buffer.from(prefix),
    Buffer.from(randomBytes(12).toString("hex")),
  ]);
}

function literal(first: number, name: string, value: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from([first, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    value,
  ]);
}

/** Decodes the field on several connections, passes it on over others, and lets all of them go. */
function passThrough(block: Buffer): void {
  for (let round = 0; round < 4; round++) {
    const decoder = new Decoder({
      headerListBytes: 65_536,
      headerFields: 10,
      headerTableBytes: 1e6,
    });
    const encoder = new Encoder(4096);
    const out = new ByteWriter();
    decoder.decode(block, 0, block.length);
    for (const field of decoder.fields) encoder.field(field, out);
  }
}

async function heap(): Promise<Buffer> {
  collectGarbage({ type: "major" });
  const chunks: Buffer[] = [];
  for await (const chunk of getHeapSnapshot())
    chunks.push(Buffer.from(chunk as Buffer));
  return Buffer.concat(chunks);
}

const INDEXED = 0x40;
const WITHOUT = 0x00;
const NEVER = 0x10;

const SECRETS: readonly (readonly [string, number, string])[] = [
  ["authorization", INDEXED, "Bearer "],
  ["authorization", WITHOUT, "Bearer "],
  ["proxy-authorization", INDEXED, "Basic "],
  ["cookie", INDEXED, "sid="],
  ["set-cookie", INDEXED, "sid="],
  ["x-api-key", INDEXED, ""],
  ["x-auth-token", INDEXED, ""],
  ["x-anything", NEVER, ""],
  [":path", INDEXED, "/orders?access_token="],
  ["referer", INDEXED, "https://shop/?code="],
];

void t.test("what was let go of leaves no credential behind", async (t) => {
  const kept = secret("shared-");
  passThrough(literal(INDEXED, "x-shared", kept));
  const values = SECRETS.map(([name, first, prefix]) => {
    const value = secret(prefix);
    passThrough(literal(first, name, value));
    return { name, value };
  });
  // V8 remembers what a regular expression was last held against, until the next one.
  passThrough(literal(INDEXED, "x-shared", secret("other-")));
  const found = await heap();
  t.ok(found.includes(kept), "an ordinary field is kept: the probe sees it");
  for (const { name, value } of values)
    t.notOk(found.includes(value), `${name} is not`);
});
