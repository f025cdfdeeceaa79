/** A loop that no longer measures how long it waits asks the kernel once where it has to wait, and goes on as before. */
import { once } from "node:events";
import { execFile } from "node:child_process";
import { performance } from "node:perf_hooks";
import { Worker } from "node:worker_threads";
import { promisify } from "node:util";
import t from "tap";
import { stopMeasuringIdleTime } from "../../src/core/event-loop.ts";

/** On a busy machine the process may have ended before the loop comes to wait for it; not every time. */
const TRIES = 200;

/** The kernel has nothing for this loop until another process has ended. */
const waits = (): Promise<unknown> =>
  promisify(execFile)(process.execPath, ["--version"]);

async function idleFor(work: () => Promise<unknown>): Promise<number> {
  const before = performance.nodeTiming.idleTime;
  await work();
  return performance.nodeTiming.idleTime - before;
}

void t.test("the loop of the main thread", async (t) => {
  // Node says nothing of a loop that has not begun.
  await waits();
  let measured = 0;
  for (let i = 0; i < TRIES && measured === 0; i++)
    measured = await idleFor(waits);
  t.ok(measured > 0, "Node has it measured");
  t.equal(stopMeasuringIdleTime(), true);
  // The wait that is under way may be added once more.
  await waits();
  t.equal(await idleFor(waits), 0);
  t.equal(stopMeasuringIdleTime(), false, "there is nothing to take back");
});

void t.test("each thread has its own", async (t) => {
  const source = `
const { parentPort } = require("node:worker_threads");
const { performance } = require("node:perf_hooks");
void (async () => {
  const { stopMeasuringIdleTime } = await import(${JSON.stringify(new URL("../../src/core/event-loop.ts", import.meta.url).href)});
  let stopped, before;
  parentPort.on("message", (what) => {
    if (what === "stop") stopped = stopMeasuringIdleTime();
    if (what === "look") before = performance.nodeTiming.idleTime;
    parentPort.postMessage({ what, stopped, idle: performance.nodeTiming.idleTime - before });
    if (what === "end") parentPort.close();
  });
  parentPort.postMessage("open");
})();`;
  const worker = new Worker(source, { eval: true });
  await once(worker, "message");
  const ask = async (what: string): Promise<unknown> => {
    worker.postMessage(what);
    const [answer] = (await once(worker, "message")) as unknown[];
    return answer;
  };
  let measured = 0;
  for (let i = 0; i < TRIES && measured === 0; i++) {
    await ask("look");
    await waits();
    measured = ((await ask("asked")) as { readonly idle: number }).idle;
  }
  t.ok(measured > 0);
  t.match(await ask("stop"), { stopped: true });
  await waits();
  await ask("look");
  await waits();
  t.match(await ask("asked"), { idle: 0 });
  worker.postMessage("end");
  await once(worker, "exit");
});
