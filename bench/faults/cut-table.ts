/** The guide's table of the kept cuts: a line for each part of the mesh that the control plane was cut off from. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { table } from "../markdown.ts";
import type { FaultsResult } from "./report.ts";
import type { RowResult } from "./row.ts";

const KEPT = join(import.meta.dirname, "..", "results", "faults.json");

/** By what names of rows say, such as "caller-and-callee" of "cut/caller-and-callee-rejected/90s". */
const CUT_OFF: Readonly<Record<string, string>> = {
  callee: "one of two callees",
  callees: "both callees",
  caller: "the caller",
  "caller-and-callee": "the caller and one callee",
  all: "all of them",
};

interface Sums {
  rounds: number;
  seconds: number;
  calls: number;
  failed: number;
}

/** As it was kept last. */
export function keptCutTable(): string {
  return cutTable(
    (JSON.parse(readFileSync(KEPT, "utf8")) as FaultsResult).rows,
  );
}

export function cutTable(rows: readonly RowResult[]): string {
  const sums = new Map<string, Sums>();
  const add = (label: string, row: Sums): void => {
    const sum = sums.get(label) ?? {
      rounds: 0,
      seconds: 0,
      calls: 0,
      failed: 0,
    };
    sum.rounds += row.rounds;
    sum.seconds += row.seconds;
    sum.calls += row.calls;
    sum.failed += row.failed;
    sums.set(label, sum);
  };
  for (const label of Object.values(CUT_OFF))
    for (const { name, rounds, figures } of rows)
      if (figures !== undefined && labelOf(name) === label) {
        const { calls, failed } = figures;
        const row = {
          rounds,
          seconds: rounds * secondsOf(name),
          calls,
          failed,
        };
        add(label, row);
      }
  for (const sum of [...sums.values()]) add("together", sum);
  return table(
    ["cut off from the control plane", "rounds", "minutes", "calls", "failed"],
    Array.from(sums, ([label, { rounds, seconds, calls, failed }]) => [
      label,
      String(rounds),
      (seconds / 60).toFixed(1),
      calls.toLocaleString("en"),
      failed.toLocaleString("en"),
    ]),
  );
}

/** Undefined for a row that is no cut. */
function labelOf(name: string): string | undefined {
  const [kind, who = ""] = name.split("/");
  if (kind !== "cut") return undefined;
  const [longest] = Object.keys(CUT_OFF)
    .filter((part) => who === part || who.startsWith(`${part}-`))
    .sort((left, right) => right.length - left.length);
  return longest === undefined ? undefined : CUT_OFF[longest];
}

/** "cut/all/45s": 45 */
function secondsOf(name: string): number {
  return Number.parseInt(name.slice(name.lastIndexOf("/") + 1), 10);
}
