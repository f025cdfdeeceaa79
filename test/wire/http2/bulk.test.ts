/** DATA leaves in few large writes where there is bulk, of as many connections as there is room for; elsewhere a write stays short. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import t from "tap";
import { Buffers } from "../../../src/wire/buffers.ts";
import { Output } from "../../../src/wire/http2/write/output.ts";

const USUAL = 65_536;
const CHUNK = Buffer.alloc(16_375);

/** A socket that takes nothing until it is told to, as TLS does until the turn is over. */
function connection(buffers: Buffers): {
  output: Output;
  writes: number[];
  readonly take: () => void;
} {
  const writes: number[] = [];
  let done: (() => void) | undefined;
  const written = (bytes: number, then: () => void): void => {
    writes.push(bytes);
    done = then;
  };
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, then) => written(chunk.length, then),
    writev: (chunks, then) =>
      written(
        chunks.reduce((sum, { chunk }) => sum + (chunk as Buffer).length, 0),
        then,
      ),
  });
  const output = new Output(
    Object.assign(socket, { encrypted: true }) as unknown as Socket,
    USUAL,
    () => undefined,
    buffers,
  );
  return { output, writes, take: () => done?.() };
}

/** As much DATA as it takes. */
function fill(output: Output): void {
  for (let at = 0; at < 100 && output.hasRoom(); at += 1)
    output.data(1, CHUNK, 0, CHUNK.length, false);
}

const turn = (): Promise<void> =>
  new Promise((resolve) => void setImmediate(resolve));

void t.test("a write of bulk has up to 256 KiB", async (t) => {
  const { output, writes, take } = connection(new Buffers());
  for (let round = 0; round < 3; round += 1) {
    fill(output);
    output.flush();
    t.ok(output.size <= 4 * USUAL + CHUNK.length, `${output.size} wait`);
    take();
    await turn();
  }
  t.ok(Math.max(...writes) > 3 * USUAL, writes.join(" "));
  t.ok(Math.max(...writes) <= 4 * USUAL + CHUNK.length, writes.join(" "));
  t.end();
});

void t.test(
  "as many connections do so as there is room for; one that ends makes room",
  (t) => {
    // Four at least.
    const buffers = new Buffers(1_048_576);
    const connections = Array.from({ length: 6 }, () => connection(buffers));
    for (const { output } of connections) fill(output);
    const wide = connections.filter(({ output }) => output.most > USUAL);
    t.equal(wide.length, 4);
    for (const { output } of connections.slice(4)) t.equal(output.most, USUAL);
    wide[0]?.output.close();
    wide[0]?.output.close();
    t.ok(buffers.wide());
    t.notOk(buffers.wide(), "it makes room once");
    t.end();
  },
);

void t.test(
  "behind a socket that takes nothing waits the less the more is held",
  async (t) => {
    const buffers = new Buffers(64 * 1_048_576);
    const { output, take } = connection(buffers);
    fill(output);
    output.flush();
    t.ok(output.most > USUAL);
    take();
    await turn();
    output.flush();
    t.equal(output.size, 0);
    t.ok(output.busy);
    buffers.change(31 * 1_048_576 - buffers.held);
    fill(output);
    t.ok(output.size > 0);
    t.ok(output.size <= buffers.bulk + CHUNK.length + 9, `${output.size}`);
    buffers.change(1_048_576);
    t.notOk(output.hasRoom(), "nothing where half of the bound is held");
    t.end();
  },
);
