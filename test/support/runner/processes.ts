/** Runs test files, each as a process of plain Node: no loader, as Node strips types by itself. */
import { spawn } from "node:child_process";
import { failures, NOTHING, totals, type Counts } from "./tap-text.ts";

export interface FileResult {
  readonly file: string;
  readonly counts: Counts;
  /** Milliseconds. */
  readonly time: number;
  /** Failed assertions and what was written to the standard error; empty where all passed. */
  readonly detail: string;
}

export interface RunOptions {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  /** Processes at once. */
  readonly jobs: number;
  /** Seconds that a file may take: after these tap fails what is running. */
  readonly timeout: number;
  /** Further seconds until the process is killed; 10 where it is not said. */
  readonly grace?: number;
  /** Asked before each file: false ends the run with those that have begun. */
  readonly goOn?: (file: string) => boolean;
  onResult(result: FileResult): void;
}

export async function runFiles(
  files: readonly string[],
  options: RunOptions,
): Promise<void> {
  const waiting = [...files];
  const worker = async (): Promise<void> => {
    for (;;) {
      const file = waiting[0];
      if (file === undefined || options.goOn?.(file) === false) return;
      waiting.shift();
      options.onResult(await runFile(file, options));
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, worker));
}

function runFile(
  file: string,
  { root, env, timeout, grace = 10 }: RunOptions,
): Promise<FileResult> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [file], {
      cwd: root,
      env: { ...env, TAP_TIMEOUT: String(timeout) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout
      .setEncoding("utf8")
      .on("data", (text: string) => (out += text));
    child.stderr
      .setEncoding("utf8")
      .on("data", (text: string) => (err += text));
    const timer = setTimeout(
      () => child.kill("SIGKILL"),
      (timeout + grace) * 1000,
    );
    // Not "close": a process that the test left behind may hold the pipes.
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      setImmediate(() => {
        const time = performance.now() - begun;
        resolve({ file, time, ...judge(out, err, code ?? signal) });
      });
    });
  });
}

/** A process that died before its totals has failed once more than it can tell. */
function judge(
  out: string,
  err: string,
  end: number | NodeJS.Signals | null,
): Pick<FileResult, "counts" | "detail"> {
  const told = totals(out) ?? NOTHING;
  const failed = end !== 0 && told.failed === 0 ? 1 : told.failed;
  return {
    counts: { ...told, failed },
    detail:
      failed === 0 ? "" : `${failures(out)}${err}ended with ${String(end)}\n`,
  };
}
