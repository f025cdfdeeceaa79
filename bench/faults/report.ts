/** What a run of the measurement of faults prints and keeps: a row of the table a fault. */
import { readFile } from "node:fs/promises";
import { styleText } from "node:util";
import { messageOf, UserError } from "../../src/core/errors.ts";
import { shown } from "../scale/figures.ts";
import type { Machine } from "../versions.ts";
import type { RowFigures, RowResult } from "./row.ts";

export interface FaultsResult {
  readonly scenario: "faults";
  readonly date: string;
  readonly version: string;
  readonly machine: Machine;
  readonly options: Readonly<Record<string, unknown>>;
  readonly rows: readonly RowResult[];
}

/** Throws UserError. */
export async function readFaultsResult(file: string): Promise<FaultsResult> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as FaultsResult;
  } catch (thrown) {
    throw new UserError(`${file} cannot be read: ${messageOf(thrown)}`);
  }
}

const HEAD = [
  "fault",
  "calls",
  "failed",
  "by reason",
  "longest, ms",
  "p50, ms",
  "p99, ms (quiet)",
  "failing for, s",
  "after it, s",
  "besides",
  "goals",
] as const;
/** Columns of text; the others are numbers. */
const LEFT: ReadonlySet<number> = new Set([0, 3, 9, 10]);

type Met = "met" | "not met" | "unknown";

interface Line {
  readonly cells: readonly string[];
  readonly met: Met;
}

/** Aligned columns, for a screen. */
export function faultsTable(
  rows: readonly RowResult[],
  beside: FaultsResult | undefined,
  colour: boolean,
): string {
  const lines = linesOf(rows, beside);
  const widths = HEAD.map((title, column) =>
    Math.max(
      title.length,
      ...lines.map(({ cells }) => (cells[column] ?? "").length),
    ),
  );
  const aligned = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        LEFT.has(column)
          ? cell.padEnd(widths[column] ?? 0)
          : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  const painted = ({ cells, met }: Line): string => {
    const text = aligned(cells);
    if (!colour || met === "unknown") return text;
    return styleText(met === "met" ? "green" : "red", text, {
      validateStream: false,
    });
  };
  return [aligned(HEAD), ...lines.map(painted), ""].join("\n");
}

/** The same in Markdown. */
export function faultsPage(
  result: FaultsResult,
  beside: FaultsResult | undefined,
): string {
  const { date, version, machine, rows } = result;
  return [
    `# What calls feel of faults, ${date.slice(0, 10)}`,
    "",
    `Wherry ${version}; ${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}.`,
    ...(beside === undefined ? [] : [`Before: ${beside.version}.`]),
    "",
    `| ${HEAD.join(" | ")} |`,
    `| ${HEAD.map((_, column) => (LEFT.has(column) ? "---" : "---:")).join(" | ")} |`,
    ...linesOf(rows, beside).map(({ cells }) => `| ${cells.join(" | ")} |`),
    "",
  ].join("\n");
}

function linesOf(
  rows: readonly RowResult[],
  beside: FaultsResult | undefined,
): Line[] {
  return rows.flatMap((row) => {
    const before = beside?.rows.find(({ name }) => name === row.name);
    return [
      ...(before === undefined
        ? []
        : [
            {
              ...lineOf(before, `${row.name}, before`),
              met: "unknown" as const,
            },
          ]),
      lineOf(row, row.name),
    ];
  });
}

function lineOf(row: RowResult, name: string): Line {
  const { figures, goals, failure } = row;
  if (figures === undefined)
    return {
      cells: [
        name,
        ...HEAD.slice(2).map(() => ""),
        `no figures: ${failure ?? ""}`,
      ],
      met: "not met",
    };
  const missed = goals.filter(({ met }) => !met).map(({ text }) => text);
  return {
    cells: [
      name,
      ...cellsOf(figures),
      missed.length === 0 ? "met" : `not met: ${missed.join("; ")}`,
    ],
    met: missed.length === 0 ? "met" : "not met",
  };
}

function cellsOf(figures: RowFigures): string[] {
  const { calls, failed, reasons, longest, p50, p99, quietP99 } = figures;
  const { failedFor, failedAfter, more } = figures;
  return [
    calls.toLocaleString("en"),
    failed.toLocaleString("en"),
    Object.entries(reasons)
      .map(([reason, count]) => `${count} × ${reason}`)
      .join(", "),
    shown(longest),
    shown(p50),
    `${shown(p99)} (${shown(quietP99)})`,
    seconds(failedFor),
    seconds(failedAfter),
    Object.entries(more)
      .map(([name, value]) => `${name}: ${shown(value)}`)
      .join(", "),
  ];
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
