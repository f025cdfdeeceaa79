/** How much one field block may bring: in octets, in frames, and out of the table (RFC 9113 10.5.1). */
import t from "tap";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../../src/wire/http2/frames/frames.ts";
import { rawClient } from "../../../support/http2/ends.ts";
import { block, frame, GET } from "../../../support/http2/raw-peer.ts";

const { ENHANCE_YOUR_CALM } = ErrorCode;

void t.test(
  "a field block has a limit in octets and in CONTINUATION frames (CVE-2024-27316)",
  async (t) => {
    const many = await rawClient(t, { continuations: 4 });
    many.peer.send(frame(FrameType.HEADERS, 0, 1, block(GET)));
    for (let i = 0; i < 5; i++)
      many.peer.send(frame(FrameType.CONTINUATION, 0, 1));
    t.equal((await many.peer.goaway()).code, ENHANCE_YOUR_CALM);
    t.strictSame(many.limited, ["field_block"]);
    const large = await rawClient(t, { headerBlockBytes: 1000 });
    large.peer.send(
      frame(FrameType.HEADERS, 0, 1, block(GET)),
      frame(
        FrameType.CONTINUATION,
        Flag.END_HEADERS,
        1,
        block([["x", "v".repeat(1000)]]),
      ),
    );
    t.equal((await large.peer.goaway()).code, ENHANCE_YOUR_CALM);
  },
);

void t.test("a HPACK bomb ends the connection at the first", async (t) => {
  const { peer, requests, limited } = await rawClient(t);
  const value = "v".repeat(3000);
  const entry = Buffer.concat([
    Buffer.from([0x40, 1]),
    Buffer.from("x"),
    Buffer.from([127, ((3000 - 127) & 127) | 128, (3000 - 127) >> 7]),
    Buffer.from(value),
  ]);
  const bomb = Buffer.concat([block(GET), entry, Buffer.alloc(12_000, 0xbe)]);
  peer.send(
    frame(FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 1, bomb),
  );
  t.equal((await peer.goaway()).code, ENHANCE_YOUR_CALM);
  t.match(requests.refusals, [/^OVERLOADED: .* more than the 16384 bytes/]);
  t.strictSame(limited, ["header_list"]);
  t.equal(requests.streams.length, 0);
});

/** RFC 7541 6.3. */
const TABLE_OF_16_KIB = Buffer.from([0x3f, 0xe1, 0x7f]);
/** GET http://shop/ without an entry of the dynamic table. */
const PLAIN = Buffer.from("\x82\x86\x84\x01\x04shop", "latin1");

void t.test(
  "a table may be taken once by a block, in whatever order, and in each block anew",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    await peer.settle();
    const value = "v".repeat(3000);
    const entries = Array.from({ length: 5 }, (_, index) =>
      Buffer.concat([
        Buffer.from([0x40, 1, 0x61 + index]),
        Buffer.from([127, ((3000 - 127) & 127) | 128, (3000 - 127) >> 7]),
        Buffer.from(value),
      ]),
    );
    const all = Buffer.from([0x80 + 62, 0x80 + 66, 0x80 + 64, 0xbf, 0x80 + 65]);
    peer.send(
      frame(
        FrameType.HEADERS,
        5,
        1,
        Buffer.concat([TABLE_OF_16_KIB, PLAIN, ...entries]),
      ),
    );
    for (const id of [3, 5, 7])
      peer.send(frame(FrameType.HEADERS, 5, id, Buffer.concat([PLAIN, all])));
    const { head } = await requests.get(3);
    t.equal(head.fields.length, 5);
  },
);

void t.test("names from the table count as what they bring", async (t) => {
  const { peer } = await rawClient(t);
  await peer.settle();
  const long = 3000;
  const entry = Buffer.concat([
    Buffer.from([0x40, 127, ((long - 127) & 127) | 128, (long - 127) >> 7]),
    Buffer.from("n".repeat(long)),
    Buffer.from([1, 0x76]),
  ]);
  const again = Buffer.from([0x0f, 62 - 15, 1, 0x76]);
  peer.send(
    frame(
      FrameType.HEADERS,
      5,
      1,
      Buffer.concat([PLAIN, entry, ...Array<Buffer>(6).fill(again)]),
    ),
  );
  t.equal((await peer.goaway()).code, ENHANCE_YOUR_CALM);
});
