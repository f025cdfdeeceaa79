/** What is kept of a measurement: a file in JSON for each scenario, and one page of tables of them all. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../src/core/errors.ts";
import type { Entry } from "./contest.ts";
import {
  featureMarkdown,
  scenarioMarkdown,
  summaryMarkdown,
} from "./markdown.ts";
import type { Options } from "./options.ts";
import { reportOf, type Report } from "./report.ts";
import { SCENARIOS } from "./scenarios.ts";
import type { Scenario } from "./scenario.ts";
import type { Machine } from "./versions.ts";

const RESULTS = fileURLToPath(new URL("results", import.meta.url));

export interface Result {
  readonly scenario: string;
  readonly date: string;
  readonly machine: Machine;
  readonly options: {
    readonly seconds: number;
    /** Of warming up; 2 where it is not said. */
    readonly warmUp?: number;
    readonly connections: number;
    readonly minutes: number;
    readonly pinned: boolean;
  };
  readonly entries: readonly Entry[];
}

export function resultOf(
  scenario: Scenario,
  entries: readonly Entry[],
  date: string,
  machine: Machine,
  { seconds, warmUp, connections, minutes, pinned }: Options,
): Result {
  return {
    scenario: scenario.name,
    date,
    machine,
    options: { seconds, warmUp, connections, minutes, pinned },
    entries,
  };
}

/** Writes the scenario's file; with `add`, the runs that are kept stay in it where they are of the same versions. */
export async function keep(result: Result, add: boolean): Promise<void> {
  await mkdir(RESULTS, { recursive: true });
  const file = fileOf(result.scenario);
  const before = add ? await read(file) : undefined;
  const whole = before === undefined ? result : merged(before, result);
  await writeFile(file, `${JSON.stringify(whole, undefined, 1)}\n`);
}

/** Throws where runs with these options on this machine cannot be added to those that are kept: asked before anything is measured. */
export async function ensureAddable(fresh: Result): Promise<void> {
  const before = await read(fileOf(fresh.scenario));
  const settings = ({ options, machine }: Result): string =>
    JSON.stringify([options, machine]);
  if (before !== undefined && settings(before) !== settings(fresh))
    throw new UserError(
      `--add: the kept runs of ${before.scenario} (${before.date}) were made with other options or on another machine; leave --add out to begin anew`,
    );
}

function fileOf(scenario: string): string {
  return join(RESULTS, `${scenario}.json`);
}

function merged(before: Result, result: Result): Result {
  const names = new Set(
    [...before.entries, ...result.entries].map(({ name }) => name),
  );
  return {
    ...result,
    entries: [...names].flatMap((name) => {
      const old = before.entries.find((entry) => entry.name === name);
      const now = result.entries.find((entry) => entry.name === name);
      if (old === undefined || now === undefined) return old ?? now ?? [];
      return old.version === now.version
        ? [{ ...now, runs: [...old.runs, ...now.runs] }]
        : [now];
    }),
  };
}

async function read(file: string): Promise<Result | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Result;
  } catch {
    return undefined;
  }
}

/** What is kept of each scenario, put together in one page. */
export async function summarise(): Promise<string> {
  const kept = await keptResults();
  const text = page([...kept.values()]);
  await writeFile(join(RESULTS, "summary.md"), text);
  return text;
}

/** By the scenario's name, in the order of the scenarios. */
export async function keptResults(): Promise<ReadonlyMap<string, Result>> {
  const results = new Map<string, Result>();
  for (const { name } of SCENARIOS) {
    const result = await read(fileOf(name));
    if (result !== undefined) results.set(name, result);
  }
  return results;
}

/** Results as one page of tables. */
export function page(results: readonly Result[]): string {
  const reports = results.flatMap(toReport);
  const first = results[0];
  if (first === undefined) return "Nothing was measured.\n";
  const { machine } = first;
  const days = [...new Set(results.map(({ date }) => date.slice(0, 10)))];
  const runs = results.flatMap(({ entries }) =>
    entries.map((entry) => entry.runs.length),
  );
  const seconds = [...new Set(results.map(({ options }) => options.seconds))];
  const warmUp = [
    ...new Set(results.map(({ options }) => options.warmUp ?? 2)),
  ];
  const pinned = results.every(({ options }) => options.pinned);
  return `# What a hop costs, ${days.join(", ")}

${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}; ${Object.entries(
    machine.tools,
  )
    .map(([name, version]) => `${name} ${version}`)
    .join(", ")}.
${seconds.join(" or ")} s of load a run after ${warmUp.join(" or ")} of warming up, ${range(runs)} runs of each contender, alternated; medians, with the lowest and highest run in parentheses.
${pinned ? "Proxies on one core and load on the other, all peers alike" : "Nothing pinned to a core, all peers alike"}, where a scenario does not say otherwise. [How to read it](../README.md).

${summaryMarkdown(reports)}
${reports.map(scenarioMarkdown).join("\n")}
## What was on

${featureMarkdown(reports)}`;
}

function toReport(result: Result): Report[] {
  const scenario = SCENARIOS.find(({ name }) => name === result.scenario);
  return scenario === undefined ? [] : [reportOf(scenario, result.entries)];
}

function range(values: readonly number[]): string {
  const least = Math.min(...values);
  const most = Math.max(...values);
  return least === most ? String(least) : `${least} to ${most}`;
}
