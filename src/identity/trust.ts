/** By which roots and which clocks certificates are judged: this machine's clock, and the mesh's, which no jump of that one moves. */
import type { Clock } from "../core/clock.ts";
import type { MonotonicMs, WallMs } from "../core/units.ts";
import { Revoked } from "./revoked.ts";

/** What time it was for the mesh at a moment of this process; the monotonic clock carries it on from there. */
export interface MeshTime {
  readonly wall: WallMs;
  readonly at: MonotonicMs;
}

/**
 * What certificates are judged by that may change while connections live. A new one is set in a `Watch<TrustSet>`:
 * handshakes go by it from then on, and `wire/tls/live-connections.ts` ends the connections whose certificates no longer stand.
 */
export interface TrustSet {
  /** PEM of the roots. A connection under one that is taken out ends. */
  readonly trustBundle: string;
  readonly revoked: Revoked;
  /** Trust domains that count as the own: a connection of one that is taken out ends. Absent: none is. */
  readonly trustDomains?: readonly string[];
}

export interface Trust extends Omit<TrustSet, "trustDomains"> {
  /** A certificate has to be valid at one of these. The first is by this machine's clock. */
  readonly times: readonly [WallMs, ...WallMs[]];
}

/** What credentials say of it. */
interface Trusting {
  /** PEM of the roots. */
  readonly trustBundle: string;
  readonly meshTime?: MeshTime;
}

/** How the holder of the credentials judges others now. */
export function trustOf(
  { trustBundle, meshTime }: Trusting,
  clock: Pick<Clock, "wall" | "now">,
  revoked: Revoked = Revoked.NONE,
): Trust {
  return { trustBundle, revoked, times: timesOf(meshTime, clock) };
}

export function timesOf(
  meshTime: MeshTime | undefined,
  clock: Pick<Clock, "wall" | "now">,
): Trust["times"] {
  const wall = clock.wall();
  return meshTime === undefined ? [wall] : [wall, timeOf(meshTime, clock)];
}

/** The mesh's time now. */
export function timeOf(meshTime: MeshTime, clock: Pick<Clock, "now">): WallMs {
  return meshTime.wall + (clock.now() - meshTime.at);
}

/** Milliseconds for which a certificate is valid yet, by the clock that gives it the most; not above 0 where none does. */
export function validFor(
  {
    notBefore,
    notAfter,
  }: { readonly notBefore: WallMs; readonly notAfter: WallMs },
  times: readonly WallMs[],
): number {
  return Math.max(
    ...times.map((time) => (time < notBefore ? 0 : notAfter - time)),
  );
}
