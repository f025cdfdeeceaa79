/** What sockets bring is told to V8's collector after each 8 MiB, between two turns of the event loop, and within one that brings more. */
import { PerformanceObserver, type PerformanceEntry } from "node:perf_hooks";
import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import { wasRead } from "../../src/runtime/collecting.ts";

const MIB = 1_048_576;

/** Times of collections that a program has asked for, as `run` and the turn after it bring them. */
async function collectedBy(run: () => void): Promise<number[]> {
  const entries: PerformanceEntry[] = [];
  const observer = new PerformanceObserver((list) =>
    entries.push(...list.getEntries()),
  );
  observer.observe({ entryTypes: ["gc"] });
  run();
  // Node tells of a collection a turn after it, and the observer in the one after that.
  for (let turns = 0; turns < 4; turns += 1) await turn();
  observer.disconnect();
  return entries.filter(isForced).map(({ startTime }) => startTime);
}

const FORCED = 4;

function isForced(entry: PerformanceEntry): boolean {
  const { detail } = entry as { detail?: { flags?: number } };
  return ((detail?.flags ?? 0) & FORCED) !== 0;
}

void t.test("once for 8 MiB, when the turn is over", async (t) => {
  let over = 0;
  const times = await collectedBy(() => {
    for (let octets = 0; octets < 8 * MIB; octets += MIB) wasRead(MIB);
    over = performance.now();
  });
  t.equal(times.length, 1);
  t.ok(times.every((time) => time >= over));
});

void t.test("within a turn that brings several times as much", async (t) => {
  let over = 0;
  const times = await collectedBy(() => {
    for (let octets = 0; octets < 64 * MIB; octets += MIB) wasRead(MIB);
    over = performance.now();
  });
  t.equal(times.filter((time) => time < over).length, 4, "each 16 MiB");
});

void t.test("not for less", async (t) => {
  const times = await collectedBy(() => wasRead(7 * MIB));
  t.same(times, []);
});
