/** How much of the machine another one has: on a shared host the hypervisor takes cores away, and every latency has that in it. */
import { readFileSync } from "node:fs";

/** Fields of a line "cpu" of /proc/stat, from 0: user, nice, system, idle, iowait, irq, softirq, steal. What follows is part of user and nice. */
const STEAL = 7;

/** Ticks since the machine began, summed over its cores. */
interface Ticks {
  readonly stolen: number;
  readonly all: number;
}

/** Begins to count. What it returns ends that: percent of the time of all cores; 0 on a machine of its own, or on one that does not tell. */
export function countStolen(
  read: () => string = () => readFileSync("/proc/stat", "latin1"),
): () => number {
  const before = ticksIn(read());
  return () => {
    const now = ticksIn(read());
    const all = now.all - before.all;
    return all > 0 ? ((now.stolen - before.stolen) * 100) / all : 0;
  };
}

function ticksIn(stat: string): Ticks {
  const [, line = ""] = /^cpu +(.*)$/m.exec(stat) ?? [];
  const fields = line
    .split(" ")
    .slice(0, STEAL + 1)
    .map(Number);
  return {
    stolen: fields[STEAL] ?? 0,
    all: fields.reduce((sum, each) => sum + each, 0),
  };
}
