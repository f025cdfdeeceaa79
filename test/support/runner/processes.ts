/** Runs test files, each or several as a process of plain Node: no loader, as Node strips types by itself. */
import { spawn, type ChildProcess } from "node:child_process";
import { failures, NOTHING, totals, type Counts } from "./tap-text.ts";
import { groupsOf, runTogether } from "./together.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface FileResult {
  readonly file: string;
  readonly counts: Counts;
  /** Milliseconds. */
  readonly time: number;
  /** Failed assertions and what was written to the standard error; empty where all passed. */
  readonly detail: string;
  /** Ended early, by the signal that it was given. */
  readonly cut: boolean;
}

export interface RunOptions {
  readonly root: string;
  /** The environment of a file, beside those of all others that run: `lane` is a number that none of them has. */
  readonly envOf: (file: string, lane: number) => NodeJS.ProcessEnv;
  /** What Node is given before the name of the file. */
  readonly nodeArgs?: readonly string[];
  /** Processes at once, beside the one of a file that waits. */
  readonly jobs: number;
  /** Tells of a file that waits for most of its time: one after the other, such files run beside the others. */
  readonly waits?: (file: string) => boolean;
  /** Tells of a file that leaves nothing behind in its process, and may share it with others. */
  readonly mayShare?: (file: string) => boolean;
  /** Seconds that a file may take: after these tap fails what is running. */
  readonly timeout: number;
  /** Further seconds until the process is killed; 10 where it is not said. */
  readonly grace?: number;
  /** Asked before each file: what ends it early, if anything does. It does not begin where that has happened already. */
  readonly endOf?: (file: string) => AbortSignal | undefined;
  onResult(result: FileResult): void;
  /** Told of files that have to run again, each alone, which of them failed or were not done, and how. */
  onApart?(
    files: readonly string[],
    unwell: readonly string[],
    detail: string,
  ): void;
}

export async function runFiles(
  files: readonly string[],
  options: RunOptions,
): Promise<void> {
  const { waits = () => false, mayShare = () => false } = options;
  const waiting = groupsOf(files.filter(waits), () => false);
  const busy = groupsOf(
    files.filter((file) => !waits(file)),
    mayShare,
  );
  const groups = new Set<ChildProcess>();
  const alone = async (file: string, lane: number): Promise<void> => {
    const early = options.endOf?.(file);
    if (early?.aborted !== true)
      options.onResult(await runFile(file, lane, early, groups, options));
  };
  const passTogether = async (
    together: readonly string[],
    lane: number,
  ): Promise<boolean> => {
    const { results, well, detail } = await runTogether(
      together,
      lane,
      options,
    );
    if (well) for (const result of results) options.onResult(result);
    else options.onApart?.(together, unwell(together, results), detail);
    return well;
  };
  const worker = async (queue: string[][], lane: number): Promise<void> => {
    for (;;) {
      const together = queue.shift();
      if (together === undefined) return;
      if (together.length === 1 || !(await passTogether(together, lane)))
        for (const file of together) await alone(file, lane);
    }
  };
  // Ctrl-C reaches the group of this process alone.
  const interrupted = (signal: NodeJS.Signals): void => {
    groups.forEach(killGroup);
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.once(signal, interrupted);
  await Promise.all([
    worker(waiting, 0),
    ...Array.from({ length: options.jobs }, (_, job) => worker(busy, job + 1)),
  ]);
  for (const signal of SIGNALS) process.off(signal, interrupted);
}

function unwell(
  files: readonly string[],
  results: readonly FileResult[],
): string[] {
  const passed = new Set(
    results.flatMap(({ file, counts }) => (counts.failed > 0 ? [] : [file])),
  );
  return files.filter((file) => !passed.has(file));
}

function runFile(
  file: string,
  lane: number,
  early: AbortSignal | undefined,
  groups: Set<ChildProcess>,
  { root, envOf, nodeArgs = [], timeout, grace = 10 }: RunOptions,
): Promise<FileResult> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...nodeArgs, file], {
      cwd: root,
      env: { ...envOf(file, lane), TAP_TIMEOUT: String(timeout) },
      stdio: ["ignore", "pipe", "pipe"],
      // A file that is ended early takes the processes that it started with it.
      detached: early !== undefined,
    });
    let out = "";
    let err = "";
    let cut = false;
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
    const endEarly = (): void => {
      cut = true;
      killGroup(child);
    };
    if (early !== undefined) {
      groups.add(child);
      early.addEventListener("abort", endEarly);
    }
    // Not "close": a process that the test left behind may hold the pipes.
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      early?.removeEventListener("abort", endEarly);
      groups.delete(child);
      setImmediate(() => {
        const time = performance.now() - begun;
        const judged = cut ? judgeCut(out) : judge(out, err, code ?? signal);
        resolve({ file, time, cut, ...judged });
      });
    });
  });
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // It has just ended by itself.
  }
}

/** Its totals are missing, and what had failed by then has failed. */
function judgeCut(out: string): Pick<FileResult, "counts" | "detail"> {
  const detail = failures(out);
  return { counts: { ...NOTHING, failed: detail === "" ? 0 : 1 }, detail };
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
