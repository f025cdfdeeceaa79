/** Runs a load generator to its end and hands over what it printed. */
import { execFile } from "node:child_process";
import { UserError } from "../../src/core/errors.ts";
import { program } from "../tools.ts";

/** What every generator tells of a run. Latency in milliseconds. */
export interface LoadResult {
  readonly requests: number;
  /** Answers that were no success, and connections that broke. */
  readonly errors: number;
  /** Which errors, where the generator tells them apart. */
  readonly kinds?: string;
  /** Percent of the rate that was asked for, where one was. */
  readonly reached?: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

export interface LoadOptions {
  readonly port: number;
  readonly seconds: number;
  readonly connections: number;
  /** Where the load runs. */
  readonly core: string | undefined;
}

/** Milliseconds that a generator may take beyond its time. */
const GRACE = 30_000;

export function runTool(
  name: string,
  args: readonly string[],
  options: Pick<LoadOptions, "seconds" | "core">,
): Promise<string> {
  const tool = program(name);
  const [file, all] =
    options.core === undefined
      ? [tool, args]
      : [program("taskset"), ["-c", options.core, tool, ...args]];
  const limits = {
    timeout: options.seconds * 1000 + GRACE,
    maxBuffer: 64 * 1024 * 1024,
  };
  return new Promise((resolve, reject) => {
    execFile(file, all, limits, (error, output) => {
      if (error === null) resolve(output);
      else reject(new UserError(`${name} failed: ${error.message}`));
    });
  });
}

/** Figures from a run in which anything failed would mean nothing. */
export function withoutErrors<T extends LoadResult>(result: T): T {
  if (result.errors > 0 || result.requests === 0)
    throw new UserError(
      `${result.errors} of ${result.requests} requests failed${result.kinds === undefined ? "" : ` (${result.kinds})`}; a figure from that would mean nothing`,
    );
  return result;
}
