/**
 * What a sidecar knows of the load of its application, to tell callers: requests in flight, and how long one takes at that many.
 *
 * A latency is filed under the number of requests that were in flight when the request arrived, so that an answer to "how long
 * now?" does not depend on how busy it was a moment ago (Prequal, NSDI 2024).
 */
import type { MonotonicMs } from "../../core/units.ts";

/** Weight of a new latency in its bucket. */
const ALPHA = 0.1;
/** Buckets of requests in flight, two to each doubling: 0, 1, 2, 3, 4–5, 6–7 … */
const BUCKETS = 40;

/** The bucket of a number of requests in flight. */
export function bucketOf(inFlight: number): number {
  return Math.min(BUCKETS - 1, Math.floor(2 * Math.log2(inFlight + 1)));
}

/** The load of one port of the application. */
export class LoadMeter {
  /** Requests in flight. */
  inFlight = 0;
  /** Most requests that are let in at once; 0 where there is no limit. */
  limit = 0;
  /** Grows with each change: what was said before it is still right where this is the same. */
  version = 0;
  /** Monotonic milliseconds of the newest latency. */
  sampledAt: number;
  readonly #latencies = new Float64Array(BUCKETS);

  constructor(now: MonotonicMs) {
    this.sampledAt = now;
  }

  /** A request arrives. Its bucket is to be given to `leave`. */
  arrive(): number {
    const bucket = bucketOf(this.inFlight);
    this.inFlight += 1;
    this.version += 1;
    return bucket;
  }

  /** `latency` in milliseconds to the head of the answer; undefined where it says nothing of the application. */
  leave(bucket: number, latency: number | undefined, now: MonotonicMs): void {
    this.inFlight = Math.max(0, this.inFlight - 1);
    this.version += 1;
    if (latency === undefined) return;
    const before = this.#latencies[bucket] ?? 0;
    // 0 is an empty bucket.
    this.#latencies[bucket] =
      before === 0
        ? Math.max(latency, 1e-3)
        : before + ALPHA * (latency - before);
    this.sampledAt = now;
  }

  /** Milliseconds that a request takes at the present load: of its bucket, or of the nearest one that knows; 0 where none does. */
  get latency(): number {
    const here = bucketOf(this.inFlight);
    for (let step = 0; step < BUCKETS; step += 1) {
      const below = this.#latencies[here - step] ?? 0;
      if (below > 0) return below;
      const above = this.#latencies[here + step] ?? 0;
      if (above > 0) return above;
    }
    return 0;
  }
}

/** Milliseconds between two reports to a caller that gets no responses which could carry one. */
export const REPORT_PERIOD = 20;
/** Milliseconds after which a report is repeated though nothing has changed, so that its reader need not take it for old. */
export const REPORT_REPEAT = 250;

/** Milliseconds to the next round of reports: many callers hear it less often, and sidecars do not fall into step. */
export function reportPeriod(
  subscribers: number,
  random: () => number,
): number {
  return Math.max(REPORT_PERIOD, subscribers) * (0.75 + 0.5 * random());
}

/** What one caller has been told of one port. */
export interface Subscriber {
  /** Monotonic milliseconds: its last request that asked to be told. */
  askedAt: number;
  /** Monotonic milliseconds when it was last told, by a response or by a report of its own. */
  saidAt: number;
  /** `version` of the meter then. */
  saidVersion: number;
}

/** Milliseconds after its last request for which a caller hears it: one that does not call need not know. */
export const SUBSCRIPTION = 10_000;

/** Whether a caller is to be sent a report of its own now. */
export function isReportDue(
  subscriber: Subscriber,
  meter: LoadMeter,
  now: MonotonicMs,
): boolean {
  const silent = now - subscriber.saidAt;
  return subscriber.saidVersion === meter.version
    ? silent >= REPORT_REPEAT
    : silent >= REPORT_PERIOD;
}

export function reported(
  subscriber: Subscriber,
  meter: LoadMeter,
  now: MonotonicMs,
): void {
  subscriber.saidAt = now;
  subscriber.saidVersion = meter.version;
}

export interface LoadReport {
  readonly inFlight: number;
  /** Milliseconds; 0 where it is not known. */
  readonly latency: number;
  readonly limit: number;
}

/** The value of `x-wherry-load`: "RIF,LATENCY-IN-MICROSECONDS,LIMIT". */
export function formatLoad(meter: LoadReport): string {
  return `${meter.inFlight},${Math.round(meter.latency * 1000)},${meter.limit}`;
}

const LOAD = /^(\d{1,9}),(\d{1,10}),(\d{1,9})$/;

/** Undefined where the text is none. */
export function parseLoad(text: string): LoadReport | undefined {
  const found = LOAD.exec(text);
  if (found === null) return undefined;
  return {
    inFlight: Number(found[1]),
    latency: Number(found[2]) / 1000,
    limit: Number(found[3]),
  };
}
