/** Reports as tables that people read. */
import { FIGURES, shown, type FigureName } from "./figures.ts";
import { FEATURE_NAMES, FEATURES } from "./peer.ts";
import type { Ratio, Report, Row, Shortfall, Verdict } from "./report.ts";

/** One scenario: what each contender needed, and what that is beside the reference. */
export function scenarioMarkdown(report: Report): string {
  const { columns, rows, reference } = report;
  const header = columns.flatMap((name) => [
    FIGURES[name].title,
    ...(FIGURES[name].compared ? [`÷ ${reference}`] : []),
  ]);
  const body = rows.map((row) => [
    `${row.name} ${row.version}`,
    ...columns.flatMap((name) => cells(row, name)),
  ]);
  return `## ${report.scenario}

${report.title}.

${table(["proxy", ...header], body)}
${[...report.verdicts.map(verdictText), ...notes(report)].join("\n")}
`;
}

function cells(row: Row, name: FigureName): string[] {
  const figure = row.figures[name];
  const text = figure === undefined ? "" : shown(name, figure);
  return FIGURES[name].compared ? [text, ratioText(row.ratios[name])] : [text];
}

function ratioText(ratio: Ratio | undefined): string {
  if (ratio === undefined) return "";
  switch (ratio.kind) {
    case "is":
      return ratio.value.toFixed(2);
    case "at most":
      return `≤ ${ratio.value.toFixed(2)}`;
    case "reference":
      return "1";
    case "other features":
    case "lost spans":
    case "fell behind":
      return "no comparison";
  }
}

const SHORTFALLS: Readonly<
  Record<Shortfall, { readonly what: string; readonly so: string }>
> = {
  "lost spans": { what: "lost spans", so: "its cost is told too low" },
  "fell behind": {
    what: "did not reach the rate",
    so: "its latency at that rate is higher",
  },
};

function verdictText(verdict: Verdict): string {
  const { goal, contender, value, isBound, met } = verdict;
  const what = `${contender}: ${FIGURES[goal.figure].title}${goal.of === "ratio" ? ", ratio" : ""}`;
  const found =
    value === undefined
      ? "not measured"
      : `${isBound ? "≤ " : ""}${value.toFixed(goal.of === "ratio" ? 2 : FIGURES[goal.figure].digits)}`;
  return `- ${what} ${found}; aimed at ≤ ${goal.atMost}: **${met ? "met" : "missed"}**`;
}

function notes({ rows, reference }: Report): string[] {
  return rows.flatMap((row) => {
    const ratios = Object.values(row.ratios);
    const has = (kind: Ratio["kind"]): boolean =>
      ratios.some((ratio) => ratio.kind === kind);
    return [
      ...(row.failure === undefined
        ? []
        : [`- ${row.name} failed in a run: ${firstLine(row.failure)}`]),
      ...(has("other features")
        ? [
            `- ${row.name} beside ${reference} is no comparison: they differ in ${row.unequal.join(", ")}.`,
          ]
        : []),
      ...row.shortfalls.map((shortfall) => {
        const { what, so } = SHORTFALLS[shortfall];
        return row.name === reference
          ? `- ${reference} ${what}: ${so}, and the ratios of the others are the most that they can be.`
          : `- ${row.name} ${what}: ${so}, and there is no ratio.`;
      }),
    ];
  });
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}

const SUMMARY: readonly FigureName[] = [
  ...(["cpu", "cpuMiB", "cpuConnection", "p50", "p99", "p999"] as const),
];

/** All scenarios, a line each: ours beside the reference. */
export function summaryMarkdown(reports: readonly Report[]): string {
  const body = reports.flatMap((report) => {
    const ours = report.rows.find(
      ({ name }) => name.startsWith("Wherry") && name !== report.reference,
    );
    if (ours === undefined) return [];
    const goals = report.verdicts.map(
      ({ goal, value, met }) =>
        `${goal.figure} ≤ ${goal.atMost}: ${met ? "met" : value === undefined ? "not measured" : "missed"}`,
    );
    return [
      [
        report.scenario,
        ...SUMMARY.map((name) => ratioText(ours.ratios[name])),
        goals.join(", "),
      ],
    ];
  });
  return table(
    [
      "scenario",
      ...SUMMARY.map((name) => `${FIGURES[name].title}, ratio`),
      "aimed at",
    ],
    body,
  );
}

/** What each contender had on. */
export function featureMarkdown(reports: readonly Report[]): string {
  const seen = new Map<string, Row>();
  for (const { rows } of reports)
    for (const row of rows) if (!seen.has(row.name)) seen.set(row.name, row);
  const contenders = [...seen.values()];
  return table(
    ["", ...contenders.map(({ name }) => name)],
    FEATURE_NAMES.map((feature) => [
      FEATURES[feature],
      ...contenders.map(({ features }) =>
        features.includes(feature) ? "on" : "–",
      ),
    ]),
  );
}

export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |\n`;
  return `${line(header)}${line(widths.map((width) => "-".repeat(width)))}${rows.map(line).join("")}`;
}
