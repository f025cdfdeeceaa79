/** What a process of this machine uses, as the kernel counts it. */
import { readFileSync } from "node:fs";

/** Milliseconds of CPU that the process has used, in steps of 10: ticks, on every Linux. */
export function cpuOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const [user, system] = text.split(") ")[1]?.split(" ").slice(11) ?? [];
  return (Number(user) + Number(system)) * 10;
}

/** Milliseconds of CPU that its event loop has used, to the microsecond. */
export function loopCpuOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "latin1");
  return Number(text.split(" ")[0]) / 1e6;
}

/** Resident memory, bytes. */
export function residentOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}
