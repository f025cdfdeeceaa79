/** The limiter before one port of the application: lets in as many requests as it can serve at once, lets a few wait, and turns the rest away. */
import type { Cancel, Clock } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import {
  ConcurrencyLimit,
  STANDING,
  WaitingLine,
} from "../../policy/overload.ts";
import { ALL, AdmissionThreshold } from "../../policy/priority.ts";
import type { AdaptiveConcurrency } from "../../resources/traffic-policy/overload.ts";
import type { CounterCell } from "../../telemetry/metrics.ts";
import { makeField, type Field } from "../../wire/fields.ts";
import { deadlineExceeded } from "../exchange/time/deadline.ts";
import { ADMISSION } from "../exchange/heads.ts";
import type { Meters } from "../../telemetry/meters.ts";

/** What is known of a request where the limit is enforced. */
export interface Entry {
  /** "NAMESPACE/NAME" of the TrafficPolicy that says so. */
  readonly policy: string | undefined;
  /** Undefined where all are equal. */
  readonly priority: number | undefined;
  /** Somebody tried it before: of those that find no room it is the first to go. */
  readonly retry: boolean;
  /** The caller learns the threshold. */
  readonly inside: boolean;
  /** Milliseconds that its caller will still wait; undefined where the caller set no deadline. */
  readonly left?: number | undefined;
}

/** A request at the limiter. */
export interface Waiter {
  readonly entry: Entry;
  /** Monotonic milliseconds: when it came. */
  readonly since: number;
  /** It is let in: give it back by `leave`. Possibly from within `enter`. */
  admitted(now: number): void;
  /** It waited in vain. */
  shed(error: MeshError): void;
}

/** Milliseconds that a request may wait: what has waited longer is likely to be given up before it has a response. */
export const LONGEST_WAIT = 100;
/** Requests that may wait, where the limit is small. */
const FEWEST_WAITING = 4;

export class ConcurrencyLimiter {
  readonly port: number;
  readonly limit: ConcurrencyLimit;
  readonly threshold: AdmissionThreshold = new AdmissionThreshold();
  readonly #clock: Clock;
  readonly #line = new WaitingLine<Waiter>();
  readonly #refused: CounterCell;
  readonly #wouldRefuse: CounterCell;
  #inFlight = 0;
  #cancel: Cancel | undefined;
  #field: Field | undefined;

  constructor(
    port: number,
    clock: Clock,
    meters: Meters,
    settings: AdaptiveConcurrency,
  ) {
    this.port = port;
    this.limit = new ConcurrencyLimit(settings);
    this.#clock = clock;
    this.#refused = meters.shed.with(String(port), "enforce");
    this.#wouldRefuse = meters.shed.with(String(port), "shadow");
  }

  get inFlight(): number {
    return this.#inFlight;
  }
  get waiting(): number {
    return this.#line.length;
  }
  /** Requests that were turned away, and that would have been. */
  get refused(): number {
    return this.#refused.value;
  }
  get wouldRefuse(): number {
    return this.#wouldRefuse.value;
  }

  /** Lets a request in whatever the limit says, and counts it where the limit would have turned it away. Given back by `leave`. */
  observe(): void {
    if (this.#inFlight >= this.limit.limit + this.#room)
      this.#wouldRefuse.add();
    this.#inFlight += 1;
  }

  /** Lets a request in now, later, or not: then it returns the error. The result takes a waiting one out; undefined where it is in. */
  enter(entrant: Waiter): Cancel | MeshError | undefined {
    const { entry, since } = entrant;
    const line = this.#line;
    const latest = this.limit.expected(since);
    // Half of all requests take longer than it has: its work would be for nobody.
    if (entry.left !== undefined && entry.left < latest)
      return deadlineExceeded(
        `${entry.left} ms are left of its time, and port ${this.port} takes ${Math.round(latest)} ms`,
      );
    if (
      entry.priority !== undefined &&
      !this.threshold.passes(entry.priority, since)
    )
      return this.#refuse(entry, "more important requests go first");
    if (this.#inFlight < this.limit.limit && line.length === 0) {
      this.#admit(entrant, since);
      return undefined;
    }
    if (entry.retry) {
      this.threshold.overload();
      return this.#refuse(entry, "and it is a repeated request");
    }
    if (line.length >= this.#room) {
      this.threshold.overload();
      // Not the newcomer: it has the most of its time left.
      const oldest = line.drop();
      oldest?.shed(this.#refuse(oldest.entry, "and newer ones wait"));
    }
    line.join(entrant);
    this.#watch();
    return () => line.leave(entrant);
  }

  /** A request is over. `latency`: milliseconds in the application; undefined where it says nothing of it. */
  leave(latency: number | undefined, now: number): void {
    if (latency !== undefined) this.limit.sample(latency, this.#inFlight, now);
    this.#inFlight -= 1;
    const line = this.#line;
    if (line.length === 0) return;
    while (this.#inFlight < this.limit.limit) {
      const next = line.next(now);
      if (next === undefined) return;
      if (now - next.since > STANDING) this.threshold.overload();
      this.#admit(next, now);
    }
  }

  /** What callers learn, where not everything passes. */
  field(): Field | undefined {
    const { value } = this.threshold;
    if (value === ALL) return undefined;
    const text = String(value);
    if (this.#field?.value !== text)
      this.#field = makeField(ADMISSION, text, "without");
    return this.#field;
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  get #room(): number {
    return Math.max(FEWEST_WAITING, this.limit.limit);
  }

  #admit(entrant: Waiter, now: number): void {
    this.#inFlight += 1;
    entrant.admitted(now);
  }

  #refuse(entry: Entry, why: string): MeshError {
    this.#refused.add();
    const field = entry.inside ? this.field() : undefined;
    return new MeshError(
      "SHED",
      `port ${this.port} has ${this.#inFlight} requests in flight and takes ${this.limit.limit}, ${why}`,
      {
        source: "proxy",
        unprocessed: true,
        ...(entry.policy === undefined ? {} : { policy: entry.policy }),
        ...(field === undefined
          ? {}
          : { answer: { fields: [[field.name, field.value]] } }),
      },
    );
  }

  /** Turns away requests that have waited too long. */
  #watch(): void {
    const oldest = this.#line.oldest;
    if (oldest === undefined || this.#cancel !== undefined) return;
    const left = oldest + LONGEST_WAIT - this.#clock.now();
    this.#cancel = this.#clock.after(Math.max(1, left), () => {
      this.#cancel = undefined;
      const now = this.#clock.now();
      for (
        let since = this.#line.oldest;
        since !== undefined && now - since >= LONGEST_WAIT;
        since = this.#line.oldest
      ) {
        this.threshold.overload();
        const late = this.#line.drop();
        late?.shed(this.#refuse(late.entry, `after ${LONGEST_WAIT} ms`));
      }
      this.#watch();
    });
  }
}

/** The limiters of all ports of the application. */
export interface ConcurrencyLimiters {
  /** By the port, over snapshots. */
  of(port: number, settings: AdaptiveConcurrency): ConcurrencyLimiter;
  all(): Iterable<ConcurrencyLimiter>;
  close(): void;
}

export function makeConcurrencyLimiters(
  clock: Clock,
  meters: Meters,
): ConcurrencyLimiters {
  const concurrencyLimiters = new Map<
    number,
    { readonly limiter: ConcurrencyLimiter; settings: AdaptiveConcurrency }
  >();
  const stop = meters.registry.collect(() => {
    for (const { limiter } of concurrencyLimiters.values())
      meters.concurrencyLimit
        .with(String(limiter.port))
        .set(limiter.limit.limit);
  });
  return {
    of(port, settings) {
      let known = concurrencyLimiters.get(port);
      if (known === undefined) {
        known = {
          limiter: new ConcurrencyLimiter(port, clock, meters, settings),
          settings,
        };
        concurrencyLimiters.set(port, known);
      } else if (known.settings !== settings) {
        known.settings = settings;
        known.limiter.limit.configure(settings);
      }
      return known.limiter;
    },
    *all() {
      for (const { limiter } of concurrencyLimiters.values()) yield limiter;
    },
    close() {
      stop();
      for (const { limiter } of concurrencyLimiters.values()) limiter.close();
      concurrencyLimiters.clear();
    },
  };
}
