/** The collector and the compilers are steered without a flag of the process: those would have Node compile at each start what it brings compiled. */
import { execFileSync } from "node:child_process";
import {
  constants,
  PerformanceObserver,
  type PerformanceEntry,
} from "node:perf_hooks";
import { cachedDataVersionTag } from "node:v8";
import t from "tap";
import { SIDECAR_FLAGS } from "../../src/runtime/node-flags.ts";
import { collectGarbage, setHeapGrowth } from "../../src/runtime/v8.ts";
import { newEnvironment } from "../support/processes/demo.ts";

/** What is held alive for a measurement, and how much of it is made in a turn of the event loop. */
const OBJECTS = 2_000_000;
const PIECE = 20_000;

/** What code that was compiled by a V8 with these flags is good for. */
function tagWith(flags: readonly string[]): string {
  return execFileSync(
    process.execPath,
    [
      ...flags,
      "--print",
      'process.getBuiltinModule("node:v8").cachedDataVersionTag()',
    ],
    { env: newEnvironment(), encoding: "utf8" },
  );
}

/** Calls after which a small function has got to the tier that it ends in. One thread: nothing depends on who is how fast. */
function callsUntilCompiled(before: string): number {
  const text = `
import { compileSooner } from ${JSON.stringify(new URL("../../src/runtime/v8.ts", import.meta.url).href)};
const sum = (list, factor) => {
  let all = 0;
  for (const each of list) all += each.length * factor;
  return all;
};
let status = 0, since = 0;
${before}
for (let n = 0; n < 20_000; n++) {
  if (status !== (status = %GetOptimizationStatus(sum))) since = n;
  sum(["x", "yy", "zzz"], n & 7);
}
console.log(since);`;
  return Number(
    execFileSync(
      process.execPath,
      [
        ...["--single-threaded", "--allow-natives-syntax"],
        ...["--disable-warning=ExperimentalWarning"],
        ...["--input-type=module", "--eval", text],
      ],
      { env: newEnvironment(), encoding: "utf8" },
    ),
  );
}

void t.test(
  "functions are compiled after fewer than half of the calls",
  (t) => {
    const [own, sooner] = ["", "compileSooner();"].map(callsUntilCompiled);
    t.ok(
      sooner !== undefined && own !== undefined && sooner < own / 2,
      `after ${sooner} calls, and of V8's own accord after ${own}`,
    );
    t.end();
  },
);

void t.test(
  "no flag of a sidecar makes V8 refuse what Node brings compiled",
  (t) => {
    const plain = tagWith([]);
    t.equal(tagWith(SIDECAR_FLAGS), plain);
    t.not(tagWith([...SIDECAR_FLAGS, "--expose-gc"]), plain, "others would");
    t.end();
  },
);

void t.test("nor does asking for a collection, which collects", async (t) => {
  const before = cachedDataVersionTag();
  let held: object | undefined = { some: "thing" };
  const seen = new WeakRef(held);
  collectGarbage({ type: "major" });
  t.ok(seen.deref(), "what is held stays");
  held = undefined;
  // What was looked at in this turn is kept to its end.
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage({ type: "major" });
  t.equal(seen.deref(), held, "what is not held goes");
  t.equal(cachedDataVersionTag(), before);
});

function isMajor(entry: PerformanceEntry): boolean {
  const { detail } = entry as { detail?: { kind?: number } };
  return detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR;
}

void t.test(
  "the old generation grows as far as it is told to before it is collected",
  async (t) => {
    const collections = async (percent: number): Promise<number> => {
      setHeapGrowth(percent);
      collectGarbage({ type: "major" });
      const seen: PerformanceEntry[] = [];
      const observer = new PerformanceObserver((list) => {
        seen.push(...list.getEntries());
      });
      observer.observe({ entryTypes: ["gc"] });
      const alive: object[] = [];
      // In pieces, since a collection is made step by step, between them.
      while (alive.length < OBJECTS) {
        for (let n = 0; n < PIECE; n++) alive.push({ n });
        await new Promise((resolve) => setImmediate(resolve));
      }
      seen.push(...observer.takeRecords());
      observer.disconnect();
      t.equal(alive.length, OBJECTS);
      return seen.filter(isMajor).length;
    };
    const often = await collections(10);
    const seldom = await collections(400);
    t.ok(often > seldom, `${often} collections at 10 %, ${seldom} at 400`);
    setHeapGrowth(0);
  },
);

/** Bytes, in as many buffers as a burst leaves behind. */
const BURST = 32 * 1024 * 1024;

/**
 * Leaves a burst behind, has it collected in steps, and prints what is held of it at the beginning, at once after the call and once it is freed,
 * and the collections of everything meanwhile. In a process of its own: V8 collects otherwise while it counts what has run.
 */
const BURST_PROGRAM = `
import { constants, PerformanceObserver } from "node:perf_hooks";
import { collectGarbage, collectInSteps } from ${JSON.stringify(new URL("../../src/runtime/v8.ts", import.meta.url).href)};
const held = () => process.memoryUsage().arrayBuffers;
async function leaveBurst() {
  // As a sidecar leaves its start behind: V8 tells from the last full collection how much the heap has grown.
  collectGarbage({ type: "major" });
  const burst = [];
  // Objects that outlive the nursery beside the buffers, as those of exchanges do.
  const objects = [];
  for (let bytes = 0; bytes < ${BURST}; bytes += 65_536) {
    burst.push(Buffer.allocUnsafeSlow(65_536));
    for (let n = 0; n < 1000; n++) objects.push({ n });
  }
  collectGarbage({ type: "minor" });
  collectGarbage({ type: "minor" });
  const seen = [];
  const observer = new PerformanceObserver((list) => seen.push(...list.getEntries()));
  observer.observe({ entryTypes: ["gc"] });
  const before = held();
  burst.length = objects.length = 0;
  const began = performance.now();
  collectInSteps();
  const atOnce = held();
  while (held() > ${BURST} / 2 && performance.now() - began < 5000)
    await new Promise((resolve) => setTimeout(resolve, 20));
  seen.push(...observer.takeRecords());
  observer.disconnect();
  // In a later round Node may tell of the collections above as well.
  const major = seen.filter(({ startTime, detail }) =>
    startTime >= began && detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR);
  const forced = major.filter(({ detail }) => (detail.flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) !== 0);
  return { before, atOnce, after: held(), major: major.length, forced: forced.length };
}
let left = await leaveBurst();
// Where V8 collected everything while the burst was alive, the heap has not grown since; where it was marking already, it ends that in one
// go: another is needed.
for (let more = 0; (left.major === 0 || left.forced > 0) && more < 4; more += 1) left = await leaveBurst();
console.log(JSON.stringify(left));`;

interface Collected {
  readonly before: number;
  readonly atOnce: number;
  readonly after: number;
  readonly major: number;
  readonly forced: number;
}

void t.test(
  "what a burst left behind is collected in steps, without a collection that stops everything",
  (t) => {
    const { before, atOnce, after, major, forced } = JSON.parse(
      execFileSync(
        process.execPath,
        ["--input-type=module", "--eval", BURST_PROGRAM],
        { env: newEnvironment(), encoding: "utf8" },
      ),
    ) as Collected;
    t.ok(before >= BURST, "it has outlived the nursery");
    t.ok(atOnce >= BURST, "nothing of it is done at once");
    t.ok(after < BURST / 2, `${after} bytes are left`);
    t.ok(major > 0, "by a collection of everything");
    t.equal(forced, 0, "that nobody had to wait for");
    t.end();
  },
);
