/** Stops the processes of a host where they stand, and lets them go on. */
import { readFileSync } from "node:fs";

/** To the process and all that descend from it. */
export function signalTree(pid: number, signal: "SIGSTOP" | "SIGCONT"): void {
  for (const each of treeOf(pid)) process.kill(each, signal);
}

function treeOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return [
    pid,
    ...children
      .split(" ")
      .filter((part) => part !== "")
      .flatMap((child) => treeOf(Number(child))),
  ];
}
