/**
 * Which of the ready endpoints take part at present: worked out when something has changed, not at each pick.
 *
 * ```
 *   ready ─▶ out: ejected or sick ─▶ all are in again where too few would be left (panic)
 *         ─▶ on probation: back from an ejection, a request at a time until one succeeds
 *         ─▶ in, and confirmed: the others stand back, as long as enough are confirmed
 *         ─▶ by distance: the nearest take all, as long as enough of them are in
 * ```
 */
import type { MonotonicMs } from "../../core/units.ts";
import { NO_TRIAL, type Load } from "./algorithm.ts";

/** What a picker must know of ejections; `OutlierDetector` satisfies it. */
export interface Ejections {
  readonly version: number;
  /** Monotonic milliseconds until which the endpoint is out. */
  until(key: string): number;
  /** Its time is over, and it has yet to prove that it is well. */
  onProbation(key: string): boolean;
  /** On probation it may be tried by any request, not only by one that may be repeated. Absent: always. */
  isOffered?(key: string): boolean;
}

export interface Participant {
  readonly key: string;
  readonly endpoint: {
    readonly distance: number;
    readonly unconfirmed?: true | undefined;
  };
  /** In balancing: neither out nor on probation. */
  open: boolean;
  readonly load: Pick<Load, "triedAt">;
}

/** Endpoints at one distance, and the share of the picks up to and with them. */
export interface Level<P> {
  readonly members: readonly P[];
  readonly upTo: number;
}

export interface Eligible<P> {
  readonly open: readonly P[];
  /** Those of `open` that calls go to first: the confirmed ones. `open` itself where that makes no difference. */
  readonly preferred: readonly P[];
  readonly probation: readonly P[];
  /** More than one where some of the traffic is spilled over; empty otherwise. */
  readonly levels: readonly Level<P>[];
  readonly panic: boolean;
  /** Monotonic milliseconds until which this holds unless the ejections' version changes. */
  readonly freshUntil: number;
}

/** Envoy's: a level takes all traffic as long as 1/1.4 of it, 71 %, is in. */
const OVERPROVISIONING = 1.4;

export function eligible<P extends Participant>(
  ready: readonly P[],
  ejections: Ejections,
  minHealthPercent: number,
  byDistance: boolean,
  now: MonotonicMs,
): Eligible<P> {
  let freshUntil = Number.POSITIVE_INFINITY;
  let open: P[] = [];
  let probation: P[] = [];
  for (const each of ready) {
    const until = ejections.until(each.key);
    if (until > now) {
      freshUntil = Math.min(freshUntil, until);
      // A trial that still waits is not the next one: it may wait for ever.
      each.load.triedAt = NO_TRIAL;
    } else if (ejections.onProbation(each.key)) probation.push(each);
    else {
      // It has passed, be it that the trial itself still lasts.
      each.load.triedAt = NO_TRIAL;
      open.push(each);
    }
  }
  const well = open.length + probation.length;
  const panic =
    well < ready.length && well * 100 < ready.length * minHealthPercent;
  // A request at a time cannot serve all of them.
  if (!panic && open.length === 0) {
    open = probation;
    probation = [];
  }
  if (panic) {
    open = [...ready];
    probation = [];
  }
  for (const each of ready) each.open = false;
  for (const each of open) each.open = true;
  const confirmed = panic
    ? undefined
    : confirmedOf(open, ready.length, minHealthPercent);
  const preferred = confirmed ?? open;
  return {
    open,
    preferred,
    // No call is risked on one that others serve in place of.
    probation: confirmed ? probation.filter(isConfirmed) : probation,
    levels: byDistance && !panic ? levelsOf(ready, preferred) : [],
    panic,
    freshUntil,
  };
}

function isConfirmed({ endpoint }: Participant): boolean {
  return endpoint.unconfirmed !== true;
}

/** Those of which the control plane knows that they run; undefined where these would have to bear the load of too many others. */
function confirmedOf<P extends Participant>(
  open: readonly P[],
  ready: number,
  minHealthPercent: number,
): readonly P[] | undefined {
  const confirmed = open.filter(isConfirmed);
  if (
    confirmed.length === 0 ||
    confirmed.length * 100 < ready * minHealthPercent
  )
    return undefined;
  return confirmed.length === open.length ? open : confirmed;
}

/** Shares as Envoy's priority levels have them: each takes what its health allows of what nearer ones left, and all of them together everything. */
function levelsOf<P extends Participant>(
  ready: readonly P[],
  open: readonly P[],
): Level<P>[] {
  const all = Map.groupBy(ready, ({ endpoint }) => endpoint.distance);
  const well = Map.groupBy(open, ({ endpoint }) => endpoint.distance);
  const distances = [...well.keys()].sort((left, right) => left - right);
  const health = distances.map((distance) =>
    Math.min(
      1,
      (OVERPROVISIONING * (well.get(distance)?.length ?? 0)) /
        (all.get(distance)?.length ?? 1),
    ),
  );
  const total = Math.min(
    1,
    health.reduce((sum, each) => sum + each, 0),
  );
  const levels: Level<P>[] = [];
  let upTo = 0;
  distances.forEach((distance, index) => {
    const share = Math.min(1 - upTo, (health[index] ?? 0) / total);
    if (share <= 1e-9) return;
    upTo += share;
    levels.push({ members: well.get(distance) ?? [], upTo });
  });
  return levels;
}
