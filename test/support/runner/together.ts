/** Several test files as one process, which loads what they share once. Their results count only where all is well: else each has to run alone. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import type { FileResult, RunOptions } from "./processes.ts";
import { failures } from "./tap-text.ts";

const PROCESS = join(import.meta.dirname, "together-process.ts");
/** Files of one process: most of what there is to save, and few that run again where one fails. */
const MOST = 20;

/** Files that follow each other and may share a process, in groups; each of the others by itself. */
export function groupsOf(
  files: readonly string[],
  mayShare: (file: string) => boolean,
): string[][] {
  const groups: string[][] = [];
  let open: string[] | undefined;
  for (const file of files) {
    if (!mayShare(file)) groups.push([file]);
    else if (open !== undefined && open.length < MOST) open.push(file);
    else groups.push((open = [file]));
  }
  return groups;
}

export interface Together {
  /** Of the files that were done. */
  readonly results: readonly FileResult[];
  /** Every file has passed, and the process has ended by itself: only then do the results count. */
  readonly well: boolean;
  /** What tap says of failures, and what was written to the standard error. */
  readonly detail: string;
}

export function runTogether(
  files: readonly string[],
  lane: number,
  { root, envOf, nodeArgs = [], timeout, grace = 10 }: RunOptions,
): Promise<Together> {
  return new Promise((resolve) => {
    const [first = ""] = files;
    const child = spawn(process.execPath, [...nodeArgs, PROCESS, ...files], {
      cwd: root,
      env: { ...envOf(first, lane), TAP_TIMEOUT: String(timeout) },
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout?.on("data", (data: Buffer) => (out += data.toString()));
    child.stderr?.on("data", (data: Buffer) => (err += data.toString()));
    const timer = setTimeout(
      () => child.kill("SIGKILL"),
      (timeout + grace) * 1000,
    );
    let told = "";
    child.stdio[3]?.on("data", (data: Buffer) => {
      told += data.toString();
      timer.refresh();
    });
    child.on("exit", (code) => {
      clearTimeout(timer);
      setImmediate(() => {
        const lines = told.split("\n").filter((line) => line !== "");
        const well = code === 0 && lines.length === files.length;
        const detail = well ? "" : `${failures(out)}${err}`;
        resolve({ results: lines.map(resultOf), well, detail });
      });
    });
  });
}

function resultOf(line: string): FileResult {
  const told = JSON.parse(line) as Pick<FileResult, "file" | "counts" | "time">;
  return { ...told, detail: "", cut: false };
}
