import { execFile } from "node:child_process";
import { promisify } from "node:util";
import t from "tap";
import {
  allocatedBytes,
  libcFunction,
  whyNoForeignFunctions,
} from "../../src/runtime/libc.ts";
import {
  dropProgramPages,
  readRanges,
} from "../../src/runtime/program-pages.ts";
import {
  leaveStartBehind,
  TRIM_AGAIN,
  trimMemory,
  TRIM_LOOK,
} from "../../src/runtime/memory-trim.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const MIB = 1024 * 1024;

void t.test(
  "memory is given back when the process has grown, and left alone when it has not",
  (t) => {
    const clock = fakeClock();
    let resident = 100 * MIB;
    let trims = 0;
    const stop = trimMemory({
      clock,
      cpu: () => 0,
      resident: () => resident,
      allocated: undefined,
      trim() {
        trims += 1;
        resident -= 20 * MIB;
      },
    });
    clock.advance(TRIM_LOOK);
    t.equal(trims, 1, "once at the start");
    resident += 3 * MIB;
    clock.advance(10 * TRIM_LOOK);
    t.equal(trims, 1, "not worth it");
    resident += 30 * MIB;
    clock.advance(TRIM_LOOK);
    t.equal(trims, 2);
    stop();
    resident += 100 * MIB;
    clock.advance(10 * TRIM_LOOK);
    t.equal(trims, 2, "not after the end");
    t.end();
  },
);

for (const [where, memoryBytes, after] of [
  ["is not tight, five seconds later", 0, TRIM_AGAIN],
  ["is tight, a second later", 200 * MIB, TRIM_LOOK],
] as const)
  void t.test(
    `what becomes free below the mark of the last trim is given back: where memory ${where}`,
    (t) => {
      const clock = fakeClock();
      let resident = 180 * MIB;
      let allocated = 150 * MIB;
      let trims = 0;
      const stop = trimMemory({
        clock,
        cpu: () => 0,
        memoryBytes,
        resident: () => resident,
        allocated: () => allocated,
        trim() {
          trims += 1;
          resident = allocated + 30 * MIB;
        },
      });
      clock.advance(TRIM_LOOK);
      t.equal(trims, 1, "at the peak, where nothing is free");
      clock.advance(10 * TRIM_AGAIN);
      t.equal(trims, 1);
      allocated = 20 * MIB;
      clock.advance(after);
      t.equal(trims, 2);
      t.equal(resident, 50 * MIB);
      clock.advance(10 * TRIM_AGAIN);
      t.equal(trims, 2, "once");
      stop();
      t.end();
    },
  );

for (const [where, memoryBytes, cpu, wall, looks] of [
  ["is not tight, rarer where it takes longer", 0, 30, 30, 2],
  ["is not tight, each second where others took the core", 0, 0, 30, 20],
  ["is tight, each second all the same", 100 * MIB, 30, 30, 20],
] as const)
  void t.test(`the allocator is asked: where memory ${where}`, (t) => {
    const clock = fakeClock();
    let asked = 0;
    const stop = trimMemory({
      clock: { ...clock, now: () => clock.now() + asked * wall },
      cpu: () => asked * cpu,
      memoryBytes,
      resident: () => 100 * MIB,
      allocated() {
        asked += 1;
        return MIB;
      },
      trim: () => undefined,
    });
    clock.advance(20 * TRIM_LOOK);
    t.equal(asked, looks);
    stop();
    t.end();
  });

void t.test("the C library says what it has given out", (t) => {
  const allocated = allocatedBytes();
  if (allocated === undefined) t.pass("this one does not");
  else {
    const before = allocated();
    const block = Buffer.allocUnsafeSlow(64 * MIB);
    // What was free to go before may go meanwhile.
    t.ok(allocated() - before >= block.length / 2);
  }
  t.end();
});

void t.test("a function that the C library does not have is none", (t) => {
  t.equal(
    libcFunction("int wherry_has_no_such_function(int value)"),
    undefined,
  );
  if (process.platform === "linux")
    t.equal(libcFunction("int abs(int value)")?.(-3), 3);
  t.end();
});

void t.test(
  "a program without the foreign-function library says why, and goes on",
  async (t) => {
    const libc = new URL("../../src/runtime/libc.ts", import.meta.url).href;
    const script = `
      import { registerHooks } from "node:module";
      registerHooks({
        resolve(name, context, next) {
          if (name === "koffi") throw new Error("no binary for this machine");
          return next(name, context);
        },
      });
      const libc = await import(${JSON.stringify(libc)});
      console.log(libc.whyNoForeignFunctions(), libc.libcFunction("int abs(int value)"));
    `;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "--eval", script],
      { env: newEnvironment() },
    );
    t.equal(stdout, "no binary for this machine undefined\n");
    t.equal(whyNoForeignFunctions(), undefined);
  },
);
import { newEnvironment } from "../support/processes/demo.ts";

const SMAPS = `5600000000-5600001000 r--p 00000000 fd:00 1234                       /opt/node/bin/node
Rss:                   4 kB
Anonymous:             0 kB
5600001000-5600003000 r-xp 00001000 fd:00 1234                       /opt/node/bin/node
Rss:                   8 kB
Anonymous:             0 kB
5600003000-5600004000 r--p 00003000 fd:00 1234                       /opt/node/bin/node
Rss:                   4 kB
Anonymous:             4 kB
5600004000-5600005000 rw-p 00004000 fd:00 1234                       /opt/node/bin/node
Rss:                   4 kB
Anonymous:             0 kB
5600005000-5600006000 r--p 00000000 00:00 0 
Anonymous:             0 kB
7f00000000-7f00001000 r-xp 00000000 fd:00 99                         /lib/libc.so.6
Anonymous:             0 kB
VmFlags: rd ex mr mw me
`;

void t.test(
  "of the program's file, what was never written is dropped, and nothing else",
  (t) => {
    t.strictSame(readRanges(SMAPS, "/opt/node/bin/node"), [
      { from: 0x5600000000n, to: 0x5600001000n },
      { from: 0x5600001000n, to: 0x5600003000n },
    ]);
    t.strictSame(readRanges("", "/opt/node/bin/node"), []);
    t.strictSame(readRanges("garbage\n-\n", ""), []);
    t.end();
  },
);

void t.test("the program goes on without its pages", (t) => {
  const before = process.memoryUsage.rss();
  dropProgramPages();
  const after = process.memoryUsage.rss();
  if (process.platform === "linux")
    t.ok(before - after > 8 * MIB, `${before} octets, then ${after}`);
  t.strictSame(JSON.parse('{"a":[1,2]}'), { a: [1, 2] });
  t.end();
});

for (const [size, used, collections] of [
  ["any", 20, 1],
  ["any", 256, 1],
  ["large", 20, 0],
  ["large", 64, 0],
  ["large", 256, 1],
  ["small", 20, 1],
  ["small", 64, 1],
  ["small", 256, 0],
] as const)
  void t.test(`a heap of ${used} MiB at the start: ${size}`, (t) => {
    let collected = 0;
    leaveStartBehind(size, {
      used: () => used * MIB,
      collect: () => void (collected += 1),
    });
    t.equal(collected, collections);
    t.end();
  });
