/** Load by fortio: so many requests a second, evenly spaced over the connections, whatever the answers take. */
import { fortioArguments, fortioPath, type CallName } from "./calls.ts";
import { runTool, type LoadOptions, type LoadResult } from "./tool.ts";

export interface FortioOptions extends LoadOptions {
  readonly call: CallName;
  readonly tracing: number;
  /** Requests a second. */
  readonly rate: number;
}

/** Seconds: the finest step of the histogram. Its own, a millisecond, is coarser than what is measured. */
const RESOLUTION = "0.00001";

export async function fortio(options: FortioOptions): Promise<LoadResult> {
  const output = await runTool(
    "fortio",
    [
      "load",
      "-quiet",
      // Without it the connections send together, which flatters a proxy that gathers writes.
      "-uniform",
      "-qps",
      String(options.rate),
      "-c",
      String(options.connections),
      "-t",
      `${options.seconds}s`,
      "-r",
      RESOLUTION,
      "-p",
      "50,99,99.9",
      "-json",
      "-",
      ...fortioArguments(options.call, options.tracing),
      `http://127.0.0.1:${options.port}${fortioPath(options.call)}`,
    ],
    options,
  );
  const { rate, ...result } = readReport(output);
  return { ...result, reached: (100 * rate) / options.rate };
}

interface Report {
  readonly ActualQPS: number;
  readonly RetCodes: Readonly<Record<string, number>>;
  readonly DurationHistogram: {
    readonly Count: number;
    readonly Percentiles: readonly {
      readonly Percentile: number;
      readonly Value: number;
    }[];
  };
}

export function readReport(
  output: string,
): LoadResult & { readonly rate: number } {
  const report = JSON.parse(output) as Report;
  const { Count: requests, Percentiles: percentiles } =
    report.DurationHistogram;
  const percentile = (wanted: number): number =>
    (percentiles.find(({ Percentile }) => Percentile === wanted)?.Value ??
      Number.NaN) * 1000;
  return {
    requests,
    errors: requests - (report.RetCodes["200"] ?? 0),
    rate: report.ActualQPS,
    p50: percentile(50),
    p99: percentile(99),
    p999: percentile(99.9),
  };
}
