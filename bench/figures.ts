/** Every figure that a scenario may give: its name in a table, its digits, and whether it is set beside the reference's. */

interface FigureKind {
  readonly title: string;
  readonly digits: number;
  /** Whether the table shows the ratio to the reference as well; less is better then. */
  readonly compared: boolean;
  /** Whether the lowest and highest run stand beside the median. */
  readonly spread: boolean;
}

const cost = (title: string, digits: number): FigureKind => ({
  title,
  digits,
  compared: true,
  spread: true,
});
const fact = (title: string, digits: number): FigureKind => ({
  title,
  digits,
  compared: false,
  spread: false,
});

export type FigureName =
  | "cpu"
  | "cpuOut"
  | "cpuIn"
  | "cpuMiB"
  | "cpuMessage"
  | "cpuConnection"
  | "perCore"
  | "rate"
  | "messageRate"
  | "connectionRate"
  | "throughput"
  | "p50"
  | "p99"
  | "p999"
  | "delivered"
  | "reached"
  | "rssOut"
  | "rssIn"
  | "rssIdle"
  | "rssLoad"
  | "rssConnections"
  | "perConnection"
  | "growth"
  | "rssHighest"
  | "ready"
  | "rssReady"
  | "share"
  | "stolen";

export const FIGURES: Readonly<Record<FigureName, FigureKind>> = {
  cpu: cost("CPU µs a request", 1),
  cpuOut: fact("outbound", 1),
  cpuIn: fact("inbound", 1),
  cpuMiB: cost("CPU µs a MiB", 0),
  cpuMessage: cost("CPU µs a message", 1),
  cpuConnection: cost("CPU µs a connection", 0),
  perCore: fact("connections/s of a core", 0),
  rate: fact("requests/s", 0),
  messageRate: fact("messages/s", 0),
  connectionRate: fact("connections/s reached", 0),
  throughput: fact("MiB/s", 0),
  p50: cost("p50 ms", 2),
  p99: cost("p99 ms", 2),
  p999: cost("p99.9 ms", 2),
  delivered: fact("spans delivered %", 1),
  reached: fact("of the rate %", 1),
  rssOut: cost("RSS outbound MiB", 0),
  rssIn: cost("RSS inbound MiB", 0),
  rssIdle: cost("RSS idle MiB", 0),
  rssLoad: cost("RSS at 1,000/s MiB", 0),
  rssConnections: cost("RSS with the connections MiB", 0),
  perConnection: cost("KiB a connection", 1),
  growth: cost("growth MiB", 1),
  rssHighest: fact("highest MiB", 0),
  ready: cost("ms to ready", 0),
  rssReady: cost("RSS 5 s after MiB", 0),
  share: fact("share of the busier worker %", 1),
  stolen: { ...fact("stolen %", 1), spread: true },
};

export interface Figure {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** The lower of the two in the middle where their number is even. */
export function summarise(values: readonly number[]): Figure {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    median: sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN,
    lowest: sorted[0] ?? Number.NaN,
    highest: sorted.at(-1) ?? Number.NaN,
  };
}

export function shown(name: FigureName, figure: Figure): string {
  const { digits, spread } = FIGURES[name];
  const text = (value: number): string => value.toFixed(digits);
  return spread && figure.lowest !== figure.highest
    ? `${text(figure.median)} (${text(figure.lowest)}–${text(figure.highest)})`
    : text(figure.median);
}
