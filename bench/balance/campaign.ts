/** The passes of a campaign in an order by chance, those that have been made, and the table of them. */
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { seededRandom } from "../../test/support/clocks/fake-clock.ts";
import { median } from "../simulate/report.ts";
import type { LoadResult } from "./load.ts";

export interface Pass {
  readonly scenario: string;
  readonly arm: string;
  /** From 1. */
  readonly repeat: number;
}

export interface Made extends Pass {
  readonly result: LoadResult;
  /** Share of all cores that were busy: above a half, the machine was measured and not the balancing. */
  readonly cpu: number;
}

/** All passes; one policy at a time, each repeat in another order. */
export function plan(
  scenarios: readonly string[],
  arms: readonly string[],
  repeats: number,
): Pass[] {
  const random = seededRandom(7);
  return Array.from({ length: repeats }, (_, index) =>
    scenarios
      .flatMap((scenario) =>
        arms.map((arm) => ({ scenario, arm, repeat: index + 1 })),
      )
      .map((pass) => ({ pass, at: random() }))
      .sort((left, right) => left.at - right.at)
      .map(({ pass }) => pass),
  ).flat();
}

export function left(passes: readonly Pass[], made: readonly Made[]): Pass[] {
  return passes.filter(
    ({ scenario, arm, repeat }) =>
      !made.some(
        (each) =>
          each.scenario === scenario &&
          each.arm === arm &&
          each.repeat === repeat,
      ),
  );
}

export function readMade(file: string): Made[] {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Made[];
  } catch {
    return [];
  }
}

export async function keepMade(
  file: string,
  made: readonly Made[],
): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(made, undefined, 1)}\n`);
}

/** Medians of the repeats, with the least and the most. */
export function table(
  made: readonly Made[],
  setting: readonly string[],
): string {
  const rows = [...Map.groupBy(made, ({ scenario }) => scenario)].flatMap(
    ([scenario, ofScenario]) =>
      [...Map.groupBy(ofScenario, ({ arm }) => arm)]
        .sort(([left], [right]) => (left < right ? 1 : -1))
        .map(([arm, runs]) => {
          const range = (
            figure: (run: Made) => number,
            digits: number,
          ): string => {
            const values = runs.map(figure);
            const show = (value: number): string => value.toFixed(digits);
            return `${show(median(values))} (${show(Math.min(...values))}–${show(Math.max(...values))})`;
          };
          return `| ${scenario} | ${arm} | ${runs.length} | ${range(({ result }) => result.p50, 0)} | ${range(({ result }) => result.p99, 0)} | ${range(({ result }) => result.p999, 0)} | ${range(({ result }) => 100 * result.errors, 2)} | ${range(({ cpu }) => 100 * cpu, 0)} |`;
        }),
  );
  return [
    "# Balancing, real sidecars on loopback",
    "",
    ...setting,
    "",
    "| scenario | policy | runs | p50 ms | p99 ms | p99.9 ms | errors % | CPU % |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
  ].join("\n");
}
