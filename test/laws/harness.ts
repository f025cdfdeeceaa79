/** What the tests of the laws share: a logger whose lines are kept, and an application that counts. */
import { pino } from "pino";
import type { Logger } from "../../src/core/log.ts";

/** A line of the sidecar's own log. */
export type LogLine = Readonly<Record<string, unknown>>;

export interface KeptLog {
  readonly logger: Logger;
  readonly lines: readonly LogLine[];
}

export function keptLog(): KeptLog {
  const lines: LogLine[] = [];
  const logger = pino(
    { level: "debug", base: null },
    { write: (text: string) => lines.push(JSON.parse(text) as LogLine) },
  );
  return { logger, lines };
}
