/** Counts what this process asked of the machine and did not get, by part and error. It knows no logger: the log's own errors are among them. */
import { systemCode } from "../errors.ts";

/** What of the process an error of the machine concerns. */
export type MachinePart =
  | "accept"
  | "access-log"
  | "certificate"
  | "config"
  | "connection"
  | "interest"
  | "log"
  | "store";

export interface MachineCount {
  readonly part: MachinePart;
  /** "ENOSPC"; "other" where the system gave no code; "lost" for a line that was left out. */
  readonly error: string;
  readonly count: number;
}

const counts = new Map<string, MachineCount>();

/** Counts one error of the machine. */
export function countMachineError(part: MachinePart, thrown: unknown): void {
  add(part, systemCode(thrown) ?? "other");
}

/** Counts a line that was left out, since what takes the lines takes them too slowly, or not at all. */
export function countLostLine(part: "access-log" | "log"): void {
  add(part, "lost");
}

function add(part: MachinePart, error: string): void {
  const key = `${part} ${error}`;
  const count = (counts.get(key)?.count ?? 0) + 1;
  counts.set(key, { part, error, count });
}

/** What this thread counted since it began. */
export function machineErrors(): Iterable<MachineCount> {
  return counts.values();
}
