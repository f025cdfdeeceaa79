/** Load by wrk: a closed loop, as fast as it goes. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UserError } from "../../src/core/errors.ts";
import {
  wrkScript,
  type BodyCall,
  type CallName,
  type TokenCall,
} from "./calls.ts";
import { runTool, type LoadOptions, type LoadResult } from "./tool.ts";

export interface WrkOptions extends LoadOptions {
  readonly call: CallName | BodyCall | TokenCall;
  readonly tracing: number;
}

export interface WrkResult extends LoadResult {
  /** Seconds that it took. */
  readonly seconds: number;
  /** Bytes that came back, heads included. */
  readonly bytes: number;
}

/** wrk's own report rounds; this is one line of JSON. */
const REPORT = `
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%d,"seconds":%.6f,"bytes":%d,"errors":%d,"kinds":"%s","p50":%.4f,"p99":%.4f,"p999":%.4f}\\n',
    summary.requests, summary.duration / 1e6, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout,
    string.format("connect %d, read %d, write %d, status %d, timeout %d", e.connect, e.read, e.write, e.status, e.timeout),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
`;

export async function wrk(options: WrkOptions): Promise<WrkResult> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-wrk-"));
  try {
    const script = join(directory, "call.lua");
    await writeFile(
      script,
      `${wrkScript(options.call, options.tracing)}${REPORT}`,
    );
    const output = await runTool(
      "wrk",
      [
        "-t1",
        `-c${options.connections}`,
        `-d${options.seconds}s`,
        "--timeout",
        "10s",
        "-s",
        script,
        `http://127.0.0.1:${options.port}/`,
      ],
      options,
    );
    return readReport(output);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export function readReport(output: string): WrkResult {
  const line = output.split("\n").find((each) => each.startsWith("{"));
  if (line === undefined)
    throw new UserError(`wrk printed no figures: ${output.slice(-500)}`);
  return JSON.parse(line) as WrkResult;
}
