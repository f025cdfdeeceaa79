/** Large documents are parsed in a thread that says what the event loop would, is bounded, and ends. */
import { once } from "node:events";
import type { Worker } from "node:worker_threads";
import t from "tap";
import {
  LargeTexts,
  type LargeText,
} from "../../../src/agent/files/large-texts.ts";
import type { Content } from "../../../src/agent/files/parts.ts";
import { pauses } from "../../../src/core/slices.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import type { Scope } from "../../support/control-plane/push-control-plane.ts";

const item = (name: string): string => `
- apiVersion: mesh.wherry.dev/v1alpha1
  kind: Service
  metadata: {name: ${name}, namespace: shop}
  spec: {ports: [{port: 80}], selector: {app: ${name}}}`;

function list(count: number): string {
  const names = Array.from({ length: count }, (_, index) => `s${index}`);
  return `kind: List\nitems:${names.map(item).join("")}\n`;
}

interface Bench {
  readonly clock: ReturnType<typeof fakeClock>;
  readonly threads: readonly Worker[];
  readonly large: LargeTexts;
  readonly read: (text: string) => Promise<Content>;
}

const textOf = (text: string): LargeText => ({
  key: text,
  text: Buffer.from(text),
});

function bench(t: Scope, mostMemory?: number): Bench {
  const clock = fakeClock();
  const large = new LargeTexts(clock, mostMemory);
  const threads: Worker[] = [];
  const onThread = (thread: Worker): void => void threads.push(thread);
  process.on("worker", onThread);
  t.after(async () => {
    process.off("worker", onThread);
    await large.close();
  });
  const read = (text: string): Promise<Content> =>
    large.read(textOf(text), new Map(), pauses(clock));
  return { clock, threads, large, read };
}

void t.test(
  "a thread is for what is large, more so while calls are served",
  (t) => {
    const large = new LargeTexts(fakeClock());
    t.equal(large.has({ length: 100_000 }), false);
    t.equal(large.has({ length: 2_000_000 }), true);
    large.serving = true;
    t.equal(large.has({ length: 100_000 }), true);
    t.equal(large.has({ length: 4000 }), false);
    t.end();
  },
);

void t.test(
  "one thread parses one text after the other, and ends when idle",
  async (t) => {
    const { clock, threads, large, read } = bench(t);
    const { entries, findings } = await read(list(1000));
    t.equal(entries.length, 1000);
    t.same(findings, []);
    t.match(entries[999], { name: "Service/shop/s999", index: 999 });
    t.equal((await read(list(3))).entries.length, 3);
    const place = await large.locate(
      textOf(list(3)),
      { index: 2, path: "spec.selector" },
      pauses(clock),
    );
    t.same(place, { line: 14, column: 41 });
    t.equal(threads.length, 1);
    clock.advance(1999);
    t.equal((await read(list(1))).entries.length, 1);
    t.equal(threads.length, 1);
    const [thread] = threads;
    const ended = thread === undefined ? undefined : once(thread, "exit");
    clock.advance(2000);
    await ended;
    t.equal((await read(list(2))).entries.length, 2);
    t.equal(threads.length, 2, "another one begins");
  },
);

void t.test(
  "a thread that dies is told of, and the next text has another",
  async (t) => {
    const { threads, large, read } = bench(t);
    const begun = new Promise((resolve) => process.once("worker", resolve));
    const reading = read(list(2000));
    await begun;
    await Promise.all([
      t.rejects(reading, { message: /^its thread ended with \d$/ }),
      threads[0]?.terminate(),
    ]);
    t.equal((await read(list(2))).entries.length, 2);
    const closed = read(list(2000));
    await Promise.all([
      t.rejects(closed, { message: "the parse was called off" }),
      large.close(),
    ]);
  },
);

void t.test(
  "a text that takes too much memory ends the thread alone",
  async (t) => {
    const { read } = bench(t, 24);
    await t.rejects(read(list(6000)), {
      message: "it takes more than 24 MiB of memory to parse",
    });
    t.equal((await read(list(2))).entries.length, 2);
  },
);

const BOMB = Array.from(
  { length: 9 },
  (_, level) => `l${level + 1}: &l${level + 1} [${`*l${level},`.repeat(9)}]`,
);

for (const [what, text, message] of [
  [
    "nested aliases",
    `l0: &l0 [x]\n${BOMB.join("\n")}\n`,
    /Excessive alias count/,
  ],
  [
    "many aliases",
    `a: &a x\nb: [${"*a,".repeat(101)}]\n`,
    /more than 100 aliases/,
  ],
  ["nested lists", "[".repeat(50_000), /nested too deeply/],
  [
    "more than 16 MiB",
    `#${"x".repeat(16 * 1024 * 1024)}`,
    /is longer than 16777216 characters/,
  ],
] as const)
  void t.test(`${what} are refused`, async (t) => {
    const { read } = bench(t);
    const { entries, findings } = await read(text);
    t.same(entries, []);
    t.match(findings[0]?.message, message);
  });

void t.test(
  "of very many faults the first are told, and how many more there are",
  async (t) => {
    const { read } = bench(t);
    const { findings } = await read(`a: 1\n${"b: 1\n".repeat(5000)}`);
    t.equal(findings.length, 1001);
    t.match(findings[999]?.message, /keys must be unique/);
    t.match(findings[1000]?.message, "and 3999 more in this document");
  },
);
