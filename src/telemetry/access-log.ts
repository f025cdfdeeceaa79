/** One JSON line a request: errors and refusals always, at a bounded rate; everything when asked. */
import { pino } from "pino";
import { timestamp, type Clock } from "../core/clock.ts";
import { tokenBucket } from "../core/token-bucket.ts";

export type AccessLogMode = "errors" | "all" | "none";

export interface AccessRecord {
  readonly direction: "outbound" | "inbound";
  readonly method: string;
  readonly authority: string;
  /** Normalised, without the query: queries carry credentials. */
  readonly path: string;
  readonly protocol: string;
  /** 0 where the exchange ended without a status. */
  readonly status: number;
  /** Our reason code, where we refused or failed. */
  readonly reason: string | undefined;
  /** "NAMESPACE/NAME" of the policy that decided. */
  readonly policy: string | undefined;
  readonly detail: string | undefined;
  readonly durationMs: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly traceId: string;
  /** The caller's SPIFFE id, from its certificate. */
  readonly peer: string | undefined;
  /** "orders.shop:80" */
  readonly destination: string | undefined;
  readonly route: string | undefined;
  /** Address and port of the last attempt. */
  readonly endpoint: string | undefined;
  readonly attempts: number;
}

export interface AccessLog {
  /** True where `write` would do something for this record: ask before building one. */
  wants(status: number, reason: string | undefined): boolean;
  write(record: AccessRecord): void;
  close(): void;
}

export interface AccessLogOptions {
  readonly mode: AccessLogMode;
  readonly clock: Clock;
  /** The file that lines are appended to; standard output where absent. */
  readonly file?: string;
  /** Takes the lines in place of a file. */
  readonly write?: (line: string) => void;
}

/** Lines a second in mode "errors": a failing mesh must not also drown its disk. */
const ERRORS_A_SECOND = 100;

export function makeAccessLog(options: AccessLogOptions): AccessLog {
  const { mode, clock } = options;
  const destination =
    options.write === undefined
      ? pino.destination({
          dest: options.file ?? 1,
          sync: false,
          minLength: 4096,
          periodicFlush: 500,
        })
      : undefined;
  const emit =
    options.write ?? ((line: string) => void destination?.write(line));
  const bucket = tokenBucket({ rate: ERRORS_A_SECOND, burst: ERRORS_A_SECOND });
  let suppressed = 0;
  return {
    wants: (status, reason) =>
      mode === "all" ||
      (mode === "errors" &&
        (reason !== undefined || status >= 500 || status === 0)),
    write(record) {
      if (mode === "errors" && !bucket.take(clock.now())) {
        suppressed += 1;
        return;
      }
      const line = {
        time: timestamp(clock.wall()),
        ...record,
        durationMs: Math.round(record.durationMs * 1000) / 1000,
        ...(suppressed > 0 ? { suppressed } : {}),
      };
      suppressed = 0;
      emit(`${JSON.stringify(line)}\n`);
    },
    close() {
      destination?.flushSync();
    },
  };
}
