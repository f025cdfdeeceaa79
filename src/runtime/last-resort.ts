/** The last line of defence: what nobody caught is reported where it can be, and the process ends in order and by a code of its own. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Cancel, Clock } from "../core/clock.ts";
import { timestamp } from "../core/clock.ts";
import { EXIT, messageOf } from "../core/errors.ts";
import { openLogLines, type LogLines } from "../core/machine/log-lines.ts";
import { packageVersion } from "./package.ts";

/** In the state directory; the newest alone is kept. */
export const DEFECT_FILE = "last-defect.json";
/** Milliseconds that exchanges in flight may take after a defect: what goes on may be wrong, too. */
export const DEFECT_DRAIN = 10_000;
/** Milliseconds after which the process ends whatever is left: the drain, and what comes after it. */
const END_WITHIN = DEFECT_DRAIN + 10_000;
/** Characters of a stack that are reported. */
const MOST = 16 * 1024;

/** A process that serves, and what is to be told of it. */
export interface Protected {
  /** "sidecar" */
  readonly component: string;
  readonly stateDirectory: string;
  /** What is in flight, as a help to find the cause. */
  readonly inFlight: () => unknown;
}

export interface LastResort {
  /** From now on the process is to end in order. */
  protect(what: Protected): void;
  /** Tells of a defect and begins the end; at a second one the process ends at once. */
  tell(error: unknown, where: string): void;
  /** A defect is why the process ends. */
  readonly ending: boolean;
}

export interface LastResortOptions {
  readonly clock: Clock;
  /** Asks for an end in order, as SIGTERM does. */
  readonly stop: () => void;
  /** Ends the process at once. */
  readonly exit: (code: number) => void;
  readonly lines?: LogLines;
}

/** Takes over what Node would end the process for. Promises that nobody waits for come here as well. */
export function watchForDefects(options: LastResortOptions): LastResort {
  const lastResort = new Defence(options);
  process.on("uncaughtException", (error, origin) =>
    lastResort.tell(error, origin),
  );
  return lastResort;
}

export class Defence implements LastResort {
  readonly #clock: Clock;
  readonly #stop: () => void;
  readonly #exit: (code: number) => void;
  /** Opened at the beginning: later there may be no handle left for it. */
  readonly #lines: LogLines;
  #protected: Protected | undefined;
  #cancel: Cancel | undefined;

  constructor(options: LastResortOptions) {
    const { clock, stop, exit, lines } = options;
    this.#clock = clock;
    this.#stop = stop;
    this.#exit = exit;
    this.#lines = lines ?? openLogLines({ descriptor: 2, tell: lostLines });
  }

  get ending(): boolean {
    return this.#cancel !== undefined;
  }

  protect(what: Protected): void {
    this.#protected = what;
  }

  tell(error: unknown, where: string): void {
    const second = this.ending;
    // First of all, so that an error below is the second one.
    this.#cancel ??= this.#clock.after(END_WITHIN, () => this.#end());
    const what = this.#protected;
    if (what === undefined) {
      this.#lines.write(`error: ${stackOf(error)}\n`);
      this.#end();
      return;
    }
    const report = this.#report(what, error, where, second);
    this.#lines.write(`${JSON.stringify(report)}\n`);
    // The first is the cause, as far as anybody can tell.
    if (!second) keep(what.stateDirectory, report);
    if (second) this.#end();
    else this.#stop();
  }

  #end(): void {
    this.#cancel?.();
    this.#lines.flush();
    this.#exit(EXIT.defect);
  }

  #report(
    { component, inFlight }: Protected,
    error: unknown,
    where: string,
    second: boolean,
  ): object {
    return {
      level: "fatal",
      time: timestamp(this.#clock.wall()),
      component,
      version: attempt(packageVersion),
      node: process.version,
      where,
      error: messageOf(error),
      stack: stackOf(error),
      inFlight: attempt(inFlight),
      msg: second
        ? "a second error that nobody caught: this process ends at once"
        : "an error that nobody caught, a defect: this process ends in order, to be started again",
    };
  }
}

/** The stack with those of its causes. */
function stackOf(thrown: unknown): string {
  let text = "";
  for (
    let error: unknown = thrown, depth = 0;
    error !== undefined && depth < 5;
    depth += 1
  ) {
    text += `${depth === 0 ? "" : "\ncaused by "}${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}`;
    error = error instanceof Error ? error.cause : undefined;
  }
  return text.slice(0, MOST);
}

function keep(stateDirectory: string, report: object): void {
  try {
    writeFileSync(
      join(stateDirectory, DEFECT_FILE),
      `${JSON.stringify(report, undefined, 2)}\n`,
      { mode: 0o600 },
    );
  } catch {
    // A disk that is full or may only be read: standard error has it.
  }
}

/** A report must not fail for what it asks of a process that is in an unknown state. */
function attempt<T>(ask: () => T): T | string {
  try {
    return ask();
  } catch (thrown) {
    return `unknown: ${messageOf(thrown)}`;
  }
}

function lostLines(lost: number): string {
  return `${JSON.stringify({ level: "warn", lost, msg: "reports of defects are lost: standard error did not take them" })}\n`;
}
