/** A process that is not measured, on a core with others that are part of the measurement: it gets what they leave of it (SCHED_IDLE). */
import { spawnSync } from "node:child_process";
import { UserError } from "../../src/core/errors.ts";
import { program } from "../tools.ts";

/** All its threads, and those to come. What it returns takes it back. Throws UserError where the system does not let it. */
export function yieldTo(pid: number): () => void {
  schedule(pid, "--idle");
  return () => schedule(pid, "--other");
}

function schedule(pid: number, policy: "--idle" | "--other"): void {
  const { status, stderr } = spawnSync(
    program("chrt"),
    ["--all-tasks", policy, "--pid", "0", String(pid)],
    { encoding: "utf8" },
  );
  if (status !== 0)
    throw new UserError(
      `process ${pid} cannot be put behind others: ${stderr}`,
    );
}
