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

interface Registered {
  readonly description: MetricDescription;
  render(): string;
}

export interface MetricsOptions {
  /** Series of all families together; what comes later is counted under `OVERFLOW_LABEL` (law 10). */
  readonly maxSeries: number;
}

export function makeMetrics(options: MetricsOptions): MetricsRegistry {
  const families = new Map<string, Registered>();
  const collectors = new Set<() => void>();
  let series = 0;

  function family<Cell>(
    type: MetricType,
    name: string,
    help: string,
    labels: readonly string[],
    make: () => Cell,
    lines: (cell: Cell, labelText: string) => string,
  ): Family<Cell> {
    if (families.has(name))
      throw new Error(`metric ${name} is registered twice`);
    const cells = new Map<
      string,
      {
        readonly cell: Cell;
        readonly values: readonly string[];
        readonly labelText: string;
      }
    >();
    const add = (key: string, values: readonly string[]): Cell => {
      const cell = make();
      cells.set(key, { cell, values, labelText: labelTextOf(labels, values) });
      return cell;
    };
    families.set(name, {
      description: { name, type, help, labels },
      render() {
        let text = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
        for (const { cell, labelText } of cells.values())
          text += lines(cell, labelText);
        return text;
      },
    });
    return {
      with(...values) {
        const key = values.join("\u0000");
        const known = cells.get(key);
        if (known !== undefined) return known.cell;
        if (values.length !== labels.length)
          throw new Error(
            `metric ${name} takes ${labels.length} label values, not ${values.length}`,
          );
        if (series < options.maxSeries) {
          series += 1;
          return add(key, values);
        }
        const others = labels.map(() => OVERFLOW_LABEL);
        const overflow = others.join("\u0000");
        return cells.get(overflow)?.cell ?? add(overflow, others);
      },
      remove(...values) {
        if (cells.delete(values.join("\u0000"))) series -= 1;
      },
      *series() {
        for (const { cell, values } of cells.values()) yield [values, cell];
      },
    };
  }

  return {
    counter: (name, help, labels = []) =>
      family(
        "counter",
        name,
        help,
        labels,
        makeCell,
        (cell, text) => `${name}${braced(text)} ${cell.value}\n`,
      ),
    gauge: (name, help, labels = []) =>
      family(
        "gauge",
        name,
        help,
        labels,
        makeCell,
        (cell, text) => `${name}${braced(text)} ${cell.value}\n`,
      ),
    histogram: (name, help, labels, bounds) =>
      family(
        "histogram",
        name,
        help,
        labels,
        () => new Histogram(bounds),
        (cell, text) => cell.render(name, text),
      ),
    collect(run) {
      collectors.add(run);
      return () => collectors.delete(run);
    },
    describe: () => [...families.values()].map((each) => each.description),
    render() {
      for (const run of collectors) run();
      let text = "";
      for (const each of families.values()) text += each.render();
      return text;
    },
  };
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

function makeCell(): Cell {
  return new Cell();
}

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
