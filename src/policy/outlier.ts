/**
 * Which endpoints are taken out of balancing for a while because of how they respond, and on what evidence.
 *
 * ```
 *   consecutive 5xx ───────────────────────┐
 *   consecutive local-origin failures ─────┤
 *   proof that needs no count ─────────────┤
 *   success rate under the threshold and   ├─▶ within the cap? ─▶ out for base·2^(n−1), with jitter
 *     credibly under its peers' (Wilson) ──┘                            ▲ failure      │
 *                                                                       └─ on probation ◀┘ ─ success ─▶ in, counters at zero
 * ```
 * A fault that all share ejects nobody: the success rate is judged against the peers' median only.
 */
import { slidingCount, type SlidingCount } from "../core/sliding-count.ts";
import type { MonotonicMs } from "../core/units.ts";
import type { OutlierDetection } from "../resources/traffic-policy/settings.ts";

/** The column "ejection" of the table of outcomes. */
export type EjectionEffect = "success" | "failure" | "local-origin" | "none";

export type EjectionReason =
  | "consecutive-5xx"
  | "consecutive-local-origin"
  | "success-rate"
  /** The first request after an ejection failed. */
  | "probe"
  /** A link with requests out said nothing, and did not acknowledge a PING. */
  | "silent-link"
  /** Its application responds to nothing, or completes nothing, while its siblings do. */
  | "stalled";

/** An entry of the ledger (law 9). */
export interface Ejection {
  readonly endpoint: string;
  readonly reason: EjectionReason;
  /** What was seen, in words. */
  readonly evidence: string;
  /** Monotonic milliseconds. */
  readonly at: number;
  readonly until: number;
  /** Number of consecutive ejections, this one included; it falls again in quiet times. */
  readonly times: number;
}

export interface OutlierDetector {
  /** The endpoints there are, by key. Those that stay keep their statistics and their ejection. */
  update(
    endpoints: readonly string[],
    settings: OutlierDetection<number>,
  ): void;
  /** Takes the outcome of an attempt that was sent at `sentAt`, or now; gives the ejection that it led to. */
  record(
    endpoint: string,
    effect: EjectionEffect,
    now: MonotonicMs,
    sentAt?: MonotonicMs,
  ): Ejection | undefined;
  /** Ejects on evidence that is enough by itself, whatever the counts are: within the cap, and where it is not out already. */
  eject(
    endpoint: string,
    reason: EjectionReason,
    evidence: string,
    now: MonotonicMs,
  ): Ejection | undefined;
  /** Takes it out until `release`, be its ejection over or not yet begun: within the cap. False where the cap leaves no room. */
  hold(endpoint: string, now: MonotonicMs): boolean;
  /** Ends the hold, and an ejection that has not run out: on probation it may be tried. */
  release(endpoint: string, now: MonotonicMs): void;
  isHeld(endpoint: string): boolean;
  /** Monotonic milliseconds until which the endpoint is ejected; 0 where it is not known or was never ejected. */
  until(endpoint: string): number;
  /** It was ejected, and nothing has succeeded there since. Once its time is over it gets a request at a time until one does. */
  onProbation(endpoint: string): boolean;
  /** Grows with each ejection and update: a picker need look only then, and when an ejection ends. */
  readonly version: number;
  /** The latest ejections, the newest last; bounded. */
  readonly ejections: readonly Ejection[];
}

const LONGEST_HISTORY = 100;
/** 95 %, two-sided. */
const Z = 1.96;

interface Host {
  consecutive5xx: number;
  consecutiveLocal: number;
  until: number;
  times: number;
  probation: boolean;
  held: boolean;
  /** Requests of the last `interval`, and those of them that succeeded. */
  total: SlidingCount;
  successes: SlidingCount;
}

export function makeOutlierDetector(random: () => number): OutlierDetector {
  return new Detector(random);
}

class Detector implements OutlierDetector {
  readonly ejections: Ejection[] = [];
  readonly #random: () => number;
  #hosts = new Map<string, Host>();
  #settings: OutlierDetection<number> | undefined;
  #version = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  get version(): number {
    return this.#version;
  }

  update(
    endpoints: readonly string[],
    settings: OutlierDetection<number>,
  ): void {
    const kept = new Map<string, Host>();
    const sameWindow = this.#settings?.interval === settings.interval;
    for (const endpoint of endpoints) {
      const known = this.#hosts.get(endpoint);
      kept.set(endpoint, {
        consecutive5xx: known?.consecutive5xx ?? 0,
        consecutiveLocal: known?.consecutiveLocal ?? 0,
        until: known?.until ?? 0,
        times: known?.times ?? 0,
        probation: known?.probation ?? false,
        held: known?.held ?? false,
        ...(known !== undefined && sameWindow
          ? { total: known.total, successes: known.successes }
          : counts(settings)),
      });
    }
    this.#hosts = kept;
    this.#settings = settings;
    this.#version += 1;
  }

  record(
    endpoint: string,
    effect: EjectionEffect,
    now: MonotonicMs,
    sentAt: MonotonicMs = now,
  ): Ejection | undefined {
    const host = this.#hosts.get(endpoint);
    const settings = this.#settings;
    // What was sent before the end of its ejection belongs to the time before, or to panic, however late it is over.
    if (host === undefined || settings === undefined || sentAt < host.until)
      return undefined;
    switch (effect) {
      case "none":
        return undefined;
      case "success":
        this.#succeed(host, now);
        return undefined;
      case "failure":
        host.consecutive5xx += 1;
        break;
      case "local-origin":
        host.consecutiveLocal += 1;
        break;
    }
    host.total.add(now);
    return this.#judge(endpoint, host, now, settings);
  }

  eject(
    endpoint: string,
    reason: EjectionReason,
    evidence: string,
    now: MonotonicMs,
  ): Ejection | undefined {
    const host = this.#hosts.get(endpoint);
    const rules = this.#settings;
    if (host === undefined || rules === undefined || now < host.until)
      return undefined;
    return this.#eject(endpoint, host, reason, evidence, now, rules);
  }

  hold(endpoint: string, now: MonotonicMs): boolean {
    const host = this.#hosts.get(endpoint);
    const rules = this.#settings;
    if (host === undefined || rules === undefined) return false;
    if (host.held) return true;
    if (!isOut(host, now) && !this.#hasRoom(now, rules.maxEjectionPercent))
      return false;
    host.held = true;
    this.#version += 1;
    return true;
  }

  release(endpoint: string, now: MonotonicMs): void {
    const host = this.#hosts.get(endpoint);
    if (host?.held !== true) return;
    host.held = false;
    host.until = Math.min(host.until, now);
    this.#version += 1;
  }

  isHeld(endpoint: string): boolean {
    return this.#hosts.get(endpoint)?.held ?? false;
  }

  until(endpoint: string): number {
    return this.#hosts.get(endpoint)?.until ?? 0;
  }

  onProbation(endpoint: string): boolean {
    return this.#hosts.get(endpoint)?.probation ?? false;
  }

  #succeed(host: Host, now: MonotonicMs): void {
    host.consecutive5xx = 0;
    host.consecutiveLocal = 0;
    host.total.add(now);
    host.successes.add(now);
    if (!host.probation) return;
    host.probation = false;
    this.#version += 1;
  }

  #judge(
    endpoint: string,
    host: Host,
    now: MonotonicMs,
    rules: OutlierDetection<number>,
  ): Ejection | undefined {
    const { consecutive5xxErrors, consecutiveLocalOriginFailures } = rules;
    if (host.probation)
      return this.#eject(
        endpoint,
        host,
        "probe",
        "the first request after its ejection failed",
        now,
        rules,
      );
    if (consecutive5xxErrors > 0 && host.consecutive5xx >= consecutive5xxErrors)
      return this.#eject(
        endpoint,
        host,
        "consecutive-5xx",
        `${host.consecutive5xx} failed responses in a row`,
        now,
        rules,
      );
    if (
      consecutiveLocalOriginFailures > 0 &&
      host.consecutiveLocal >= consecutiveLocalOriginFailures
    )
      return this.#eject(
        endpoint,
        host,
        "consecutive-local-origin",
        `${host.consecutiveLocal} failures in a row to connect`,
        now,
        rules,
      );
    return this.#judgeRate(endpoint, host, now, rules);
  }

  #judgeRate(
    endpoint: string,
    host: Host,
    now: MonotonicMs,
    rules: OutlierDetection<number>,
  ): Ejection | undefined {
    const { thresholdPercent, minimumRequests } = rules.successRate;
    const total = host.total.total(now);
    const successes = host.successes.total(now);
    if (
      total < minimumRequests ||
      (100 * successes) / total >= thresholdPercent
    )
      return undefined;
    const median = this.#medianOfPeers(host, now, minimumRequests);
    const bound = wilsonUpperBound(successes, total);
    if (median === undefined || bound >= median) return undefined;
    return this.#eject(
      endpoint,
      host,
      "success-rate",
      `${percent(successes / total)} of ${total} requests succeeded (at most ${percent(bound)}), of the peers' ${percent(median)}`,
      now,
      rules,
    );
  }

  /** The median success rate of the others with enough requests; an ejected one has none, because its counts began anew. */
  #medianOfPeers(
    self: Host,
    now: MonotonicMs,
    minimum: number,
  ): number | undefined {
    const rates: number[] = [];
    for (const host of this.#hosts.values()) {
      if (host === self) continue;
      const total = host.total.total(now);
      if (total >= minimum) rates.push(host.successes.total(now) / total);
    }
    rates.sort((left, right) => left - right);
    return rates[Math.floor((rates.length - 1) / 2)];
  }

  #eject(
    endpoint: string,
    host: Host,
    reason: EjectionReason,
    evidence: string,
    now: MonotonicMs,
    rules: OutlierDetection<number>,
  ): Ejection | undefined {
    // One that is held has its room already.
    if (!host.held && !this.#hasRoom(now, rules.maxEjectionPercent))
      return undefined;
    // Each quiet interval since it came back takes one ejection off the count.
    const quiet =
      host.until === 0 ? 0 : Math.floor((now - host.until) / rules.interval);
    host.times = Math.max(0, host.times - quiet) + 1;
    const time = Math.min(
      rules.maxEjectionTime,
      rules.baseEjectionTime * 2 ** (host.times - 1),
    );
    // Half to one and a half: endpoints that fell together must not return together.
    host.until =
      now + Math.min(rules.maxEjectionTime, time * (0.5 + this.#random()));
    host.probation = true;
    reset(host, rules);
    this.#version += 1;
    const ejection: Ejection = {
      endpoint,
      reason,
      evidence,
      at: now,
      until: host.until,
      times: host.times,
    };
    this.ejections.push(ejection);
    if (this.ejections.length > LONGEST_HISTORY) this.ejections.shift();
    return ejection;
  }

  /** One of two or more may always be ejected: ten percent of three hosts is none, and that would help nobody (trap 15). */
  #hasRoom(now: MonotonicMs, maxPercent: number): boolean {
    const { size } = this.#hosts;
    if (size < 2) return false;
    let ejected = 0;
    for (const host of this.#hosts.values()) if (isOut(host, now)) ejected += 1;
    return ejected + 1 <= Math.max(1, Math.floor((size * maxPercent) / 100));
  }
}

function isOut({ held, until }: Host, now: MonotonicMs): boolean {
  return held || until > now;
}

function reset(host: Host, rules: OutlierDetection<number>): void {
  host.consecutive5xx = 0;
  host.consecutiveLocal = 0;
  Object.assign(host, counts(rules));
}

const SLOTS = 10;

function counts({
  interval,
}: OutlierDetection<number>): Pick<Host, "total" | "successes"> {
  return {
    total: slidingCount(interval, SLOTS),
    successes: slidingCount(interval, SLOTS),
  };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Upper end of the Wilson score interval: what the success rate may be at best, after so few requests (Wilson 1927). */
export function wilsonUpperBound(successes: number, total: number): number {
  if (total === 0) return 1;
  const rate = successes / total;
  const z2 = Z * Z;
  const centre = rate + z2 / (2 * total);
  const margin = Z * Math.sqrt((rate * (1 - rate) + z2 / (4 * total)) / total);
  return Math.min(1, (centre + margin) / (1 + z2 / total));
}
