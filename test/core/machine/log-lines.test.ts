import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { createServer, type AddressInfo, type Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import t from "tap";
import { openLogLines } from "../../../src/core/machine/log-lines.ts";
import { machineErrors } from "../../../src/core/machine/machine-counts.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { cleanEnvironment } from "../../support/processes/demo.ts";

const LOG = new URL("../../../src/core/log.ts", import.meta.url).href;
/** Writes a line of 1 KiB for each number up to `lines`, then "done" to standard output, and one line more for each line that it reads. */
const program = (lines: number): string => `
  import { createInterface } from "node:readline";
  import { makeLogger } from ${JSON.stringify(LOG)};
  const logger = makeLogger({ level: "info" });
  for (let n = 0; n < ${lines}; n++) logger.info({ n, fill: "x".repeat(1000) }, "line");
  console.log("done");
  for await (const line of createInterface({ input: process.stdin })) {
    logger.info("again");
    console.log(line);
  }
`;

interface Started {
  readonly child: ChildProcess;
  readonly input: Writable;
  readonly output: Readable;
}

function start(lines: number, stderr: "pipe" | number): Started {
  const child = spawn(
    process.execPath,
    ["--input-type=module", "--eval", program(lines)],
    { env: cleanEnvironment(), stdio: ["pipe", "pipe", stderr] },
  );
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error("no pipes");
  return { child, input: stdin, output: stdout };
}

function counted(error: string): number {
  for (const each of machineErrors())
    if (each.part === "log" && each.error === error) return each.count;
  return 0;
}

void t.test("what the disk does not take is counted, and what is lost", (t) => {
  const clock = fakeClock();
  const descriptor = openSync("/dev/full", "a");
  t.teardown(() => closeSync(descriptor));
  const lines = openLogLines({ descriptor, tell: () => "lost\n", clock });
  t.equal(counted("ENOSPC"), 0);
  lines.write("one\n");
  t.equal(counted("ENOSPC"), 1);
  lines.write("two\n");
  t.equal(counted("ENOSPC"), 1, "it waits behind the first");
  clock.advance(100);
  t.equal(counted("ENOSPC"), 2, "both are tried again");
  t.equal(counted("lost"), 0);
  for (let line = 0; line < 3; line += 1)
    lines.write(`${"x".repeat(512 * 1024)}\n`);
  t.equal(counted("lost"), 2);
  t.end();
});

void t.test("a full disk under the log ends no process", async (t) => {
  const { child, input, output } = start(3, openSync("/dev/full", "a"));
  await once(output, "data");
  input.write("still here\n");
  const [echo] = (await once(output, "data")) as [Buffer];
  t.equal(echo.toString(), "still here\n");
  input.end();
  const [code, signal] = (await once(child, "exit")) as [number, string];
  t.strictSame([code, signal], [0, null]);
});

void t.test(
  "a reader that stands still stops nobody, and is told what was left out",
  async (t) => {
    const lines = 3000;
    const { child, input, output } = start(lines, "pipe");
    // Nobody reads the log until all has been said.
    await once(output, "data");
    let printed = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
      if (printed.includes('"lost"')) input.end();
    });
    await once(child, "exit");
    const records = printed
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { n?: number; lost?: number });
    const told = records.find(({ lost }) => lost !== undefined)?.lost ?? 0;
    const numbers = records.flatMap(({ n }) => (n === undefined ? [] : [n]));
    t.ok(told > 0, `${told} are lost`);
    t.equal(numbers.length + told, lines);
    t.strictSame(
      numbers,
      numbers.map((_, at) => at),
      "whole, in their order",
    );
    t.ok(numbers.length > 1000, "a mebibyte is kept");
  },
);

void t.test("a process that ends has said its last line", async (t) => {
  const { child, input } = start(50, "pipe");
  input.end("last\n");
  let printed = "";
  child.stderr?.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  await once(child, "close");
  t.match(printed, /"msg":"again"\}\n$/);
});

void t.test("a socket that nobody reads stops nobody, either", async (t) => {
  // As systemd gives it, with the flag that a shell leaves: writes wait.
  const journal = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  t.teardown(() => journal.close());
  await once(journal, "listening");
  const { port } = journal.address() as AddressInfo;
  const accepted = once(journal, "connection") as Promise<[Socket]>;
  const child = spawn(
    "bash",
    [
      ...["-c", `exec "$0" "$@" 2>/dev/tcp/127.0.0.1/${port}`],
      process.execPath,
      ...["--input-type=module", "--eval", program(20_000)],
    ],
    { env: cleanEnvironment(), stdio: ["pipe", "pipe", "inherit"] },
  );
  await once(child.stdout, "data");
  child.stdin.write("still here\n");
  const [echo] = (await once(child.stdout, "data")) as [Buffer];
  t.equal(echo.toString(), "still here\n");
  const [reader] = await accepted;
  let last = "";
  reader.on("data", (chunk: Buffer) => {
    last = (last + chunk.toString()).slice(-100_000);
    if (last.includes('"lost"')) child.stdin.end();
  });
  reader.resume();
  await once(child, "exit");
  t.match(last, /\n\{"level":"info".*\n\{"level"/, "whole lines");
});
