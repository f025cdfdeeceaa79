/** Whether another process of this machine still runs, and is still the one that it was. */
import { readFileSync } from "node:fs";
import { systemCode } from "../core/errors.ts";

export interface ProcessLife {
  readonly alive: boolean;
}

/** Undefined where there is no such process. */
export function findProcess(pid: number): ProcessLife | undefined {
  const began = startOf(pid);
  if (began === "gone" || !exists(pid)) return undefined;
  return {
    get alive() {
      if (!exists(pid)) return false;
      const now = startOf(pid);
      // Where the system hides it, its number alone must tell.
      return now === "hidden" || began === "hidden" || now === began;
    },
  };
}

/** A process of another user cannot be signalled, and so is there. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return systemCode(thrown) === "EPERM";
  }
}

/**
 * The ticks at which it started, counted from the start of the machine: numbers are used again, these are not. "gone": it has ended,
 * and nobody has asked for its exit code; "hidden": this system does not tell (not Linux, or ProtectProc= of systemd).
 */
function startOf(pid: number): string {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return "hidden";
  }
  // The name comes first, in parentheses, and may have any character in it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state = ""] = fields;
  if (state === "Z" || state === "X") return "gone";
  return fields[START_TIME] ?? "hidden";
}

/** Its place behind the name (proc_pid_stat(5) counts it as the 22nd of all). */
const START_TIME = 19;
