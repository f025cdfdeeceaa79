/** Child processes of the demo: each with a log file, none outliving its parent. */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { missingFlags } from "../runtime/node-flags.ts";
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
  /** What asks it for an end in order; SIGTERM where absent. */
  readonly stopSignal?: NodeJS.Signals;
  readonly environment?: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Told when the process ends without having been asked to. */
  readonly onUnexpectedExit: (how: string) => void;
}

/** Milliseconds. */
const PATIENCE = 10_000;

export interface ManagedProcess {
  readonly name: string;
  readonly pid: number | undefined;
  readonly running: boolean;
  start(): void;
  /** Asks for an end in order, and SIGKILL where that has no effect within ten seconds. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

export function manageProcess(options: ProcessOptions): ManagedProcess {
  return new Child(options);
}

class Child implements ManagedProcess {
  readonly #options: ProcessOptions;
  #child: ChildProcess | undefined;
  /** Whether the end was asked for. */
  #asked = false;

  constructor(options: ProcessOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  start(): void {
    if (this.#child !== undefined) return;
    this.#asked = false;
    const started = launch(this.#options);
    this.#child = started;
    const over = (how: string): void => {
      if (this.#child !== started) return;
      this.#child = undefined;
      if (!this.#asked) this.#options.onUnexpectedExit(how);
    };
    started.once("error", (error) => over(error.message));
    started.once("exit", (code, signal) =>
      over(signal ?? `exit code ${String(code)}`),
    );
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#asked = true;
    const cancel = this.#options.clock.after(PATIENCE, () =>
      child.kill("SIGKILL"),
    );
    child.kill(this.#options.stopSignal ?? "SIGTERM");
    await ended(child);
    cancel();
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#asked = true;
    child.kill("SIGKILL");
    await ended(child);
  }
}

function launch(options: ProcessOptions): ChildProcess {
  const { args, nodeFlags = [], logFile, environment } = options;
  const log = openSync(logFile, "a", 0o600);
  const child = spawn(
    process.execPath,
    [...process.execArgv, ...missingFlags(nodeFlags), MAIN, ...args],
    {
      stdio: ["pipe", log, log],
      // A group of its own: Ctrl-C in the terminal reaches the demo, which stops its children in order.
      detached: true,
      env: { ...process.env, ...environment, [STOP_WITH_PARENT]: "1" },
    },
  );
  closeSync(log);
  // The pipe breaks when the child ends; "exit" reports that.
  child.stdin?.on("error", () => undefined);
  return child;
}

function ended(child: ChildProcess): Promise<void> {
  return child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once("exit", () => resolve()));
}
