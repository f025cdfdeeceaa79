/** What every balancing algorithm is given and gives: candidates with their load in, one of them out. */
import type { MonotonicMs } from "../../core/units.ts";
import { OpenCalls } from "./open-calls.ts";

/** What a client knows of the load of one endpoint; kept over changes of configuration and of algorithm. */
export interface Load {
  /** Own requests in flight. */
  inflight: number;
  /** Milliseconds: peak-sensitive average of the latency, as of `updatedAt`; a guess where that is -Infinity. */
  latency: number;
  updatedAt: number;
  /** Standing of the smooth weighted round robin. */
  turn: number;
  /** Between 0 and 1: how many of its latest responses were failures, as of `judgedAt`. */
  failing: number;
  judgedAt: number;
  /** Monotonic milliseconds until which it asked to be left alone (`Retry-After`). */
  hotUntil: number;
  /** Monotonic milliseconds when the call was picked that is its trial after an ejection; `NO_TRIAL` where none is in flight. */
  triedAt: number;
  /** What its own sidecar says of it, by the indices of `Report`. */
  readonly report: Float64Array;
  /** Own requests that wait for it. */
  readonly calls: OpenCalls;
}

/** Where in `Load.report` what stands. */
export const Report = {
  /** Requests in flight there, from all callers. */
  RIF: 0,
  /** Milliseconds that a request takes there at that many. */
  LATENCY: 1,
  /** Most requests that it takes at once; 0 where it has no limit. */
  LIMIT: 2,
  /** Monotonic milliseconds when this was heard; -Infinity where nothing ever was. */
  AT: 3,
  /** Monotonic milliseconds of the newest latency in it. */
  SAMPLED_AT: 4,
  /** Own requests that were sent since `AT`. */
  SENT: 5,
} as const;

const REPORT_FIELDS = 6;

export interface Candidate {
  /** Above 0. */
  readonly weight: number;
  readonly load: Load;
}

export interface Algorithm {
  /** One of `candidates`, of which there is one at least. Must not allocate. */
  choose<C extends Candidate>(candidates: readonly C[], now: MonotonicMs): C;
}

export const NO_TRIAL: number = Number.NEGATIVE_INFINITY;

/** Load of an endpoint that nobody knows yet. `turn` below 1: clients that start together do not all begin with the same endpoint. */
export function newLoad(latency: number, turn: number, now: MonotonicMs): Load {
  const report = new Float64Array(REPORT_FIELDS);
  report[Report.AT] = Number.NEGATIVE_INFINITY;
  return {
    inflight: 0,
    latency,
    updatedAt: Number.NEGATIVE_INFINITY,
    turn,
    failing: 0,
    judgedAt: now,
    hotUntil: 0,
    triedAt: NO_TRIAL,
    report,
    calls: new OpenCalls(),
  };
}

/** Milliseconds: time constant with which failures are forgotten. */
const FAILURE_TAU = 10_000;
/** Weight of one outcome in the share of failures. */
const FAILURE_ALPHA = 0.15;

/** The share of failures as of now. */
export function failingNow(load: Load, now: MonotonicMs): number {
  return load.failing === 0
    ? 0
    : load.failing * Math.exp((load.judgedAt - now) / FAILURE_TAU);
}

/** Takes the outcome of an attempt into the share of failures. */
export function recordOutcome(
  load: Load,
  failed: boolean,
  now: MonotonicMs,
): void {
  // Where nothing has failed nothing is to be forgotten: the usual case costs a comparison.
  if (!failed && load.failing === 0) return;
  const before = failingNow(load, now);
  const after = before + FAILURE_ALPHA * ((failed ? 1 : 0) - before);
  load.failing = after < 1e-6 ? 0 : after;
  load.judgedAt = now;
}

/** Share of picks that look at an endpoint whatever is thought of it: an estimate of which nobody makes use is never corrected. */
const EXPLORATION = 0.01;
/** An endpoint that has failed lately is not worth exploring: that is what a share of failures that decays is for. */
const NO_PLACE_TO_EXPLORE = 0.01;
/** Milliseconds: nor is one at which a request has been waiting for so long, for that nothing came back yet is news as well. */
const TOO_LONG = 50;

/** Now and then any candidate at all, if it is fit to be explored; undefined where the algorithm is to choose. */
export function explored<C extends Candidate>(
  candidates: readonly C[],
  random: () => number,
  now: MonotonicMs,
): C | undefined {
  if (random() >= EXPLORATION) return undefined;
  const any = at(candidates, Math.floor(random() * candidates.length));
  const { load } = any;
  return load.hotUntil <= now &&
    load.calls.waited(now) < TOO_LONG &&
    failingNow(load, now) < NO_PLACE_TO_EXPLORE
    ? any
    : undefined;
}

/** Two different candidates by chance, the cheaper of the two: Mitzenmacher's "power of two choices". */
export function cheaperOfTwo<C extends Candidate>(
  candidates: readonly C[],
  random: () => number,
  cost: (candidate: C, now: MonotonicMs) => number,
  now: MonotonicMs,
): C {
  const count = candidates.length;
  const one = Math.floor(random() * count);
  const left = at(candidates, one);
  if (count === 1) return left;
  let other = Math.floor(random() * (count - 1));
  if (other >= one) other += 1;
  const right = at(candidates, other);
  return cost(right, now) < cost(left, now) ? right : left;
}

/** The candidate at an index that is known to be within the list. */
export function at<C extends Candidate>(
  candidates: readonly C[],
  index: number,
): C {
  const candidate = candidates[index];
  if (candidate === undefined)
    throw new RangeError(`no candidate ${index} of ${candidates.length}`);
  return candidate;
}
