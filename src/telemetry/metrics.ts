/** Counters, gauges and histograms in typed arrays, rendered as Prometheus text (exposition format 0.0.4). */

export interface CounterCell {
  add(count?: number): void;
  readonly value: number;
}

export interface GaugeCell {
  set(value: number): void;
  add(count: number): void;
  readonly value: number;
}

export interface HistogramCell {
  /** One observation, in the unit of the family's bounds. */
  record(value: number): void;
  readonly count: number;
  readonly sum: number;
}

/** The cells of one metric by the values of its labels. Keep the cell: `with` is a look-up, the cell is an addition. */
export interface Family<Cell> {
  with(...values: string[]): Cell;
  /** Forgets the series, for what no longer exists. */
  remove(...values: string[]): void;
  /** The values of the labels, with the cell, of each series. */
  series(): Iterable<readonly [readonly string[], Cell]>;
}

export type MetricType = "counter" | "gauge" | "histogram";

/** What a family was registered with. */
export interface MetricDescription {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly labels: readonly string[];
}

export interface MetricsRegistry {
  counter(
    name: string,
    help: string,
    labels?: readonly string[],
  ): Family<CounterCell>;
  gauge(
    name: string,
    help: string,
    labels?: readonly string[],
  ): Family<GaugeCell>;
  histogram(
    name: string,
    help: string,
    labels: readonly string[],
    bounds: readonly number[],
  ): Family<HistogramCell>;
  /** Runs before each rendering, to set gauges that are computed when asked for. Returns the way to stop. */
  collect(run: () => void): () => void;
  /** Every family, in the order of registration. */
  describe(): readonly MetricDescription[];
  render(): string;
}

/** Seconds: from what a hop costs on loopback to what a person gives up on. */
export const DURATION_BOUNDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
  10,
];

/** The label value under which everything past the cap on series is counted together. */
export const OVERFLOW_LABEL = "_other";

export interface MetricsOptions {
  /** Series of all families together; what comes later is counted under `OVERFLOW_LABEL` (law 10). */
  readonly maxSeries: number;
}

export function makeMetrics(options: MetricsOptions): MetricsRegistry {
  return new Registry(options.maxSeries);
}

class Registry implements MetricsRegistry {
  readonly #families = new Map<string, Registered>();
  readonly #collectors = new Set<() => void>();
  readonly #budget: SeriesBudget;

  constructor(maxSeries: number) {
    this.#budget = { used: 0, most: maxSeries };
  }

  counter(
    name: string,
    help: string,
    labels: readonly string[] = [],
  ): Family<CounterCell> {
    return this.#add({ name, type: "counter", help, labels }, CELLS);
  }

  gauge(
    name: string,
    help: string,
    labels: readonly string[] = [],
  ): Family<GaugeCell> {
    return this.#add({ name, type: "gauge", help, labels }, CELLS);
  }

  histogram(
    name: string,
    help: string,
    labels: readonly string[],
    bounds: readonly number[],
  ): Family<HistogramCell> {
    return this.#add(
      { name, type: "histogram", help, labels },
      {
        make: () => new Histogram(bounds),
        lines: (cell, of, text) => cell.render(of, text),
      },
    );
  }

  collect(run: () => void): () => void {
    this.#collectors.add(run);
    return () => this.#collectors.delete(run);
  }

  describe(): readonly MetricDescription[] {
    return [...this.#families.values()].map(({ description }) => description);
  }

  render(): string {
    for (const run of this.#collectors) run();
    let text = "";
    for (const family of this.#families.values()) text += family.render();
    return text;
  }

  #add<Cell>(
    description: MetricDescription,
    cells: CellKind<Cell>,
  ): Family<Cell> {
    const { name } = description;
    if (this.#families.has(name))
      throw new Error(`metric ${name} is registered twice`);
    const family = new SeriesFamily(description, cells, this.#budget);
    this.#families.set(name, family);
    return family;
  }
}

/** Series of all families together. */
interface SeriesBudget {
  used: number;
  readonly most: number;
}

/** How the cells of a type are made and shown. */
interface CellKind<Cell> {
  make(): Cell;
  lines(cell: Cell, name: string, labelText: string): string;
}

interface Series<Cell> {
  readonly cell: Cell;
  readonly values: readonly string[];
  readonly labelText: string;
}

interface Registered {
  readonly description: MetricDescription;
  render(): string;
}

class SeriesFamily<Cell> implements Family<Cell>, Registered {
  readonly description: MetricDescription;
  readonly #kind: CellKind<Cell>;
  readonly #budget: SeriesBudget;
  readonly #series = new Map<string, Series<Cell>>();

  constructor(
    description: MetricDescription,
    kind: CellKind<Cell>,
    budget: SeriesBudget,
  ) {
    this.description = description;
    this.#kind = kind;
    this.#budget = budget;
  }

  with(...values: string[]): Cell {
    const key = values.join("\u0000");
    const known = this.#series.get(key);
    if (known !== undefined) return known.cell;
    const { name, labels } = this.description;
    if (values.length !== labels.length)
      throw new Error(
        `metric ${name} takes ${labels.length} label values, not ${values.length}`,
      );
    if (this.#budget.used < this.#budget.most) {
      this.#budget.used += 1;
      return this.#add(key, values);
    }
    const others = labels.map(() => OVERFLOW_LABEL);
    const overflow = others.join("\u0000");
    return this.#series.get(overflow)?.cell ?? this.#add(overflow, others);
  }

  remove(...values: string[]): void {
    if (this.#series.delete(values.join("\u0000"))) this.#budget.used -= 1;
  }

  *series(): Iterable<readonly [readonly string[], Cell]> {
    for (const { cell, values } of this.#series.values()) yield [values, cell];
  }

  render(): string {
    const { name, type, help } = this.description;
    let text = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
    for (const { cell, labelText } of this.#series.values())
      text += this.#kind.lines(cell, name, labelText);
    return text;
  }

  #add(key: string, values: readonly string[]): Cell {
    const cell = this.#kind.make();
    const labelText = labelTextOf(this.description.labels, values);
    this.#series.set(key, { cell, values, labelText });
    return cell;
  }
}

class Cell implements CounterCell, GaugeCell {
  value = 0;
  add(count = 1): void {
    this.value += count;
  }
  set(value: number): void {
    this.value = value;
  }
}

const CELLS: CellKind<Cell> = {
  make: () => new Cell(),
  lines: (cell, name, text) => `${name}${braced(text)} ${cell.value}\n`,
};

class Histogram implements HistogramCell {
  readonly #bounds: readonly number[];
  /** One more than the bounds: the last counts what is above them all. */
  readonly #counts: Float64Array;
  count = 0;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  record(value: number): void {
    const bounds = this.#bounds;
    let index = 0;
    while (index < bounds.length && value > (bounds[index] ?? Infinity))
      index += 1;
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.count += 1;
    this.sum += value;
  }

  render(name: string, labelText: string): string {
    const prefix = labelText === "" ? "" : `${labelText},`;
    let text = "";
    let cumulative = 0;
    for (const [index, bound] of this.#bounds.entries()) {
      cumulative += this.#counts[index] ?? 0;
      text += `${name}_bucket{${prefix}le="${bound}"} ${cumulative}\n`;
    }
    text += `${name}_bucket{${prefix}le="+Inf"} ${this.count}\n`;
    return `${text}${name}_sum${braced(labelText)} ${this.sum}\n${name}_count${braced(labelText)} ${this.count}\n`;
  }
}

function braced(labelText: string): string {
  return labelText === "" ? "" : `{${labelText}}`;
}

function labelTextOf(
  labels: readonly string[],
  values: readonly string[],
): string {
  return labels
    .map((label, index) => `${label}="${escapeLabel(values[index] ?? "")}"`)
    .join(",");
}

function escapeLabel(value: string): string {
  return value
    .replaceAll("\\", "\\\\")
    .replaceAll("\n", "\\n")
    .replaceAll('"', '\\"');
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
