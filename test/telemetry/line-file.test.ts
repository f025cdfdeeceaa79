import { readFileSync } from "node:fs";
import t from "tap";
import type { Clock } from "../../src/core/clock.ts";
import { machineErrors } from "../../src/core/machine/machine-counts.ts";
import {
  gatherLines,
  openLineSink,
  type LineFile,
} from "../../src/telemetry/line-file.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const LINE = `${"x".repeat(99)}\n`;

/** Lines gathered for a file of their own, and both closed together. */
function openLineFile(path: string, clock: Clock): LineFile {
  const sink = openLineSink(path, clock);
  const lines = gatherLines(sink, clock);
  return {
    write: (line) => lines.write(line),
    before: (fill) => lines.before(fill),
    close() {
      lines.close();
      sink.close();
    },
  };
}

/** Resolves once the file holds so many octets: writes are the thread pool's. */
async function untilSize(path: string, octets: number): Promise<string> {
  for (;;) {
    const text = readFileSync(path, "utf8");
    if (Buffer.byteLength(text) >= octets) return text;
    await new Promise((resolve) => void setImmediate(resolve));
  }
}

void t.test(
  "lines are gathered, and written after half a second",
  async (t) => {
    const path = `${t.testdir({ log: "" })}/log`;
    const clock = fakeClock();
    const file = openLineFile(path, clock);
    t.ok(file.write("one\n"));
    t.ok(file.write("zwei ö\n"));
    clock.advance(499);
    t.equal(readFileSync(path, "utf8"), "");
    clock.advance(1);
    t.equal(await untilSize(path, 12), "one\nzwei ö\n");
    file.close();
  },
);

void t.test("what was there stays, and closing writes the rest", (t) => {
  const path = `${t.testdir({ log: "before\n" })}/log`;
  const file = openLineFile(path, fakeClock());
  file.write("after\n");
  file.close();
  file.close();
  t.equal(file.write("too late\n"), false);
  t.equal(readFileSync(path, "utf8"), "before\nafter\n");
  t.end();
});

void t.test(
  "memory is bounded: what comes faster than it can be written is left out, and its writer told",
  async (t) => {
    const path = `${t.testdir({ log: "" })}/log`;
    const file = openLineFile(path, fakeClock());
    let taken = 0;
    // No write can end within this turn, so two buffers are all there is.
    while (file.write(LINE)) taken += 1;
    t.ok(taken * LINE.length <= 2 * 65_536);
    t.ok(taken * LINE.length > 65_536);
    file.close();
    const text = await untilSize(path, taken * LINE.length);
    t.equal(text, LINE.repeat(taken));
  },
);

void t.test("a line that no buffer holds is left out", (t) => {
  const path = `${t.testdir({ log: "" })}/log`;
  const file = openLineFile(path, fakeClock());
  t.equal(file.write("x".repeat(30_000)), false);
  t.ok(file.write(LINE));
  file.close();
  t.equal(readFileSync(path, "utf8"), LINE);
  t.end();
});

void t.test("each write that the disk does not take is counted", async (t) => {
  const counted = (): number => {
    for (const { part, error, count } of machineErrors())
      if (part === "access-log" && error === "ENOSPC") return count;
    return 0;
  };
  const until = async (count: number): Promise<void> => {
    while (counted() < count)
      await new Promise((resolve) => void setImmediate(resolve));
  };
  const clock = fakeClock();
  const file = openLineFile("/dev/full", clock);
  t.ok(file.write(LINE));
  clock.advance(500);
  await until(1);
  clock.advance(100);
  await until(2);
  t.equal(counted(), 2, "by the code that the system gave");
  file.close();
});

void t.test("a file that cannot be opened is told of at once", (t) => {
  t.throws(() => openLineFile(t.testdir(), fakeClock()), { code: "EISDIR" });
  t.end();
});
