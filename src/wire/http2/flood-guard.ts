/** Counts the cheap frames by which a peer could keep us busy, and ends the connection that sends too many a second. */
import { ConnectionError, ErrorCode } from "./frames.ts";
import type { Http2Limits, Nuisance } from "./limits.ts";

const LIMIT_OF: Readonly<Record<Nuisance, keyof Http2Limits>> = {
  resets: "resetsPerSecond",
  settings: "settingsPerSecond",
  pings: "pingsPerSecond",
  empty_data: "emptyFramesPerSecond",
  tiny_data: "tinyFramesPerSecond",
  tiny_window_updates: "tinyUpdatesPerSecond",
  stray_frames: "strayFramesPerSecond",
};

export class FloodGuard {
  private readonly limits: Http2Limits;
  private readonly counts: Record<Nuisance, number> = zeroes();
  private since = 0;

  constructor(limits: Http2Limits) {
    this.limits = limits;
  }

  /** One more of `kind` at `now` (monotonic milliseconds); throws ENHANCE_YOUR_CALM above the limit. */
  count(kind: Nuisance, now: number): void {
    const { counts } = this;
    if (now - this.since >= 1000) {
      this.since = now;
      Object.assign(counts, zeroes());
    }
    counts[kind] += 1;
    const limit = this.limits[LIMIT_OF[kind]];
    if (counts[kind] > limit)
      throw new ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        `more than ${limit} in a second: ${LIMIT_OF[kind]}`,
        kind,
      );
  }
}

function zeroes(): Record<Nuisance, number> {
  return {
    resets: 0,
    settings: 0,
    pings: 0,
    empty_data: 0,
    tiny_data: 0,
    tiny_window_updates: 0,
    stray_frames: 0,
  };
}
