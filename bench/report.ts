/** Runs to medians, ratios and verdicts. */
import type { Entry } from "./contest.ts";
import { FIGURES, summarise, type Figure, type FigureName } from "./figures.ts";
import { differences, type Feature } from "./peer.ts";
import type { Goal, Scenario } from "./scenario.ts";

/** A figure beside the reference's. */
export type Ratio =
  /** "at most": the reference lost spans, so that its cost is told too low. */
  | { readonly kind: "is" | "at most"; readonly value: number }
  /** Its own lost spans make the figure too low. */
  | { readonly kind: "lost spans" }
  | { readonly kind: "other features" }
  | { readonly kind: "reference" };

export interface Row {
  readonly name: string;
  readonly version: string;
  readonly features: readonly Feature[];
  readonly figures: Readonly<Partial<Record<FigureName, Figure>>>;
  readonly ratios: Readonly<Partial<Record<FigureName, Ratio>>>;
  /** What the reference has on and this has not, or the other way. */
  readonly unequal: readonly Feature[];
  readonly failure: string | undefined;
}

export interface Verdict {
  readonly goal: Goal;
  readonly contender: string;
  /** Undefined where there is no figure to judge. */
  readonly value: number | undefined;
  readonly met: boolean;
}

export interface Report {
  readonly scenario: string;
  readonly title: string;
  readonly reference: string;
  readonly columns: readonly FigureName[];
  readonly rows: readonly Row[];
  readonly verdicts: readonly Verdict[];
}

/** Percent of spans below which a run is cheaper than it should be. */
const ENOUGH = 99;

export function reportOf(
  scenario: Scenario,
  entries: readonly Entry[],
): Report {
  const reference = entries.find(({ name }) => name === scenario.reference);
  const rows = entries.map((entry) => rowOf(scenario, entry, reference));
  return {
    scenario: scenario.name,
    title: scenario.title,
    reference: scenario.reference,
    columns: rows.some(({ figures }) => figures.stolen !== undefined)
      ? [...scenario.columns, "stolen"]
      : scenario.columns,
    rows,
    verdicts: scenario.goals.flatMap((goal) => {
      const contender = goal.contender ?? "Wherry";
      const row = rows.find(({ name }) => name === contender);
      return row === undefined ? [] : [judge(goal, contender, row)];
    }),
  };
}

function rowOf(
  scenario: Scenario,
  entry: Entry,
  reference: Entry | undefined,
): Row {
  const figures: Partial<Record<FigureName, Figure>> = {};
  const ratios: Partial<Record<FigureName, Ratio>> = {};
  const unequal =
    reference === undefined
      ? []
      : differences(
          new Set(entry.features),
          new Set(reference.features),
        ).filter((feature) => feature !== scenario.varies);
  for (const name of [...scenario.columns, "stolen"] as const) {
    const figure = figureOf(entry, name);
    if (figure === undefined) continue;
    figures[name] = figure;
    const base =
      reference === undefined ? undefined : figureOf(reference, name);
    if (!FIGURES[name].compared || base === undefined) continue;
    if (entry === reference) ratios[name] = { kind: "reference" };
    else if (unequal.length > 0) ratios[name] = { kind: "other features" };
    else if (losesSpans(entry)) ratios[name] = { kind: "lost spans" };
    else
      ratios[name] = {
        kind:
          reference !== undefined && losesSpans(reference) ? "at most" : "is",
        value: figure.median / base.median,
      };
  }
  return {
    name: entry.name,
    version: entry.version,
    features: entry.features,
    figures,
    ratios,
    unequal,
    failure: entry.failure,
  };
}

function figureOf(entry: Entry, name: FigureName): Figure | undefined {
  const values = entry.runs.flatMap((run) => run[name] ?? []);
  return values.length === 0 ? undefined : summarise(values);
}

function losesSpans(entry: Entry): boolean {
  const delivered = figureOf(entry, "delivered");
  return delivered !== undefined && delivered.lowest < ENOUGH;
}

function judge(goal: Goal, contender: string, row: Row): Verdict {
  const ratio = row.ratios[goal.figure];
  const value =
    goal.of === "value"
      ? row.figures[goal.figure]?.median
      : ratio !== undefined && "value" in ratio
        ? ratio.value
        : undefined;
  return {
    goal,
    contender,
    value,
    met: value !== undefined && value <= goal.atMost,
  };
}
