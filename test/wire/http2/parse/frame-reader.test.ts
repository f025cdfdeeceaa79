/** Cutting reads into frames (RFC 9113 4.1): the cuts of the network change nothing. */
import t from "tap";
import { FrameReader } from "../../../../src/wire/http2/parse/frame-reader.ts";
import {
  Flag,
  FrameType,
  PREFACE,
} from "../../../../src/wire/http2/frames/frames.ts";
import {
  data,
  frame,
  settings,
  uint32,
} from "../../../support/http2/raw-peer.ts";

/** Writes down frames; the pieces of one DATA frame are joined. */
function read(chunks: readonly Buffer[], preface = true): string[] {
  const events: string[] = [];
  let content = "";
  const reader = new FrameReader(
    {
      frame: (type, flags, id, bytes, start, end) =>
        void events.push(
          `${type} ${flags} ${id} ${bytes.toString("latin1", start, end)}`,
        ),
      dataBegins: (id, flags, length) => {
        events.push(`data ${id} ${flags} ${length}`);
        content = "";
      },
      dataContent: (chunk) => void (content += chunk.toString("latin1")),
      dataEnds: () => void events.push(content),
    },
    16_384,
    preface,
  );
  for (const chunk of chunks) reader.push(chunk);
  return events;
}

const padded = frame(
  FrameType.DATA,
  Flag.PADDED | Flag.END_STREAM,
  3,
  Buffer.from("\x04hello\0\0\0\0", "latin1"),
);
const SENT = Buffer.concat([
  PREFACE,
  settings(),
  frame(FrameType.PING, 0, 0, "12345678"),
  data(1, "some content"),
  padded,
  data(1, ""),
  frame(99, 7, 5, "unknown"),
  frame(FrameType.DATA, Flag.PADDED, 3, Buffer.from([2, 0, 0])),
  data(5, "x", true),
]);
const READ = [
  "4 0 0 ",
  "6 0 0 12345678",
  "data 1 0 12",
  "some content",
  "data 3 9 10",
  "hello",
  "data 1 0 0",
  "",
  "99 7 5 unknown",
  "data 3 8 3",
  "",
  "data 5 1 1",
  "x",
];

void t.test("frames come out alike wherever the reads were cut", (t) => {
  t.strictSame(read([SENT]), READ);
  for (let cut = 1; cut < SENT.length; cut++) {
    const got = read([SENT.subarray(0, cut), SENT.subarray(cut)]);
    if (got.join("|") !== READ.join("|"))
      return void t.same(got, READ, `${cut}`);
  }
  t.strictSame(
    read([...SENT].map((octet) => Buffer.from([octet]))),
    READ,
    "octet by octet",
  );
  t.end();
});

void t.test("the reserved bit of a stream identifier is ignored (4.1)", (t) => {
  const bytes = frame(FrameType.WINDOW_UPDATE, 0, 0x80000001, uint32(1));
  t.strictSame(read([bytes], false), ["8 0 1 \0\0\0\x01"]);
  t.end();
});

void t.test("refuses what cannot be a frame", (t) => {
  const table: readonly (readonly [Buffer, number, string])[] = [
    [Buffer.from("GET / HTTP/1.1\r\n"), 1, "another protocol (3.4)"],
    [
      Buffer.concat([PREFACE, frame(0, 0, 1, Buffer.alloc(16_385))]),
      6,
      "a frame too large (4.2)",
    ],
    [
      Buffer.concat([PREFACE, frame(0, Flag.PADDED, 1)]),
      6,
      "no room for the padding's length (6.1)",
    ],
    [
      Buffer.concat([PREFACE, frame(0, Flag.PADDED, 1, Buffer.from([1]))]),
      1,
      "padding longer than the frame (6.1)",
    ],
  ];
  for (const [bytes, code, why] of table)
    t.throws(() => read([bytes]), { name: "ConnectionError", code }, why);
  t.end();
});

void t.test(
  "a payload that reads have cut has memory of its own, to be kept as it is",
  (t) => {
    const kept: Buffer[] = [];
    const reader = new FrameReader(
      {
        frame: (_type, _flags, _id, bytes) => void kept.push(bytes),
        dataBegins: () => undefined,
        dataContent: () => undefined,
        dataEnds: () => undefined,
      },
      16_384,
      false,
    );
    for (const length of [100, 9000]) {
      const bytes = frame(FrameType.HEADERS, 0, 1, Buffer.alloc(length, 1));
      reader.push(bytes.subarray(0, 50));
      reader.push(bytes.subarray(50));
    }
    t.same(
      kept.map((bytes) => [bytes.length, bytes.buffer.byteLength]),
      [
        [100, 100],
        [9000, 9000],
      ],
    );
    t.end();
  },
);

void t.test(
  "reads nothing more once stopped, also from the same chunk",
  (t) => {
    let frames = 0;
    const reader = new FrameReader(
      {
        frame: () => {
          frames += 1;
          reader.stop();
        },
        dataBegins: () => undefined,
        dataContent: () => undefined,
        dataEnds: () => undefined,
      },
      16_384,
      false,
    );
    reader.push(Buffer.concat([settings(), settings()]));
    reader.push(settings());
    t.equal(frames, 1);
    t.end();
  },
);
