/** Load by wrk: closed loop, as fast as it goes. */
import { execFile } from "node:child_process";
import { UserError } from "../src/core/errors.ts";

export interface LoadResult {
  readonly requests: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Answers that were no 2xx, and connections that broke. */
  readonly errors: number;
}

export interface LoadOptions {
  readonly port: number;
  readonly host: string;
  readonly seconds: number;
  readonly connections: number;
  readonly core: string | undefined;
}

export function wrk(options: LoadOptions): Promise<LoadResult> {
  const own = [
    "wrk",
    "-t1",
    `-c${options.connections}`,
    `-d${options.seconds}s`,
    "--latency",
    "-H",
    `Host: ${options.host}`,
    `http://127.0.0.1:${options.port}/`,
  ];
  const [program = "", ...args] =
    options.core === undefined ? own : ["taskset", "-c", options.core, ...own];
  return new Promise((resolve, reject) => {
    execFile(
      program,
      args,
      { timeout: (options.seconds + 30) * 1000 },
      (error, output) => {
        if (error === null) resolve(readReport(output));
        else reject(new UserError(`wrk failed: ${error.message}`));
      },
    );
  });
}

/** What wrk prints, in numbers. */
export function readReport(output: string): LoadResult {
  const percentile = (percent: string): number => {
    const [, value = "NaN", unit = "ms"] =
      new RegExp(`^\\s*${percent}%\\s+([0-9.]+)(us|ms|s)$`, "m").exec(output) ??
      [];
    return Number(value) * (unit === "us" ? 0.001 : unit === "s" ? 1000 : 1);
  };
  const socketErrors =
    /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/
      .exec(output)
      ?.slice(1) ?? [];
  const refused = Number(
    /Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0,
  );
  return {
    requests: Number(/^\s*(\d+) requests in/m.exec(output)?.[1] ?? 0),
    p50: percentile("50"),
    p99: percentile("99"),
    errors:
      refused + socketErrors.reduce((sum, count) => sum + Number(count), 0),
  };
}
