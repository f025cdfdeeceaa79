/** What an HTTP/1 connection sends leaves in few writes: those cost more than what is in them. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import t from "tap";
import { Buffers } from "../../src/wire/buffers.ts";
import { Output } from "../../src/wire/socket-output.ts";

const turn = (): Promise<void> =>
  new Promise((resolve) => void setImmediate(resolve));

/** A socket that keeps what each write to it had; one that does not take it never says that it did. */
function sink({
  takes = true,
  encrypted = false,
  buffers = new Buffers(),
} = {}): { output: Output; writes: string[] } {
  const writes: string[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      writes.push(chunk.toString("latin1"));
      if (takes) done();
    },
    writev: (chunks, done) => {
      writes.push(
        chunks
          .map(({ chunk }: { chunk: Buffer }) => chunk.toString("latin1"))
          .join(""),
      );
      if (takes) done();
    },
  });
  if (encrypted) Object.assign(socket, { encrypted });
  const output = new Output(
    socket as unknown as Socket,
    () => undefined,
    buffers,
  );
  return { output, writes };
}

/** As TLS gives it out. */
const PIECE = 16 * 1024;
const piece = (letter: string, octets = PIECE): Buffer =>
  Buffer.alloc(octets, letter);

void t.test("the pieces of a turn leave in one write, in order", async (t) => {
  const { output, writes } = sink();
  output.text("head;");
  output.bytes(piece("a"));
  output.later();
  output.text("4000\r\n");
  output.bytes(piece("b"), "\r\n");
  output.later();
  await Promise.resolve();
  output.bytes(piece("c", 9), "end");
  output.later();
  t.same(writes, []);
  t.equal(output.size, 2 * PIECE + "head;4000\r\n\r\nend".length + 9);
  await turn();
  t.equal(writes.length, 1);
  t.equal(
    writes[0],
    `head;${"a".repeat(PIECE)}4000\r\n${"b".repeat(PIECE)}\r\n${"c".repeat(9)}end`,
  );
  t.equal(output.size, 0);
});

void t.test(
  "a large piece takes a small one along that came before it",
  async (t) => {
    const { output, writes } = sink();
    // A record of TLS has the end of one frame, and most of the next.
    output.bytes(piece("a", 9));
    output.later();
    output.bytes(piece("b"));
    output.later();
    await Promise.resolve();
    await new Promise<void>((resolve) => process.nextTick(resolve));
    t.same(writes, [], "more is to come in this turn");
    output.bytes(piece("c"));
    output.later();
    await turn();
    t.same(
      writes.map((each) => each.length),
      [9 + 2 * PIECE],
    );
  },
);

/** Gives pieces until some are written; as many as they were. */
function piecesOfWrite({ output, writes }: ReturnType<typeof sink>): number {
  const before = writes.length;
  let given = 0;
  while (writes.length === before && given < 100) {
    output.bytes(piece("x"));
    given += 1;
  }
  t.equal(writes.at(-1)?.length, given * PIECE);
  return given;
}

void t.test("256 KiB wait no longer", (t) => {
  t.equal(piecesOfWrite(sink()), 16);
  t.end();
});

void t.test("64 KiB wait no longer where much waits already", (t) => {
  const buffers = new Buffers(1_048_576);
  const some = sink({ buffers });
  t.equal(piecesOfWrite(some), 4, "a small bound");
  const more = sink({ buffers: new Buffers(64 * 1_048_576) });
  t.equal(piecesOfWrite(more), 16, "a large one");
  t.end();
});

void t.test("nor to a socket that has not taken all, or to TLS", (t) => {
  const slow = sink({ takes: false });
  t.equal(piecesOfWrite(slow), 16);
  slow.output.bytes(piece("y", 3 * PIECE));
  t.equal(slow.output.size, 3 * PIECE);
  slow.output.bytes(piece("y"));
  t.equal(slow.output.size, 0, "64 KiB were handed on");
  t.equal(piecesOfWrite(sink({ encrypted: true })), 4);
  t.end();
});

void t.test("small ones leave at the end of the callback", async (t) => {
  const { output, writes } = sink();
  output.text("head;");
  output.bytes(Buffer.from("body"));
  output.later();
  t.same(writes, []);
  await Promise.resolve();
  await new Promise<void>((resolve) => process.nextTick(resolve));
  t.same(writes, ["head;body"]);
});

void t.test("what was not given to the socket is forgotten", async (t) => {
  const { output, writes } = sink();
  output.mark();
  output.text("head;");
  output.bytes(piece("a"));
  output.later();
  t.equal(output.sent, false);
  output.discard();
  t.equal(output.size, 0);
  await turn();
  t.same(writes, []);
  t.equal(output.sent, false);
});
