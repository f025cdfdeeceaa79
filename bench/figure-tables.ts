/** The tables of figures in README and guide: each is made from the newest results, so that no figure is typed by hand. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { keptCutTable } from "./faults/cut-table.ts";
import { shown, type FigureName } from "./figures.ts";
import { table } from "./markdown.ts";
import { reportOf, type Report, type Row } from "./report.ts";
import { keptResults, type Result } from "./results.ts";
import { SCENARIOS } from "./scenarios.ts";

type Results = ReadonlyMap<string, Result>;

export interface FigureTable {
  readonly file: string;
  /** The page's text with the table of these results in it. */
  readonly put: (text: string, results: Results) => string;
}

interface Line {
  readonly scenario: string;
  readonly figure: FigureName;
  readonly label: string;
}

const CPU: readonly Line[] = (
  [
    ["get", "32 connections"],
    ["headers", "32 connections, 14 header fields"],
    ["get-traced", "32 connections, every request traced"],
    ["headers-traced", "14 header fields, every request traced"],
    ["h2", "HTTP/2 applications"],
    ["serial", "one connection, one call after the other"],
    ["get-1k", "1,000 requests a second"],
    ["get-4k", "4,000 requests a second"],
  ] as const
).map(([scenario, label]) => ({ scenario, figure: "cpu", label }));

const BULK: Line = {
  scenario: "body-1m",
  figure: "cpuMiB",
  label: "1 MiB bodies: CPU µs a MiB",
};

const LIFE: readonly Line[] = [
  { scenario: "memory", figure: "rssIdle", label: "idle: RSS MiB" },
  {
    scenario: "memory",
    figure: "rssLoad",
    label: "1,000 requests a second: RSS MiB",
  },
  { scenario: "start", figure: "ready", label: "start: ms to ready" },
  {
    scenario: "growth",
    figure: "growth",
    label: "ten minutes of load: MiB more",
  },
];

const SHORT = ["get", "headers", "get-traced", "h2", "get-1k", "get-4k"];

const README_LINES: readonly Line[] = [
  ...CPU.filter(({ scenario }) => SHORT.includes(scenario)).map((line) => ({
    ...line,
    label: `${line.label}: CPU µs a request`,
  })),
  {
    scenario: "get-1k",
    figure: "p99",
    label: "1,000 requests a second: p99 ms",
  },
  BULK,
  ...LIFE.filter(({ figure }) => ["rssLoad", "ready"].includes(figure)),
];

const ROOT = join(import.meta.dirname, "..");

export const FIGURE_TABLES: readonly FigureTable[] = [
  {
    file: join(ROOT, "README.md"),
    put: (text, results) => between(text, lineTable(README_LINES, results)),
  },
  {
    file: join(ROOT, "config", "guide", "performance.md"),
    put: (text, results) =>
      between(
        text,
        [
          table(
            [
              "scenario",
              ...["CPU µs a request", "p50 ms", "p99 ms"].flatMap((title) => [
                `${title}, Wherry`,
                "Envoy",
                "ratio",
              ]),
              "measured",
            ],
            CPU.flatMap(scenarioLine(results)),
          ),
          lineTable([BULK, ...LIFE], results),
        ].join("\n"),
      ),
  },
  {
    file: join(ROOT, "config", "guide", "operations.md"),
    put: (text) => between(text, keptCutTable()),
  },
];

/** Brings the pages up to date with the results that are kept. */
export async function writeFigureTables(): Promise<void> {
  const results = await keptResults();
  for (const { file, put } of FIGURE_TABLES)
    await writeFile(file, put(await readFile(file, "utf8"), results));
}

/** A line each; the head has the versions that were measured. */
function lineTable(lines: readonly Line[], results: Results): string {
  const versioned = (name: string): string => {
    const versions = lines.flatMap(
      ({ scenario }) =>
        results.get(scenario)?.entries.find((entry) => entry.name === name)
          ?.version ?? [],
    );
    return `${name} ${[...new Set(versions)].join(", ")}`;
  };
  return table(
    ["", versioned("Wherry"), versioned("Envoy"), "ratio", "measured"],
    lines.flatMap(lineOf(results)),
  );
}

const lineOf =
  (results: Results) =>
  ({ scenario, figure, label }: Line): string[][] => {
    const found = report(results, scenario);
    return found === undefined
      ? []
      : [[label, ...cells(found.report, figure), found.day]];
  };

const scenarioLine =
  (results: Results) =>
  ({ scenario, label }: Line): string[][] => {
    const found = report(results, scenario);
    if (found === undefined) return [];
    const figures = (["cpu", "p50", "p99"] as const).flatMap((figure) =>
      cells(found.report, figure),
    );
    return [[`${label} (\`${scenario}\`)`, ...figures, found.day]];
  };

function report(
  results: Results,
  name: string,
): { readonly report: Report; readonly day: string } | undefined {
  const result = results.get(name);
  const scenario = SCENARIOS.find((each) => each.name === name);
  return result === undefined || scenario === undefined
    ? undefined
    : {
        report: reportOf(scenario, result.entries),
        day: result.date.slice(0, 10),
      };
}

function cells({ rows }: Report, figure: FigureName): string[] {
  const of = (name: string): Row | undefined =>
    rows.find((row) => row.name === name);
  const text = (row: Row | undefined): string => {
    const value = row?.figures[figure];
    return value === undefined ? "" : shown(figure, value);
  };
  const ratio = of("Wherry")?.ratios[figure];
  return [
    text(of("Wherry")),
    text(of("Envoy")),
    ratio?.kind === "is" || ratio?.kind === "at most"
      ? `**${ratio.kind === "is" ? "" : "≤ "}${ratio.value.toFixed(2)}**`
      : "",
  ];
}

const BEGIN = "<!-- figures: written by the benchmark -->\n";
const END = "<!-- end -->";

function between(text: string, tables: string): string {
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END, from);
  if (from < 0 || to < 0)
    throw new Error(
      `the page has no "${BEGIN.trim()}" with an "${END}" after it`,
    );
  return `${text.slice(0, from + BEGIN.length)}\n${tables}\n${text.slice(to)}`;
}
