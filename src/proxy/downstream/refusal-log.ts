/** Log lines of refusals, of which a hostile peer can cause any number: a few a second for each reason, and how many were left out. */
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import { tokenBucket, type TokenBucket } from "../../core/token-bucket.ts";

export interface RefusalLog {
  /** `reason` is one of a fixed set: each is kept. */
  warn(
    message: string,
    reason: string,
    fields: Readonly<Record<string, unknown>>,
  ): void;
  /** Tells of what was left out and has had no line since. */
  catchUp(): void;
}

/** Lines a second for each reason: each is written before the event loop goes on. */
export const REFUSAL_LINES = 5;

interface Known {
  readonly message: string;
  readonly reason: string;
  readonly bucket: TokenBucket;
  suppressed: number;
}

export function makeRefusalLog(logger: Logger, clock: Clock): RefusalLog {
  const known = new Map<string, Known>();
  return {
    warn(message, reason, fields) {
      let entry = known.get(reason);
      if (entry === undefined) {
        const bucket = tokenBucket({
          rate: REFUSAL_LINES,
          burst: REFUSAL_LINES,
        });
        entry = { message, reason, bucket, suppressed: 0 };
        known.set(reason, entry);
      }
      if (!entry.bucket.take(clock.now())) {
        entry.suppressed += 1;
        return;
      }
      const { suppressed } = entry;
      entry.suppressed = 0;
      logger.warn(
        { ...fields, reason, ...(suppressed > 0 ? { suppressed } : {}) },
        message,
      );
    },
    catchUp() {
      for (const entry of known.values()) {
        if (entry.suppressed === 0 || !entry.bucket.take(clock.now())) continue;
        const { message, reason, suppressed } = entry;
        entry.suppressed = 0;
        logger.warn({ reason, suppressed }, message);
      }
    },
  };
}
