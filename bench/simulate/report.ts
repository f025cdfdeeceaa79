/** The table of the simulation, in Markdown, with the judgement of what was asked for. */
import type { PolicyArm } from "./policies.ts";
import type { Scenario } from "./scenarios.ts";
import type { RunResult } from "./simulate.ts";

/** One policy in one scenario, over all seeds. */
export interface Cell {
  readonly scenario: string;
  readonly policy: string;
  /** One for each seed, in order. */
  readonly runs: readonly RunResult[];
}

export interface Criterion {
  readonly states: string;
  readonly met: boolean;
  readonly seen: string;
}

export interface Table {
  readonly scenarios: readonly Scenario[];
  readonly policies: readonly PolicyArm[];
  readonly cells: readonly Cell[];
}

const REFERENCE = "peak EWMA + penalty";
const JUDGED = "load-aware";

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[(sorted.length - 1) >> 1] ?? Number.NaN;
}

function cellOf({ cells }: Table, scenario: string, policy: string): Cell {
  const found = cells.find(
    (cell) => cell.scenario === scenario && cell.policy === policy,
  );
  if (found === undefined) throw new Error(`no runs of ${scenario}, ${policy}`);
  return found;
}

/** Median over the seeds. */
function of(cell: Cell, figure: keyof RunResult): number {
  return median(cell.runs.map((run) => run[figure]));
}

/** What was asked for before anything was run. */
export function judge(table: Table): Criterion[] {
  const criteria: Criterion[] = table.scenarios.map(({ name }) => {
    const judged = of(cellOf(table, name, JUDGED), "p99");
    const reference = of(cellOf(table, name, REFERENCE), "p99");
    const most = name === "pauses" ? 0.6 : name === "antagonists" ? 0.85 : 1.05;
    return {
      states: `${name}: p99 of ${JUDGED} at most ${most} of ${REFERENCE}`,
      met: judged <= most * reference,
      seen: `${judged.toFixed(1)} against ${reference.toFixed(1)} ms: ${(judged / reference).toFixed(2)}`,
    };
  });
  for (const scenario of ["black-hole", "gray"])
    for (const policy of [REFERENCE, JUDGED]) {
      const errors = of(cellOf(table, scenario, policy), "errors");
      criteria.push({
        states: `${scenario}: at most 0.1 % errors of ${policy}, without retries`,
        met: errors <= 0.001,
        seen: percent(errors),
      });
    }
  const cold = cellOf(table, "cold-start", JUDGED);
  const steady = of(cellOf(table, "homogeneous", JUDGED), "p99");
  criteria.push({
    states: `cold-start: p99 of ${JUDGED} at most 1.5 of the steady state`,
    met: of(cold, "p99") <= 1.5 * steady,
    seen: `${of(cold, "p99").toFixed(1)} against ${steady.toFixed(1)} ms`,
  });
  return criteria;
}

export function render(
  table: Table,
  criteria: readonly Criterion[],
  setting: readonly string[],
): string {
  const lines = [
    "# Balancing, simulated",
    "",
    ...setting,
    "",
    "p99 in milliseconds, the median of the seeds, and errors; a failure counts as the deadline of 1000 ms.",
    "",
    `| scenario | ${table.policies.map(({ name }) => name).join(" | ")} |`,
    `| --- |${table.policies.map(() => " --- |").join("")}`,
    ...table.scenarios.map(
      ({ name, title }) =>
        `| ${title} | ${table.policies
          .map((policy) => {
            const cell = cellOf(table, name, policy.name);
            const errors = of(cell, "errors");
            return `${of(cell, "p99").toFixed(0)}${errors === 0 ? "" : ` / ${percent(errors)}`}`;
          })
          .join(" | ")} |`,
    ),
    "",
    "## What was asked for",
    "",
    "| | stated | seen |",
    "| --- | --- | --- |",
    ...criteria.map(
      ({ states, met, seen }) =>
        `| ${met ? "yes" : "**no**"} | ${states} | ${seen} |`,
    ),
    "",
    "## All figures",
    "",
    "Medians of the seeds in milliseconds; of p99 the least and the most as well. Share: of all requests, at the busiest and at the idlest replica.",
    "",
    "| scenario | policy | p50 | p99 | p99, least to most | p99.9 | errors | share |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ...table.cells.map((cell) => {
      const p99 = cell.runs.map((run) => run.p99);
      return `| ${cell.scenario} | ${cell.policy} | ${of(cell, "p50").toFixed(1)} | ${of(cell, "p99").toFixed(1)} | ${Math.min(...p99).toFixed(1)}–${Math.max(...p99).toFixed(1)} | ${of(cell, "p999").toFixed(1)} | ${percent(of(cell, "errors"))} | ${percent(of(cell, "busiest"))}, ${percent(of(cell, "idlest"))} |`;
    }),
    "",
  ];
  return lines.join("\n");
}

function percent(share: number): string {
  return share === 0 ? "0" : `${(100 * share).toFixed(share < 0.01 ? 3 : 1)} %`;
}
