/** CPU of a process to the microsecond: the scheduler's account of its threads, which /proc/PID/stat rounds to hundredths of a second. */
import { readdirSync, readFileSync } from "node:fs";

export interface Spent {
  /** CPU milliseconds since it began to be watched, also of threads that have ended since. */
  ms(): number;
}

export function watchCpu(pid: number): Spent {
  const known = new Map<string, number>();
  const total = (): number => {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const spent = threadNanoseconds(pid, thread);
      if (spent !== undefined) known.set(thread, spent);
    }
    let sum = 0;
    for (const spent of known.values()) sum += spent;
    return sum / 1e6;
  };
  const base = total();
  return { ms: () => total() - base };
}

/** Undefined where it has ended meanwhile. */
function threadNanoseconds(pid: number, thread: string): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8");
    return Number(text.slice(0, text.indexOf(" ")));
  } catch {
    return undefined;
  }
}
