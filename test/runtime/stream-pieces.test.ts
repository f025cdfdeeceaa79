/** What is longer than a piece is written piece by piece, in its order, and fails as one. */
import { Duplex } from "node:stream";
import t from "tap";
import { PIECE, writeInPieces } from "../../src/runtime/stream-pieces.ts";

type Done = (error?: Error | null) => void;

interface Taken {
  readonly stream: Duplex;
  readonly written: Buffer[];
  /** Those of the writes that are not done. */
  readonly waiting: Done[];
}

/** With `later`, writes are done when the test says so. */
function takes(later = false): Taken {
  const written: Buffer[] = [];
  const waiting: Done[] = [];
  const take = (chunk: Buffer, done: Done): void => {
    written.push(chunk);
    if (later) waiting.push(done);
    else done();
  };
  const stream = new Duplex({
    read: () => undefined,
    decodeStrings: false,
    write: (chunk: Buffer, _encoding, done) => take(chunk, done),
    writev: (chunks, done) =>
      take(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done),
  });
  writeInPieces(stream);
  return { stream, written, waiting };
}

function bytes(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => index % 251));
}

void t.test("a long write goes out in pieces, whole and once", async (t) => {
  for (const length of [1, PIECE, PIECE + 1, 3 * PIECE, 40 * PIECE + 7]) {
    const { stream, written } = takes();
    const sent = bytes(length);
    let done = 0;
    stream.write(sent, () => (done += 1));
    await new Promise((resolve) => setImmediate(resolve));
    t.same(Buffer.concat(written), sent);
    t.equal(written.length, Math.ceil(length / PIECE));
    t.ok(written.every((piece) => piece.length <= PIECE));
    t.equal(done, 1);
  }
  const { stream, written } = takes();
  stream.write("text");
  t.same(written, ["text"], "what is no bytes is left as it is");
});

void t.test("a piece waits for the one before, and a write for all", (t) => {
  const { stream, written, waiting } = takes(true);
  const first = bytes(2 * PIECE);
  stream.write(first);
  stream.write(Buffer.from("second"));
  stream.write(Buffer.from("third"));
  const expected = [
    first.subarray(0, PIECE),
    first.subarray(PIECE),
    Buffer.from("second"),
    Buffer.from("third"),
  ];
  for (const [index] of expected.entries()) {
    t.same(written, expected.slice(0, index + 1));
    waiting.shift()?.();
  }
  t.end();
});

void t.test("a piece that fails ends the write", async (t) => {
  const { stream, written, waiting } = takes(true);
  const failed = new Promise<Error>((resolve) => stream.once("error", resolve));
  stream.write(bytes(3 * PIECE));
  waiting.shift()?.();
  waiting.shift()?.(new Error("gone"));
  t.equal((await failed).message, "gone");
  t.equal(written.length, 2);
});
