/** Chunks that wait: nothing is lost or changed, and little memory is held beside their content. */
import t from "tap";
import { ChunkQueue } from "../../src/wire/chunk-queue.ts";
import { seededRandom } from "../support/clocks/fake-clock.ts";

/** A read of 64 KiB, and a slice of it. */
function slice(length: number, fill = 97): Buffer {
  return Buffer.alloc(65_536, fill).subarray(1000, 1000 + length);
}

/** Octets of memory that the chunks keep alive. */
function memory({ chunks }: ChunkQueue): number {
  let sum = 0;
  for (const buffer of new Set(chunks.map(({ buffer }) => buffer)))
    sum += buffer.byteLength;
  return sum;
}

void t.test("a small slice does not keep the whole read alive", (t) => {
  const queue = new ChunkQueue();
  for (let i = 0; i < 10_000; i++) queue.push(slice(1, i));
  const content = Buffer.concat(queue.chunks);
  t.strictSame(
    content,
    Buffer.from(Array.from({ length: 10_000 }, (_, i) => i & 255)),
  );
  t.ok(memory(queue) < 16_000, `${memory(queue)} octets for 10,000`);
  t.ok(queue.chunks.length < 20, `${queue.chunks.length} chunks`);
  t.end();
});

void t.test("one octet costs no large block", (t) => {
  const queue = new ChunkQueue();
  queue.push(slice(1));
  t.equal(memory(queue), 256);
  t.end();
});

void t.test(
  "a large slice, and a small chunk that is all of its read, are not copied",
  (t) => {
    const queue = new ChunkQueue();
    const large = slice(4096);
    const small = Buffer.allocUnsafeSlow(3).fill(1);
    queue.push(large);
    queue.push(small);
    t.equal(queue.chunks[0], large);
    t.equal(queue.chunks[1], small);
    t.end();
  },
);

void t.test(
  "what comes out is what went in, whatever is taken meanwhile",
  (t) => {
    const random = seededRandom(5);
    for (let round = 0; round < 200; round++) {
      const queue = new ChunkQueue();
      const sent: Buffer[] = [];
      const taken: Buffer[] = [];
      for (let step = 0; step < 60; step++) {
        if (random() < 0.3) {
          const first = queue.chunks[0];
          if (first !== undefined) taken.push(Buffer.from(first));
          queue.shift();
          continue;
        }
        const sizes = [1, 7, 300, 4095, 4096, 9000];
        const chunk = slice(
          sizes[Math.floor(random() * sizes.length)] ?? 1,
          Math.floor(random() * 256),
        );
        sent.push(chunk);
        queue.push(chunk);
      }
      taken.push(...queue.chunks);
      if (!Buffer.concat(taken).equals(Buffer.concat(sent)))
        return void t.fail(`round ${round}`);
    }
    t.pass("200 rounds");
    t.end();
  },
);
