/** Whether another process still runs: one that has ended, one that nobody has asked for its exit code, a number used again. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Writable } from "node:stream";
import t from "tap";
import { findProcess } from "../../src/runtime/process-life.ts";

void t.test("a process is alive until it has ended", async (t) => {
  const child = spawn("sleep", ["600"]);
  await once(child, "spawn");
  const life = findProcess(child.pid ?? 0);
  t.equal(life?.alive, true);
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
  t.equal(life?.alive, false);
  t.equal(findProcess(child.pid ?? 0), undefined);
});

void t.test("one of another user is alive", (t) => {
  t.equal(findProcess(1)?.alive, true);
  t.end();
});

void t.test("one that nobody has waited for is not", async (t) => {
  // What becomes of the shell never asks for the exit code of its child.
  const child = spawn(
    "sh",
    ["-c", "cat <&3 >/dev/null & echo $!; exec sleep 600 3<&-"],
    { stdio: ["ignore", "pipe", "ignore", "pipe"] },
  );
  t.teardown(() => child.kill("SIGKILL"));
  let printed = "";
  child.stdout?.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const turn = (): Promise<void> =>
    new Promise((resolve) => setImmediate(resolve));
  while (
    !printed.includes("\n") ||
    readFileSync(`/proc/${child.pid ?? 0}/comm`, "utf8") !== "sleep\n"
  )
    await turn();
  const pid = Number(printed);
  const life = findProcess(pid);
  t.ok(life?.alive);
  const [, , , input] = child.stdio;
  if (input instanceof Writable) input.end();
  while (findProcess(pid) !== undefined) await turn();
  t.notOk(life?.alive);
  t.doesNotThrow(() => process.kill(pid, 0), "its number is still taken");
});
