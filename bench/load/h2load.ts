/** Load by h2load: HTTP/2 in the clear with prior knowledge, a closed loop over streams. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HOST } from "../peer.ts";
import { runTool, type LoadOptions, type LoadResult } from "./tool.ts";

export interface H2loadOptions extends LoadOptions {
  /** Requests under way on each connection. */
  readonly streams: number;
}

export async function h2load(options: H2loadOptions): Promise<LoadResult> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-h2load-"));
  try {
    const log = join(directory, "requests");
    const output = await runTool(
      "h2load",
      [
        ...["-t", "1", "-c", String(options.connections)],
        ...["-m", String(options.streams), "-D", `${options.seconds}s`],
        ...["-H", `:authority: ${HOST}`, `--log-file=${log}`],
        `http://127.0.0.1:${options.port}/`,
      ],
      options,
    );
    return { ...readReport(output), ...readLog(await readFile(log, "utf8")) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What it prints: streams that the end of its time cut off are among neither. */
export function readReport(
  output: string,
): Pick<LoadResult, "requests" | "errors"> {
  const count = (pattern: RegExp): number =>
    Number(pattern.exec(output)?.[1] ?? 0);
  const requests = count(/(\d+) succeeded/);
  return {
    requests,
    errors:
      count(/(\d+) failed/) +
      count(/(\d+) errored/) +
      requests -
      count(/status codes: (\d+) 2xx/),
  };
}

/** Its log has a line for each request: start, status and microseconds. Its own report has no percentiles. */
export function readLog(
  text: string,
): Pick<LoadResult, "p50" | "p99" | "p999"> {
  const micros = Float64Array.from(
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => Number(line.split("\t")[2])),
  ).sort();
  const percentile = (percent: number): number =>
    (micros[Math.floor((micros.length - 1) * (percent / 100))] ?? Number.NaN) /
    1000;
  return { p50: percentile(50), p99: percentile(99), p999: percentile(99.9) };
}
