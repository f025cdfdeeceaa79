/**
 * Counts what costs a peer nothing and us something, over all connections of one source: a peer that comes back with a new connection
 * goes on where it was. What is beyond a limit ends the connection; what nobody honest sends ends it at the first.
 */
import type { MonotonicMs } from "../core/units.ts";

/** What is counted by the second. */
export type Nuisance =
  | "resets"
  | "malformed"
  | "settings"
  | "pings"
  | "empty_data"
  | "tiny_data"
  | "tiny_chunks"
  | "tiny_window_updates"
  | "stray_frames";

/** How often each happened in the present second. */
export class Tally {
  /** Made with the first: most sources never do any of it. */
  #counts: Record<Nuisance, number> | undefined;
  #since = 0;

  /** One more of `kind` at `now` (monotonic milliseconds); gives how many there are in this second. */
  add(kind: Nuisance, now: MonotonicMs): number {
    if (this.#counts === undefined || now - this.#since >= 1000) {
      this.#since = now;
      this.#counts = zeroes();
    }
    return (this.#counts[kind] += 1);
  }
}

function zeroes(): Record<Nuisance, number> {
  return {
    resets: 0,
    malformed: 0,
    settings: 0,
    pings: 0,
    empty_data: 0,
    tiny_data: 0,
    tiny_chunks: 0,
    tiny_window_updates: 0,
    stray_frames: 0,
  };
}

/** The source of connections: an identity, or an address without one. A listener keeps one for each. */
export interface Source {
  readonly tally: Tally;
  /** All connections of the source together may do so many times what one may, at `now` (monotonic milliseconds). */
  share(now: MonotonicMs): number;
  /** HTTP/2 streams that are open on all its connections. */
  streams: number;
  /** How many may be, at `now` (monotonic milliseconds). */
  mostStreams(now: MonotonicMs): number;
  /** A connection was ended for what came on it, which costs as much as `weight` of them; after too many, the source is turned away for a while. */
  offended(now: MonotonicMs, weight?: number): void;
}

/** The source of a connection by itself: no other connection counts with it. */
export class LonelySource implements Source {
  readonly tally: Tally = new Tally();
  streams = 0;
  readonly #share: number;

  constructor(share = 1) {
    this.#share = share;
  }

  share(): number {
    return this.#share;
  }

  mostStreams(): number {
    return Number.POSITIVE_INFINITY;
  }

  offended(): void {
    // It is not turned away: the connection that did it has ended.
  }
}

/** The number of `kind` in a second that is over `limit`, or undefined: then it may go on. */
export function excess(
  source: Source,
  kind: Nuisance,
  limit: number,
  now: MonotonicMs,
): number | undefined {
  const most = limit * source.share(now);
  return source.tally.add(kind, now) > most ? most : undefined;
}
