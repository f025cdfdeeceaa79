/** The one logger: JSON lines on standard error, or readable lines where a person watches. */
import { pino, type Logger as PinoLogger } from "pino";
import { systemClock, timestamp } from "./clock.ts";
import { openLogLines } from "./machine/log-lines.ts";
import { harmless } from "./text/json.ts";

export type Logger = PinoLogger;

export interface LoggerOptions {
  readonly level: string;
  /** Fields on every line: component, workload. */
  readonly bindings?: Readonly<Record<string, string>>;
}

export function makeLogger(options: LoggerOptions): Logger {
  return pino(
    {
      level: options.level,
      base: options.bindings ?? null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    standardError(),
  );
}

function standardError(): pino.DestinationStream {
  const lines = openLogLines({
    descriptor: 2,
    tell: (lost) =>
      `${JSON.stringify({
        level: "warn",
        time: timestamp(systemClock.wall()),
        lost,
        msg: "log lines are lost: standard error did not take them",
      })}\n`,
  });
  process.once("exit", () => lines.flush());
  return { write: (line) => lines.write(harmless(line)) };
}

/**
 * The last catch of work that nobody waits for. It deals with the errors that it knows: any other is a defect, which ends nothing that
 * serves.
 */
export function defectIn(
  logger: Logger,
  work: string,
): (thrown: unknown) => void {
  return (thrown) =>
    logger.error(
      { error: thrown instanceof Error ? thrown.stack : String(thrown) },
      `a defect: ${work} failed, and this process goes on`,
    );
}

/** Says nothing; for tests and for library use. */
export const silentLogger: Logger = pino({ level: "silent" });
