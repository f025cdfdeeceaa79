/** What an HTTP/1 connection sends leaves in few writes: those cost more than what is in them. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import t from "tap";
import { Output } from "../../../../src/wire/http1/write/output.ts";

const turn = (): Promise<void> =>
  new Promise((resolve) => void setImmediate(resolve));

/** A socket that keeps what each write to it had. */
function sink(): { output: Output; writes: string[] } {
  const writes: string[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      writes.push(chunk.toString("latin1"));
      done();
    },
    writev: (chunks, done) => {
      writes.push(
        chunks
          .map(({ chunk }: { chunk: Buffer }) => chunk.toString("latin1"))
          .join(""),
      );
      done();
    },
  });
  const output = new Output(socket as unknown as Socket, () => undefined);
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

void t.test("64 KiB wait no longer", (t) => {
  const { output, writes } = sink();
  for (let at = 0; at < 3; at += 1) output.bytes(piece("x"));
  t.same(writes, []);
  output.bytes(piece("x"));
  t.equal(writes.length, 1);
  t.equal(writes[0]?.length, 4 * PIECE);
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
