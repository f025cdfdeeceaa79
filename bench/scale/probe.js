// Loaded into a process that is measured, before its program: tells how long its event loop was held up to whoever asks at a socket.
// Plain JavaScript, so that Node's stripper of types is not in the memory that is measured.
import { createServer } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { URL } from "node:url";

const path = new URL(import.meta.url).searchParams.get("socket");
// Milliseconds: the finest there is.
const EVERY = 1;
const delay = monitorEventLoopDelay({ resolution: EVERY });
delay.enable();

// On a machine with neighbours a loop is late that had nothing to do: the CPU of its thread between two turns tells what was its own work.
const cpuNow = () => {
  const { user, system } = process.threadCpuUsage();
  return user + system;
};
let last = cpuNow();
let work = 0;
// Milliseconds of CPU in one go from which on a turn is counted, and how many there were.
const LONG = 1;
let long = 0;
globalThis
  .setInterval(() => {
    const now = cpuNow();
    if (now - last > work) work = now - last;
    if (now - last > LONG * 1000) long += 1;
    last = now;
  }, EVERY)
  .unref();

createServer((socket) => {
  socket.on("error", () => undefined);
  const pause = delay.count === 0 ? 0 : delay.max / 1e6;
  socket.end(JSON.stringify({ pause, work: work / 1000, long }));
  delay.reset();
  last = cpuNow();
  work = 0;
  long = 0;
})
  .listen(path)
  .unref();
