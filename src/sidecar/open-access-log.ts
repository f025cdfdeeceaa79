/** The access log of a sidecar: the first worker's, and the file that the lines of all workers go to. */
import type { Clock } from "../core/clock.ts";
import {
  makeAccessLog,
  openAccessFile,
  type AccessLog,
} from "../telemetry/access-log.ts";
import type { LineSink, LogFileSink } from "../telemetry/line-file.ts";
import type { SidecarSettings } from "./settings.ts";

export interface OpenAccessLog {
  readonly accessLog: AccessLog;
  readonly sink: LineSink;
  /** As `LogFileSink` has it. */
  reopen(): boolean;
  close(): void;
}

/** The access log of the first worker, and the file that those of all go to. */
export function openAccessLog(
  { accessLog: mode, accessLogFile, concurrency }: SidecarSettings,
  writeAccessLog: ((line: string) => void) | undefined,
  clock: Clock,
): OpenAccessLog {
  const sink =
    mode === "none" || writeAccessLog !== undefined
      ? NOWHERE
      : openAccessFile(accessLogFile, clock);
  const accessLog = makeAccessLog({
    mode,
    clock,
    sink,
    share: 1 / concurrency,
    ...(writeAccessLog === undefined ? {} : { write: writeAccessLog }),
  });
  return {
    accessLog,
    sink,
    reopen: () => sink.reopen(),
    close() {
      accessLog.close();
      sink.close();
    },
  };
}

/** For a test that reads the first worker's lines as they come. */
const NOWHERE: LogFileSink = {
  take: (block, _length, done) => done(block),
  last: nothing,
  reopen: () => false,
  close: nothing,
};

function nothing(): void {
  // There is no file.
}
