import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  constants,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import t from "tap";
import type { Clock } from "../../src/core/clock.ts";
import { machineErrors } from "../../src/core/machine/machine-counts.ts";
import {
  gatherLines,
  openLineSink,
  type LineFile,
} from "../../src/telemetry/line-file.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { smallDisk } from "../support/faults/full-disk.ts";

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

/** Another process that writes so many lines to standard output and closes it; "stuck" has met the full pipe before. */
const WRITER = `
  import { systemClock } from ${JSON.stringify(import.meta.resolve("../../src/core/clock.ts"))};
  import { machineErrors } from ${JSON.stringify(import.meta.resolve("../../src/core/machine/machine-counts.ts"))};
  import { gatherLines, openLineSink } from ${JSON.stringify(import.meta.resolve("../../src/telemetry/line-file.ts"))};
  process.stdout.isTTY; // What makes the stream sets O_NONBLOCK, as in the command.
  const [count, stuck] = process.argv.slice(1);
  const of = (name) => [...machineErrors()].find(({ error }) => error === name)?.count ?? 0;
  const sink = openLineSink(undefined, systemClock);
  const lines = gatherLines(sink, systemClock);
  let left = Number(count);
  for (; left > 0 && lines.write(${JSON.stringify(LINE)}); left -= 1);
  if (stuck) while (of("EAGAIN") === 0) await new Promise((resolve) => setImmediate(resolve));
  lines.close();
  sink.close();
  process.once("exit", () => console.error(JSON.stringify({ written: count - left, lost: of("lost") })));
`;

/** A pipe that nobody reads, with room for so many bytes, whose writers do not wait. */
function fullPipe(
  path: string,
  room: number,
): { readonly writer: number; readonly rest: () => string } {
  execFileSync("mkfifo", [path]);
  const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants;
  const reader = openSync(path, O_RDONLY | O_NONBLOCK);
  const writer = openSync(path, O_WRONLY | O_NONBLOCK);
  const block = Buffer.alloc(4096, "-");
  const read = (): number => {
    try {
      return readSync(reader, block);
    } catch {
      return 0;
    }
  };
  try {
    for (;;) writeSync(writer, block);
  } catch {
    // It is full.
  }
  for (let made = 0; made < room; made += 4096) read();
  return {
    writer,
    rest() {
      let rest = "";
      for (let length = read(); length > 0; length = read())
        rest += block.toString("latin1", 0, length);
      return rest.replace(/^-+/, "");
    },
  };
}

for (const [what, lines, stuck] of [
  ["it is closed", 500, ""],
  ["it was stuck", 1300, "stuck"],
] as const)
  void t.test(
    `where a pipe has little room when ${what}, a line is written or counted as lost`,
    async (t) => {
      const { writer, rest } = fullPipe(`${t.testdir()}/pipe`, 8192);
      const child = spawn(
        process.execPath,
        ["--input-type=module", "-e", WRITER, String(lines), stuck],
        { stdio: ["ignore", writer, "pipe"] },
      );
      if (child.stderr === null) throw new Error("no pipe");
      const said = text(child.stderr);
      await once(child, "exit");
      const { written, lost } = JSON.parse(await said) as Record<
        "written" | "lost",
        number
      >;
      const whole = rest().split("\n").slice(0, -1);
      t.ok(whole.length > 0 && whole.every((line) => `${line}\n` === LINE));
      t.ok(lost > 0);
      t.equal(whole.length + lost, written);
    },
  );

void t.test("opened anew, it goes on in the file of that name", async (t) => {
  const path = `${t.testdir({ log: "" })}/log`;
  const clock = fakeClock();
  const sink = openLineSink(path, clock);
  const lines = gatherLines(sink, clock);
  lines.write("one\n");
  clock.advance(500);
  await untilSize(path, 4);
  renameSync(path, `${path}.1`);
  t.ok(sink.reopen());
  lines.write("two\n");
  lines.close();
  sink.close();
  t.equal(await untilSize(path, 4), "two\n");
  t.equal(readFileSync(`${path}.1`, "utf8"), "one\n");
  t.notOk(sink.reopen(), "but not once it is closed");
});

void t.test(
  "a block that is being written is not broken by opening anew",
  async (t) => {
    const path = `${t.testdir({ log: "" })}/log`;
    const sink = openLineSink(path, fakeClock());
    const block = Buffer.from(LINE.repeat(600));
    const given = new Promise((resolve) => {
      sink.take(block, block.length, resolve);
    });
    renameSync(path, `${path}.1`);
    sink.reopen();
    sink.reopen();
    await given;
    sink.last(Buffer.from("after\n"), 6);
    sink.close();
    await untilSize(path, 6);
    t.equal(readFileSync(`${path}.1`, "utf8"), LINE.repeat(600));
    t.equal(readFileSync(path, "utf8"), "after\n");
  },
);

void t.test(
  "where a full disk took half a line, the whole of it goes to the new file",
  async (t) => {
    const disk = smallDisk(64 * 1024);
    if (disk === undefined) {
      t.pass("only root may mount a small disk");
      return;
    }
    t.teardown(() => disk.unmount());
    const path = join(disk.directory, "log");
    const other = join(disk.directory, "other");
    writeFileSync(other, "x".repeat(32 * 1024));
    const clock = fakeClock();
    const sink = openLineSink(path, clock);
    const lines = LINE.repeat(600);
    const given = new Promise((resolve) => {
      sink.take(Buffer.from(lines), lines.length, resolve);
    });
    while (clock.pending === 0)
      await new Promise((resolve) => void setImmediate(resolve));
    renameSync(path, `${path}.1`);
    rmSync(other);
    sink.reopen();
    clock.advance(100);
    await given;
    sink.close();
    const before = readFileSync(`${path}.1`, "utf8");
    const whole = before.slice(0, before.lastIndexOf("\n") + 1);
    t.not(before, whole, "half a line");
    t.equal(whole + readFileSync(path, "utf8"), lines);
  },
);

void t.test("what cannot be opened anew leaves the file from before", (t) => {
  const folder = t.testdir({ logs: { log: "" } });
  const sink = openLineSink(`${folder}/logs/log`, fakeClock());
  renameSync(`${folder}/logs`, `${folder}/away`);
  t.throws(() => sink.reopen(), { code: "ENOENT" });
  sink.last(Buffer.from("line\n"), 5);
  t.equal(readFileSync(`${folder}/away/log`, "utf8"), "line\n");
  sink.close();
  t.notOk(openLineSink(undefined, fakeClock()).reopen(), "standard output");
  t.end();
});
