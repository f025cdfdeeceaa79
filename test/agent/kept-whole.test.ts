// Whatever becomes of the file of the config, what is read of it is the newest that it was to hold, whole, or nothing (law 18).
import { systemClock } from "../../src/core/clock.ts";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import t, { type Test } from "tap";
import {
  CONFIG_FILE,
  readConfig,
  type Kept,
} from "../../src/agent/kept-config.ts";
import { LastKnownGood } from "../../src/agent/last-known-good.ts";
import { openStateDirectory } from "../../src/agent/state-directory.ts";
import { silentLogger } from "../../src/core/log.ts";
import { fakeClock, seededRandom } from "../support/clocks/fake-clock.ts";
import {
  keptConfig,
  OWNER,
  PROGRAM,
} from "../support/control-plane/kept-config.ts";
import { temporaryDirectory } from "../support/control-plane/push-control-plane.ts";

const KEEPER = new URL(
  "../support/control-plane/kept-config.ts",
  import.meta.url,
).pathname;

/** Keeps the revisions one after the other; gives the file's bytes after each. */
async function kept(path: string, revisions: number): Promise<Buffer[]> {
  const disk = new LastKnownGood({
    directory: await openStateDirectory(path),
    program: PROGRAM,
    clock: fakeClock(),
    logger: silentLogger,
    onFailure: (error) => {
      if (error !== undefined) throw new Error(error);
    },
  });
  const texts: Buffer[] = [];
  for (let revision = 1; revision <= revisions; revision += 1) {
    disk.keep(keptConfig(revision), OWNER);
    await disk.settled();
    texts.push(await readFile(join(path, CONFIG_FILE)));
  }
  return texts;
}

/** The revision of the config that is read, once it is found to be that revision's; 0 where none is. */
async function revisionOf(t: Test, path: string): Promise<number> {
  const read = await readConfig(
    await openStateDirectory(path),
    OWNER,
    PROGRAM,
    systemClock,
  );
  if (read === undefined || "reason" in read) return 0;
  const { revision } = read.version;
  const whole = keptConfig(revision);
  if (textOf(read) !== textOf(whole))
    t.same(read, whole, "what is read was in force");
  return revision;
}

function textOf({ resources, interest }: Kept): string {
  const { services, lookups } = interest;
  return JSON.stringify([[...resources], [...lookups], services]);
}

void t.test("a file that was cut short at any byte is none", async (t) => {
  const path = await temporaryDirectory(t);
  const [text] = await kept(path, 1);
  if (text === undefined) throw new Error("no text");
  for (let length = 0; length < text.length; length += 1) {
    await writeFile(join(path, CONFIG_FILE), text.subarray(0, length));
    if ((await revisionOf(t, path)) !== 0) t.fail(`${length} bytes`);
  }
  t.equal((await readdir(path)).length, 1);
});

void t.test("a bit that flipped, anywhere", async (t) => {
  const path = await temporaryDirectory(t);
  const texts = await kept(path, 5);
  const whole = texts.at(-1) ?? Buffer.alloc(0);
  const random = seededRandom(3);
  let told = 0;
  for (let at = 0; at < whole.length; at += 1 + Math.floor(random() * 8)) {
    const text = Buffer.from(whole);
    text[at] = (text[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    await writeFile(join(path, CONFIG_FILE), text);
    const revision = await revisionOf(t, path);
    if (revision !== 0) t.fail(`byte ${at}: revision ${revision}`);
    told += 1;
  }
  t.ok(told > 300, `${told} bits`);
});

void t.test("a line that was left out, doubled or put elsewhere", async (t) => {
  const path = await temporaryDirectory(t);
  const [text = Buffer.of()] = await kept(path, 1);
  const lines = text.toString().trimEnd().split("\n");
  const [head = "", first = "", second = "", ...others] = lines;
  for (const order of [
    [head, second, ...others],
    [head, first, first, second, ...others],
    [head, second, first, ...others],
    [first, second, ...others],
    [...lines, ...lines],
    lines.slice(0, -1),
  ]) {
    await writeFile(join(path, CONFIG_FILE), `${order.join("\n")}\n`);
    t.equal(await revisionOf(t, path), 0);
  }
});

void t.test("what was damaged begins anew with the next change", async (t) => {
  const path = await temporaryDirectory(t);
  const texts = await kept(path, 3);
  const cut = (texts.at(-1) ?? Buffer.of()).subarray(0, -10);
  await writeFile(join(path, CONFIG_FILE), cut);
  const child = keeper(path, 4);
  t.same(await said(child), ["kept 1", "kept 2", "kept 3", "kept 4"]);
  t.equal(await revisionOf(t, path), 4);
});

function keeper(
  path: string,
  last: number,
  /** Largest file that the kernel lets it write, in KiB. */
  limit?: number,
): ChildProcess {
  const command = [process.execPath, KEEPER, path, String(last)];
  // tap gives every process its options: what measures coverage would write a file that is too large as well.
  return limit === undefined
    ? spawn(process.execPath, command.slice(1), {
        stdio: ["ignore", "pipe", "inherit"],
      })
    : spawn(
        "bash",
        [
          "-c",
          `unset NODE_OPTIONS && ulimit -f ${limit} && exec "$@"`,
          "",
          ...command,
        ],
        {
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
}

async function said(child: ChildProcess): Promise<string[]> {
  const lines: string[] = [];
  if (child.stdout === null) throw new Error("no output");
  for await (const line of createInterface(child.stdout)) lines.push(line);
  return lines;
}

void t.test("a process that is killed at any moment", async (t) => {
  const path = await temporaryDirectory(t);
  let known = 0;
  for (let round = 0; round < 8; round += 1) {
    const child = keeper(path, Infinity);
    let last = known;
    if (child.stdout === null) throw new Error("no output");
    for await (const line of createInterface(child.stdout)) {
      last = Math.max(last, Number(line.split(" ")[1]));
      if (last >= known + 3 + 11 * round) child.kill("SIGKILL");
    }
    if (child.signalCode === null && child.exitCode === null)
      await once(child, "exit");
    const revision = await revisionOf(t, path);
    t.ok(
      revision >= last,
      `round ${round}: ${revision} on disk, ${last} was said to be`,
    );
    known = revision;
  }
});

void t.test("a disk that is full", async (t) => {
  const path = join(await temporaryDirectory(t), "state");
  await mkdir(path);
  const lines = await said(keeper(path, 200, 12));
  const last = lines.reduce(
    (most, line) =>
      line.startsWith("kept") ? Number(line.split(" ")[1]) : most,
    0,
  );
  t.ok(last > 50 && last < 200, `${last} were kept`);
  t.equal(lines.at(-1), "failed 200");
  t.equal(await revisionOf(t, path), last);
  t.same(await readdir(path), [CONFIG_FILE], "nothing is left beside it");
  t.same(await said(keeper(path, last + 1)), [`kept ${last + 1}`]);
  t.equal(await revisionOf(t, path), last + 1, "once there is room");
});
