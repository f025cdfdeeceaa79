/** Figures to a table that people read and to JSON that programs do. */
import { differences, FEATURES, type Feature, type Peer } from "./peer.ts";
import type { HopRun } from "./scenarios/hop.ts";

export interface PeerRuns {
  readonly peer: Peer;
  readonly runs: readonly HopRun[];
}

export interface Figure {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

export interface PeerReport {
  readonly name: string;
  readonly version: string;
  readonly features: readonly Feature[];
  /** CPU microseconds a request of the pair. */
  readonly cpu: Figure;
  readonly outboundCpu: Figure;
  readonly inboundCpu: Figure;
  readonly requestsASecond: Figure;
  readonly p50: Figure;
  readonly p99: Figure;
  /** MiB, the larger of the two proxies. */
  readonly rss: Figure;
  /** CPU beside that of the reference; undefined where the features differ. */
  readonly ratio: number | undefined;
  /** What one of the two has on and the other has not. */
  readonly unequal: readonly Feature[];
}

/** Every peer beside the reference, which is the peer that the others are measured against. */
export function reportOf(
  all: readonly PeerRuns[],
  reference: string,
): PeerReport[] {
  const against = all.find(({ peer }) => peer.name === reference);
  return all.map(({ peer, runs }) => {
    const cpu = figure(runs.map((run) => run.outboundCpu + run.inboundCpu));
    const unequal =
      against === undefined ? [] : differences(peer, against.peer);
    const base =
      against === undefined
        ? Number.NaN
        : figure(against.runs.map((run) => run.outboundCpu + run.inboundCpu))
            .median;
    return {
      name: peer.name,
      version: peer.version,
      features: [...peer.features],
      cpu,
      outboundCpu: figure(runs.map((run) => run.outboundCpu)),
      inboundCpu: figure(runs.map((run) => run.inboundCpu)),
      requestsASecond: figure(runs.map((run) => run.requestsASecond)),
      p50: figure(runs.map((run) => run.p50)),
      p99: figure(runs.map((run) => run.p99)),
      rss: figure(runs.map((run) => Math.max(run.outboundRss, run.inboundRss))),
      ratio:
        against === undefined || unequal.length > 0
          ? undefined
          : cpu.median / base,
      unequal,
    };
  });
}

function figure(values: readonly number[]): Figure {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    median: sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN,
    lowest: sorted[0] ?? Number.NaN,
    highest: sorted.at(-1) ?? Number.NaN,
  };
}

/** A Markdown table; medians, with the lowest and the highest run in parentheses where they say something of the noise. */
export function markdown(
  reports: readonly PeerReport[],
  reference: string,
): string {
  const spread = (
    { median, lowest, highest }: Figure,
    digits: number,
  ): string =>
    `${median.toFixed(digits)} (${lowest.toFixed(digits)}–${highest.toFixed(digits)})`;
  const header = [
    "proxy",
    "CPU µs a request",
    "out + in",
    `ratio to ${reference}`,
    "requests/s",
    "p50 ms",
    "p99 ms",
    "RSS MiB",
  ];
  const rows = reports.map((report) => [
    `${report.name} ${report.version}`,
    spread(report.cpu, 1),
    `${report.outboundCpu.median.toFixed(1)} + ${report.inboundCpu.median.toFixed(1)}`,
    report.ratio === undefined ? "no comparison" : report.ratio.toFixed(2),
    report.requestsASecond.median.toFixed(0),
    spread(report.p50, 2),
    spread(report.p99, 2),
    report.rss.median.toFixed(0),
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |\n`;
  return `${line(header)}${line(widths.map((width) => "-".repeat(width)))}${rows.map(line).join("")}`;
}

/** What each side had on, feature by feature, and which rows are therefore no comparison. */
export function featureTable(
  reports: readonly PeerReport[],
  reference: string,
): string {
  const rows = Object.entries(FEATURES).map(([feature, meaning]) => {
    const marks = reports
      .map((report) =>
        (report.features.includes(feature as Feature) ? "on" : "–").padEnd(12),
      )
      .join("");
    return `  ${marks}${meaning}\n`;
  });
  const notes = reports
    .filter((report) => report.unequal.length > 0)
    .map(
      (report) =>
        `${report.name} beside ${reference} is no comparison: they differ in ${report.unequal.join(", ")}.\n`,
    );
  return `  ${reports.map((report) => report.name.padEnd(12)).join("")}\n${rows.join("")}${notes.join("")}`;
}
