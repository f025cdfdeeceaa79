/** What a tunnel brings in one turn leaves its socket in one write, in order, and before the end. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import t from "tap";
import type { ServerConnectionInfo } from "../../src/wire/exchange.ts";
import { SocketStream } from "../../src/wire/tcp.ts";

const PIECE = 16 * 1024;
const turn = (): Promise<void> =>
  new Promise((resolve) => void setImmediate(resolve));

function sink(): { stream: SocketStream; writes: string[]; ends: string[] } {
  const writes: string[] = [];
  const ends: string[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      writes.push(chunk.toString("latin1"));
      done();
    },
    writev: (chunks, done) => {
      writes.push(
        chunks
          .map(({ chunk }) => (chunk as Buffer).toString("latin1"))
          .join(""),
      );
      done();
    },
    final: (done) => {
      ends.push(writes.join(""));
      done();
    },
  });
  Object.assign(socket, { setNoDelay: () => socket });
  const stream = new SocketStream(
    socket as unknown as Socket,
    "db.shop:5432",
    {} as ServerConnectionInfo,
  );
  return { stream, writes, ends };
}

void t.test("large and small pieces of a turn", async (t) => {
  const { stream, writes } = sink();
  for (const letter of "abc") t.ok(stream.write(Buffer.alloc(PIECE, letter)));
  stream.write(Buffer.from([0xff, 0x00, 0x80]));
  t.same(writes, []);
  await turn();
  t.same(writes, [
    `${"a".repeat(PIECE)}${"b".repeat(PIECE)}${"c".repeat(PIECE)}\xff\x00\x80`,
  ]);
});

void t.test("a small piece by itself waits for no turn", async (t) => {
  const { stream, writes } = sink();
  stream.write(Buffer.from("ping"));
  await Promise.resolve();
  t.same(writes, ["ping"]);
});

void t.test("the end comes behind what was gathered", async (t) => {
  const { stream, ends } = sink();
  stream.write(Buffer.alloc(PIECE, "a"));
  stream.end();
  await turn();
  t.same(ends, ["a".repeat(PIECE)]);
});
