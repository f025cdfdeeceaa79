/**
 * The sources of the connections of strangers and peers: an identity, else an address (IPv6: a /64). What a connection costs is
 * counted with its source, and a source whose connections keep being ended for it is turned away for a while (decision 028).
 */
import type { Clock } from "../../core/clock.ts";
import type { MonotonicMs } from "../../core/units.ts";
import { tokenBucket, type TokenBucket } from "../../core/token-bucket.ts";
import { Tally, type Source } from "../../wire/flood-guard.ts";
import type { SidecarLimits } from "./limits.ts";

/** Connections that one source may have ended for what came on them, at once and again each second; as often, handshakes that failed. */
export const OFFENCES = { burst: 50, rate: 1 } as const;
export const FAILED_HANDSHAKES = { burst: 200, rate: 50 } as const;
/** Milliseconds for which a source with more than that is turned away: the first time, and at most, where it goes on whenever it is let in. */
export const TURNED_AWAY = { first: 5000, most: 20_000 } as const;
/** Part of that time by which it varies: sources that attack together must not all come back together. */
const JITTER = 0.25;
/**
 * What a source may do when it is let in again, as a part of what others may, and milliseconds for which that lasts: many that come back
 * in the same second with all their budgets would stop everybody else for a moment. It is true of its streams at once and of its offences too.
 */
export const PROBATION = { share: 0.1, lasts: 60_000 } as const;
/** Milliseconds after its last connection for which a source is remembered: by then it has all its offences back. */
const REMEMBERED = 100_000;
/** Sources without a connection that are remembered; the one that left first is forgotten first. */
const MOST_REMEMBERED = 4096;

export interface Sources {
  /** Whether a source may have one more connection now. */
  admits(name: string): boolean;
  /** The source of a connection that is open until `leave`. `share`: all its connections together may do so many times what one may. */
  enter(name: string, share: number): Source;
  leave(name: string): void;
  /** A handshake of that source came to nothing. */
  handshakeFailed(name: string): void;
  /** Sources that are known. */
  readonly size: number;
}

export function trackSources(
  clock: Clock,
  limits: Pick<SidecarLimits, "streamsPerAddress">,
): Sources {
  const present = new Map<string, Known>();
  /** In the order in which their last connections went. */
  const past = new Map<string, Known>();

  const known = (name: string): Known | undefined =>
    present.get(name) ?? past.get(name);
  const remember = (name: string, source: Known): void => {
    const now = clock.now();
    source.leftAt = now;
    past.delete(name);
    past.set(name, source);
    for (const [oldest, { leftAt }] of past) {
      if (past.size <= MOST_REMEMBERED && now - leftAt < REMEMBERED) break;
      past.delete(oldest);
    }
  };

  return {
    admits: (name) => !(known(name)?.isOut(clock.now()) ?? false),
    enter(name, share) {
      const source =
        known(name) ??
        new Known(clock, share, limits.streamsPerAddress * share);
      past.delete(name);
      present.set(name, source);
      source.connections += 1;
      return source;
    },
    leave(name) {
      const source = present.get(name);
      if (source === undefined) return;
      source.connections -= 1;
      if (source.connections > 0) return;
      present.delete(name);
      remember(name, source);
    },
    handshakeFailed(name) {
      const source =
        known(name) ?? new Known(clock, 1, limits.streamsPerAddress);
      source.handshakeFailed(clock.now());
      if (!present.has(name)) remember(name, source);
    },
    get size() {
      return present.size + past.size;
    },
  };
}

class Known implements Source {
  readonly tally = new Tally();
  streams = 0;
  connections = 0;
  leftAt = 0;
  readonly #offences: TokenBucket;
  readonly #handshakes = tokenBucket(FAILED_HANDSHAKES);
  readonly #clock: Clock;
  readonly #share: number;
  readonly #mostStreams: number;
  #outUntil = Number.NEGATIVE_INFINITY;
  /** For how long it was turned away last. */
  #outFor = 0;

  constructor(clock: Clock, share: number, mostStreams: number) {
    this.#clock = clock;
    this.#offences = tokenBucket({
      burst: OFFENCES.burst * share,
      rate: OFFENCES.rate * share,
    });
    this.#share = share;
    this.#mostStreams = mostStreams;
  }

  share(now: MonotonicMs): number {
    return this.#share * this.#part(now);
  }

  mostStreams(now: MonotonicMs): number {
    return this.#mostStreams * this.#part(now);
  }

  /** The part of the budgets of others that it has. */
  #part(now: number): number {
    return now - this.#outUntil < PROBATION.lasts ? PROBATION.share : 1;
  }

  isOut(now: number): boolean {
    return now < this.#outUntil;
  }

  offended(now: number, weight = 1): void {
    const offences = weight / this.#part(now);
    for (let count = 0; count < offences; count += 1)
      if (!this.#offences.take(now)) this.#turnAway(now);
  }

  handshakeFailed(now: number): void {
    if (!this.#handshakes.take(now)) this.#turnAway(now);
  }

  /** What its open connections do while it is out begins the time anew, and makes it no longer. */
  #turnAway(now: number): void {
    const { first, most } = TURNED_AWAY;
    if (!this.isOut(now))
      this.#outFor =
        now - this.#outUntil < most ? Math.min(most, 2 * this.#outFor) : first;
    this.#outUntil = now + this.#outFor * (1 - JITTER * this.#clock.random());
  }
}
