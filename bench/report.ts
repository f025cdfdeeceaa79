/** Runs to medians, ratios and verdicts. */
import type { Entry } from "./contest.ts";
import { FIGURES, summarise, type Figure, type FigureName } from "./figures.ts";
import { differences, type Feature } from "./peer.ts";
import type { Goal, Scenario } from "./scenario.ts";

/** Why figures are lower than the same work would have them. */
export type Shortfall = "lost spans" | "fell behind";

/** A figure beside the reference's. */
export type Ratio =
  /** "at most": the reference lost spans or did not reach the rate, so that its figures are told too low. */
  | { readonly kind: "is" | "at most"; readonly value: number }
  /** Its own make the figure too low. */
  | { readonly kind: Shortfall }
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
  readonly shortfalls: readonly Shortfall[];
  readonly failure: string | undefined;
}

export interface Verdict {
  readonly goal: Goal;
  readonly contender: string;
  /** Undefined where there is no figure to judge. */
  readonly value: number | undefined;
  /** The value is the most that it can be. */
  readonly isBound: boolean;
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
const ENOUGH_SPANS = 99;
/** Percent of the rate below which a latency is not that of the rate. */
const ENOUGH_OF_RATE = 97;

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
    columns: [
      ...scenario.columns,
      ...(rows.some(({ shortfalls }) => shortfalls.includes("fell behind"))
        ? (["reached"] as const)
        : []),
      ...(rows.some(({ figures }) => figures.stolen !== undefined)
        ? (["stolen"] as const)
        : []),
    ],
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
  const shortfalls = shortfallsOf(entry);
  const [shortfall] = shortfalls;
  const isLow = reference !== undefined && shortfallsOf(reference).length > 0;
  for (const name of [...scenario.columns, "reached", "stolen"] as const) {
    const figure = figureOf(entry, name);
    if (figure === undefined) continue;
    figures[name] = figure;
    const base =
      reference === undefined ? undefined : figureOf(reference, name);
    if (!FIGURES[name].compared || base === undefined) continue;
    if (entry === reference) ratios[name] = { kind: "reference" };
    else if (unequal.length > 0) ratios[name] = { kind: "other features" };
    else if (shortfall !== undefined) ratios[name] = { kind: shortfall };
    else
      ratios[name] = {
        kind: isLow ? "at most" : "is",
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
    shortfalls,
    failure: entry.failure,
  };
}

function figureOf(entry: Entry, name: FigureName): Figure | undefined {
  const values = entry.runs.flatMap((run) => run[name] ?? []);
  return values.length === 0 ? undefined : summarise(values);
}

function shortfallsOf(entry: Entry): readonly Shortfall[] {
  const isShort = (name: FigureName, enough: number): boolean => {
    const figure = figureOf(entry, name);
    return figure !== undefined && figure.lowest < enough;
  };
  return [
    ...(isShort("delivered", ENOUGH_SPANS) ? (["lost spans"] as const) : []),
    ...(isShort("reached", ENOUGH_OF_RATE) ? (["fell behind"] as const) : []),
  ];
}

function judge(goal: Goal, contender: string, row: Row): Verdict {
  const ratio = row.ratios[goal.figure];
  const isWhole = row.shortfalls.length === 0;
  const value =
    goal.of === "value"
      ? isWhole
        ? row.figures[goal.figure]?.median
        : undefined
      : ratio !== undefined && "value" in ratio
        ? ratio.value
        : undefined;
  return {
    goal,
    contender,
    value,
    isBound: goal.of === "ratio" && ratio?.kind === "at most",
    met: value !== undefined && value <= goal.atMost,
  };
}
