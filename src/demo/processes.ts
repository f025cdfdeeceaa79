/** Child processes of the demo: each with a log file, none outliving its parent. */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { MAIN } from "../runtime/package.ts";

/** Set for children that are to stop when their standard input ends: that is when their parent is gone, however it went. */
export const STOP_WITH_PARENT = "WHERRY_STOP_WITH_PARENT";

export interface ProcessOptions {
  /** "catalog-1/sidecar" */
  readonly name: string;
  /** Arguments of `wherry`. */
  readonly args: readonly string[];
  /** Flags of Node itself. */
  readonly nodeFlags?: readonly string[];
  readonly logFile: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Told when the process ends without having been asked to. */
  readonly onUnexpectedExit: (how: string) => void;
}

export interface ManagedProcess {
  readonly name: string;
  readonly pid: number | undefined;
  readonly running: boolean;
  start(): void;
  /** SIGTERM, and SIGKILL where that has no effect within ten seconds. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

const PATIENCE = 10_000;

export function manageProcess(options: ProcessOptions): ManagedProcess {
  let child: ChildProcess | undefined;
  let asked = false;
  const ended = (process: ChildProcess): Promise<void> =>
    process.exitCode !== null || process.signalCode !== null
      ? Promise.resolve()
      : new Promise((resolve) => void process.once("exit", () => resolve()));
  return {
    name: options.name,
    get pid() {
      return child?.pid;
    },
    get running() {
      return child !== undefined;
    },
    start() {
      if (child !== undefined) return;
      asked = false;
      const log = openSync(options.logFile, "a", 0o600);
      const started = spawn(
        process.execPath,
        [
          ...process.execArgv,
          ...(options.nodeFlags ?? []),
          MAIN,
          ...options.args,
        ],
        {
          stdio: ["pipe", log, log],
          // A group of its own: Ctrl-C in the terminal reaches the demo, which stops its children in order.
          detached: true,
          env: {
            ...process.env,
            ...options.environment,
            [STOP_WITH_PARENT]: "1",
          },
        },
      );
      closeSync(log);
      // The pipe breaks when the child ends; that is told by "exit".
      started.stdin?.on("error", () => undefined);
      child = started;
      const over = (how: string): void => {
        if (child !== started) return;
        child = undefined;
        if (!asked) options.onUnexpectedExit(how);
      };
      started.once("error", (error) => over(error.message));
      started.once("exit", (code, signal) =>
        over(signal ?? `exit code ${String(code)}`),
      );
    },
    async stop() {
      const stopping = child;
      if (stopping === undefined) return;
      asked = true;
      const cancel = options.clock.after(
        PATIENCE,
        () => void stopping.kill("SIGKILL"),
      );
      stopping.kill("SIGTERM");
      await ended(stopping);
      cancel();
    },
    async kill() {
      const killed = child;
      if (killed === undefined) return;
      asked = true;
      killed.kill("SIGKILL");
      await ended(killed);
    },
  };
}
