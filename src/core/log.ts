/** The one logger: JSON lines on standard error, or readable lines where a person watches. */
import { pino, type Logger as PinoLogger } from "pino";

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
    pino.destination({ fd: 2, sync: true }),
  );
}

/** Says nothing; for tests and for library use. */
export const silentLogger: Logger = pino({ level: "silent" });
