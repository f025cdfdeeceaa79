/**
 * Load-aware balancing: endpoints say how many requests they have in flight and how long one takes at that many, and a caller
 * chooses among a few of them: hot or cold, as Prequal does (Wydrowski et al., NSDI 2024).
 *
 * ```
 *   each 20 ms    θ = quantile(requests in flight, 0.84), at most 3 + 3 · their median; median latency
 *   each pick     three by chance ─▶ cold ones: in flight ≤ θ, not failing ─▶ the least latency, failures added; of like ones the fewest in flight
 *                                └─▶ none cold: the fewest in flight, failing ones last
 * ```
 * Three, not all: callers that see the same fresh reports and all take the best of all endpoints collapse on it together. A
 * failing endpoint counts as hot however idle it is, for one that fails fast has nothing in flight. Where nobody reports, it is
 * peak EWMA over two choices.
 */
import type { MonotonicMs } from "../../core/units.ts";
import {
  at,
  explored,
  failingNow,
  Report,
  type Algorithm,
  type Candidate,
  type Load,
} from "./algorithm.ts";
import { estimate, expected, measured, peakEwma } from "./peak-ewma.ts";
import { makeQuantile } from "./quantile.ts";

/** Milliseconds between two looks at all endpoints. */
const TICK = 20;
/** The share of endpoints that are cold, were all alike: 2^-0.25. */
const COLD_SHARE = 0.84;
/** Where there are few endpoints, none is among the busiest sixth: so far above the median, by times and by number, is hot in any case. */
const FAR = 3;
const SAMPLE = 3;
/**
 * Two latencies that differ by less than this share of the smaller are the same: what is averaged scatters as much as it is long,
 * and to choose among equals by their noise sends requests to where more are in flight.
 */
const NOISE = 0.5;
/** Milliseconds after which a report counts for nothing: its sender is gone, or is none of ours. */
export const REPORT_AGE = 1000;
/** Milliseconds: time constant with which a latency that nobody has measured since returns to the median. */
const LATENCY_TAU = 1000;
/** The share of failures from which on an endpoint is hot. */
const FAILING = 0.1;
/** Milliseconds that a failure costs. */
const FAILURE_COST = 5000;

export function loadAware(random: () => number): Algorithm {
  return new LoadAware(random);
}

class LoadAware implements Algorithm {
  readonly #random: () => number;
  readonly #peak: Algorithm;
  readonly #busiest = makeQuantile(inFlight);
  readonly #latencies = makeQuantile(({ load }) => knownLatency(load));
  #reporting = 0;
  /** In flight at a cold endpoint. */
  #most = 0;
  #median = Number.POSITIVE_INFINITY;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(random: () => number) {
    this.#random = random;
    this.#peak = peakEwma(random);
  }

  choose<C extends Candidate>(candidates: readonly C[], now: MonotonicMs): C {
    if (
      now - this.#lookedAt >= TICK ||
      this.#median === Number.POSITIVE_INFINITY
    )
      this.#look(candidates, now);
    if (this.#reporting === 0) return this.#peak.choose(candidates, now);
    const any = explored(candidates, this.#random, now);
    return any ?? this.#bestOfSample(candidates, now);
  }

  #look(candidates: readonly Candidate[], now: MonotonicMs): void {
    this.#lookedAt = now;
    this.#reporting = 0;
    for (const { load } of candidates)
      if (reports(load, now)) this.#reporting += 1;
    this.#most = Math.min(
      this.#busiest(candidates, COLD_SHARE, now),
      FAR + FAR * this.#busiest(candidates, 0.5, now),
    );
    this.#median = this.#latencies(candidates, 0.5, now);
  }

  #bestOfSample<C extends Candidate>(
    candidates: readonly C[],
    now: MonotonicMs,
  ): C {
    const count = candidates.length;
    const first = Math.floor(this.#random() * count);
    let best = at(candidates, first);
    if (count === 1) return best;
    // Distinct ones: draw from those that are left and step over those that are taken.
    let second = Math.floor(this.#random() * (count - 1));
    if (second >= first) second += 1;
    const other = at(candidates, second);
    if (this.#isBetter(other, best, now)) best = other;
    if (count < SAMPLE) return best;
    let third = Math.floor(this.#random() * (count - 2));
    if (third >= Math.min(first, second)) third += 1;
    if (third >= Math.max(first, second)) third += 1;
    const last = at(candidates, third);
    return this.#isBetter(last, best, now) ? last : best;
  }

  /** True where `one` is better than `other`. */
  #isBetter(one: Candidate, other: Candidate, now: MonotonicMs): boolean {
    const oneFails = isFailing(one, now);
    const otherFails = isFailing(other, now);
    if (oneFails !== otherFails) return otherFails;
    const oneInFlight = inFlight(one, now);
    const otherInFlight = inFlight(other, now);
    const oneHot = oneFails || oneInFlight > this.#most || isFull(one);
    const otherHot = otherFails || otherInFlight > this.#most || isFull(other);
    if (oneHot !== otherHot) return otherHot;
    if (oneHot && oneInFlight !== otherInFlight)
      return oneInFlight < otherInFlight;
    const oneCost = this.#cost(one, now);
    const otherCost = this.#cost(other, now);
    const apart = Math.abs(oneCost - otherCost);
    if (
      apart <= NOISE * Math.min(oneCost, otherCost) &&
      oneInFlight !== otherInFlight
    )
      return oneInFlight < otherInFlight;
    return oneCost < otherCost;
  }

  #cost({ load, weight }: Candidate, now: MonotonicMs): number {
    const median = this.#median;
    // A latency measured here includes the endpoint's failures already.
    if (!reports(load, now))
      return (expected(load, median, now) * (load.inflight + 1)) / weight;
    const failing = failingNow(load, now);
    const penalty = (failing / (1 - failing)) * FAILURE_COST;
    const latency = Math.max(
      reportedLatency(load, median, now),
      load.calls.waited(now),
    );
    return (latency + penalty) / weight;
  }
}

function isFailing({ load }: Candidate, now: MonotonicMs): boolean {
  return load.hotUntil > now || failingNow(load, now) >= FAILING;
}

/** What an endpoint said of itself, as of `now`; `age` is that of its newest latency, in milliseconds. */
export function recordReport(
  load: Load,
  inFlight: number,
  latency: number,
  limit: number,
  age: number,
  now: MonotonicMs,
): void {
  const { report } = load;
  report[Report.RIF] = inFlight;
  report[Report.LATENCY] = latency;
  report[Report.LIMIT] = limit;
  report[Report.AT] = now;
  report[Report.SAMPLED_AT] = now - age;
  report[Report.SENT] = 0;
}

/** A request goes there: what was reported does not have it in. */
export function recordSent({ report }: Load): void {
  report[Report.SENT] = (report[Report.SENT] ?? 0) + 1;
}

/** Whether what it reported still counts. */
export function reports({ report }: Load, now: MonotonicMs): boolean {
  return now - (report[Report.AT] ?? Number.NEGATIVE_INFINITY) < REPORT_AGE;
}

/** Requests in flight there for its weight, to the best knowledge: never below one's own. */
function inFlight({ load, weight }: Candidate, now: MonotonicMs): number {
  const { inflight, report } = load;
  if (!reports(load, now)) return inflight / weight;
  const known = (report[Report.RIF] ?? 0) + (report[Report.SENT] ?? 0);
  return Math.max(inflight, known) / weight;
}

function isFull({ load }: Candidate): boolean {
  const limit = load.report[Report.LIMIT] ?? 0;
  return limit > 0 && (load.report[Report.RIF] ?? 0) >= limit;
}

/** As of now: one above the median that nobody has measured since decays towards it, or an endpoint that is avoided would be for ever. */
function reportedLatency(load: Load, median: number, now: MonotonicMs): number {
  const latency = load.report[Report.LATENCY] ?? 0;
  if (latency === 0) return estimate(load, median, now);
  if (latency <= median) return latency;
  const age = now - (load.report[Report.SAMPLED_AT] ?? now);
  return median + (latency - median) * Math.exp(-age / LATENCY_TAU);
}

/** As it was reported, else as it was measured here; NaN where neither was. */
function knownLatency(load: Load): number {
  const latency = load.report[Report.LATENCY] ?? 0;
  return latency > 0 ? latency : measured(load);
}
