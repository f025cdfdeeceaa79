/** What a process of this machine uses, as the kernel counts it. */
import { readFileSync } from "node:fs";

/** Milliseconds of CPU that the process has used, in steps of 10: ticks, on every Linux. */
export function cpuOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const [user, system] = text.split(") ")[1]?.split(" ").slice(11) ?? [];
  return (Number(user) + Number(system)) * 10;
}

/** Looks at a thread until it sleeps; so many are some 20 ms. */
const LOOKS = 2000;

/**
 * Milliseconds of CPU that its event loop has used, to the microsecond. The kernel adds what a thread runs when it stops or at a tick:
 * where the response is there before that, all of its work would be missing.
 */
export function loopCpuOf(pid: number): number {
  for (let looks = 0; looks < LOOKS && isRunning(pid); looks += 1);
  const text = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "latin1");
  return Number(text.split(" ")[0]) / 1e6;
}

function isRunning(pid: number): boolean {
  const text = readFileSync(`/proc/${pid}/task/${pid}/stat`, "latin1");
  return text.split(") ")[1]?.startsWith("R") ?? false;
}

/** Resident memory, bytes. */
export function residentOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}
