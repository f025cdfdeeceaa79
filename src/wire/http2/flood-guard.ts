/** Counts the cheap frames by which a peer could keep us busy, and ends the connection that sends too many a second. */
import { ConnectionError, ErrorCode } from "./frames.ts";
import type { Http2Limits } from "./limits.ts";

/** The kinds of frame that are counted. */
export type Nuisance =
  "reset" | "settings" | "ping" | "empty" | "tinyUpdate" | "stray";

const LIMIT_OF: Readonly<Record<Nuisance, keyof Http2Limits>> = {
  reset: "resetsPerSecond",
  settings: "settingsPerSecond",
  ping: "pingsPerSecond",
  empty: "emptyFramesPerSecond",
  tinyUpdate: "tinyUpdatesPerSecond",
  stray: "strayFramesPerSecond",
};

export class FloodGuard {
  private readonly limits: Http2Limits;
  private readonly counts: Record<Nuisance, number> = {
    reset: 0,
    settings: 0,
    ping: 0,
    empty: 0,
    tinyUpdate: 0,
    stray: 0,
  };
  private since = 0;

  constructor(limits: Http2Limits) {
    this.limits = limits;
  }

  /** One more of `kind` at `now` (monotonic milliseconds); throws ENHANCE_YOUR_CALM above the limit. */
  count(kind: Nuisance, now: number): void {
    const { counts } = this;
    if (now - this.since >= 1000) {
      this.since = now;
      counts.reset = counts.settings = counts.ping = 0;
      counts.empty = counts.tinyUpdate = counts.stray = 0;
    }
    counts[kind] += 1;
    const limit = this.limits[LIMIT_OF[kind]];
    if (counts[kind] > limit)
      throw new ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        `more than ${limit} in a second: ${LIMIT_OF[kind]}`,
      );
  }
}
