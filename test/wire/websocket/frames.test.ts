/** Where frames end, however their bytes are cut; and the one frame that the proxy makes itself (RFC 6455 5). */
import t from "tap";
import {
  closeFrame,
  FrameTracker,
} from "../../../src/wire/websocket/frames.ts";
import { closeOf, frame, FrameReader } from "../../support/peers/websocket.ts";

const FRAMES: readonly (readonly [string, number, number])[] = [
  ["text", 0x81, 5],
  ["empty text", 0x81, 0],
  ["a fragment", 0x01, 3],
  ["a ping between fragments", 0x89, 0],
  ["the last fragment", 0x80, 4],
  ["the longest with a short length", 0x82, 125],
  ["the shortest with two bytes of length", 0x82, 126],
  ["the longest with two bytes of length", 0x82, 65_535],
  ["the shortest with eight bytes of length", 0x82, 65_536],
  ["reserved bits and an unknown opcode", 0xf3, 7],
];

for (const masked of [true, false])
  void t.test(
    `the ends of frames are found, ${masked ? "masked" : "unmasked"}`,
    (t) => {
      const frames = FRAMES.map(([, first, length]) =>
        frame(first, Buffer.alloc(length, 0x88), masked),
      );
      const all = Buffer.concat(frames);
      let sum = 0;
      const ends = frames.map(({ length }) => (sum += length));
      for (const piece of [1, 2, 3, 7, 1000, all.length]) {
        const tracker = new FrameTracker();
        const found: number[] = [];
        for (let from = 0; from < all.length; from += piece) {
          const chunk = all.subarray(from, from + piece);
          for (let at = 0; at < chunk.length;) {
            const end = tracker.next(chunk, at);
            if (end < 0) break;
            found.push(from + end);
            at = end;
          }
        }
        t.strictSame(found, ends, `in pieces of ${piece}`);
        t.ok(tracker.between);
        t.notOk(tracker.closed);
      }
      t.end();
    },
  );

void t.test("within a frame is everywhere but at its ends", (t) => {
  const tracker = new FrameTracker();
  t.ok(tracker.between, "before the first");
  const bytes = frame(0x82, Buffer.alloc(130), true);
  for (const [at, byte] of bytes.entries()) {
    tracker.pass(Buffer.from([byte]));
    t.equal(tracker.between, at === bytes.length - 1, `byte ${at}`);
  }
  tracker.pass(frame(0x88, "", true).subarray(0, 5));
  t.notOk(tracker.closed, "a Close that has not ended");
  tracker.pass(frame(0x88, "", true).subarray(5));
  t.ok(tracker.closed);
  t.end();
});

void t.test("a length that nobody can send has no end", (t) => {
  const tracker = new FrameTracker();
  tracker.pass(Buffer.from([0x82, 0x7f, ...Array<number>(8).fill(0xff)]));
  tracker.pass(Buffer.alloc(1 << 20));
  t.notOk(tracker.between);
  t.end();
});

void t.test("a Close has its code, its reason, and a client's mask", (t) => {
  for (const masked of [true, false]) {
    const bytes = closeFrame(1008, "DENIED", masked);
    t.equal((bytes[1] ?? 0) >= 0x80, masked);
    const [read] = new FrameReader().read(bytes);
    t.equal(read?.first, 0x88);
    t.strictSame(read && closeOf(read), { code: 1008, reason: "DENIED" });
  }
  const long = closeFrame(1001, "x".repeat(500), false);
  t.equal(long.length, 127, "a control frame is short (5.5)");
  t.notSame(
    closeFrame(1001, "", true),
    closeFrame(1001, "", true),
    "no mask twice",
  );
  t.end();
});
