/** What the lines of the measurement give: a figure has a name that stays, so that two builds can be set beside each other. */

export const LINES = {
  changes:
    "a change of one Service, with 500 calls a second through the sidecar",
  churn: "50 changed Workloads a second, spread over all Services",
  "first-call": "the first call to a Service, and the next one",
  life: "start and memory of a sidecar",
  fleet: "many streams of sidecars at one control plane",
  crowd:
    "sidecars that all enrol at once, operators that list everything, and a kill of the control plane",
  files: "a sidecar whose mesh is a folder of files, one for each Service",
  envoy: "Envoy with as many clusters, from files",
} as const;

export type Line = keyof typeof LINES;

export const LINE_NAMES: readonly Line[] = Object.keys(LINES) as Line[];

export interface Figure {
  readonly line: Line;
  /** Such as "unused: longest pause". */
  readonly name: string;
  readonly unit: string;
  readonly value: number;
}

export type Row = readonly [name: string, unit: string, value: number];

export function figuresOf(line: Line, rows: readonly Row[]): Figure[] {
  return rows.map(([name, unit, value]) => ({ line, name, unit, value }));
}

/** Three digits that say something, and no more of a whole number than there are. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort();
  return {
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    worst: sorted.at(-1) ?? Number.NaN,
  };
}

/** Of values in order, by nearest rank: with few of them p99 is the worst. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
}
