/** What a run of the measurement of scale prints and keeps: a row a figure, a column a size. */
import { readFile } from "node:fs/promises";
import { messageOf, UserError } from "../../src/core/errors.ts";
import type { Machine } from "../versions.ts";
import { LINES, LINE_NAMES, shown, type Figure, type Line } from "./figures.ts";
import { GOALS_AT, reached } from "./goals.ts";

export interface ScaleResult {
  readonly scenario: "scale";
  readonly date: string;
  readonly version: string;
  readonly machine: Machine;
  readonly options: Readonly<Record<string, unknown>>;
  readonly meshes: readonly MeshResult[];
}

export interface MeshResult {
  readonly services: number;
  readonly resources: number;
  readonly figures: readonly Figure[];
  /** Lines without figures, and why. */
  readonly failures: Readonly<Partial<Record<Line, string>>>;
}

/** Throws UserError. */
export async function readResult(file: string): Promise<ScaleResult> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as ScaleResult;
  } catch (thrown) {
    throw new UserError(`${file} cannot be read: ${messageOf(thrown)}`);
  }
}

/** Tables in Markdown, one a line of the measurement. */
export function scalePage(
  result: ScaleResult,
  beside: ScaleResult | undefined,
): string {
  const { date, machine, version, meshes } = result;
  const columns = columnsOf(result, beside);
  const measured = new Set(
    meshes.flatMap(({ figures }) => figures.map(({ line }) => line)),
  );
  const tables = LINE_NAMES.filter((line) => measured.has(line)).flatMap(
    (line) => table(line, columns),
  );
  const failures = meshes.flatMap(({ services, failures: each }) =>
    Object.entries(each).map(
      ([line, why]) =>
        `- ${line}, ${services.toLocaleString("en")} Services: no figures: ${why}`,
    ),
  );
  return [
    `# What a change costs, ${date.slice(0, 10)}`,
    "",
    `Wherry ${version}; ${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}.`,
    "",
    ...tables,
    ...goalTable(meshes),
    ...failures,
    ...(failures.length > 0 ? [""] : []),
  ].join("\n");
}

function goalTable(meshes: readonly MeshResult[]): string[] {
  const mesh = meshes.find(({ services }) => services === GOALS_AT);
  const rows = reached(mesh?.figures ?? []);
  if (rows.length === 0) return [];
  return [
    `## Goals for ${GOALS_AT.toLocaleString("en")} Services`,
    "",
    "| | unit | goal | measured | met |",
    "| --- | --- | --- | ---: | --- |",
    ...rows.map(
      ({ goal: { line, name, bound, value }, figure, met }) =>
        `| ${line}: ${name} | ${figure.unit} | ${bound} ${shown(value)} | ${shown(figure.value)} | ${met ? "yes" : "no"} |`,
    ),
    "",
  ];
}

interface Column {
  readonly title: string;
  readonly figures: readonly Figure[];
}

function columnsOf(
  { meshes }: ScaleResult,
  beside: ScaleResult | undefined,
): Column[] {
  return meshes.flatMap(({ services, figures }) => {
    const title = `${services.toLocaleString("en")} Services`;
    const other = beside?.meshes.find((mesh) => mesh.services === services);
    return other === undefined
      ? [{ title, figures }]
      : [
          {
            title: `${title}, ${beside?.version ?? ""}`,
            figures: other.figures,
          },
          { title, figures },
        ];
  });
}

function table(line: Line, columns: readonly Column[]): string[] {
  const names = new Map<string, string>();
  for (const { figures } of columns)
    for (const figure of figures)
      if (figure.line === line) names.set(figure.name, figure.unit);
  if (names.size === 0) return [];
  const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [
    `## ${line}: ${LINES[line]}`,
    "",
    row(["", "unit", ...columns.map(({ title }) => title)]),
    row(["---", "---", ...columns.map(() => "---:")]),
    ...Array.from(names, ([name, unit]) =>
      row([
        name,
        unit,
        ...columns.map(({ figures }) => {
          const found = figures.find(
            (figure) => figure.line === line && figure.name === name,
          );
          return found === undefined ? "–" : shown(found.value);
        }),
      ]),
    ),
    "",
  ];
}
