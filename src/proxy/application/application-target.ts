/** An attempt at the local application: let in by the concurrency limiter, and counted in the load of its port. */
import type { Cancel, Clock } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import { EFFECTS, type Outcome } from "../../policy/outcome.ts";
import type { Field } from "../../wire/fields.ts";
import type {
  ConnectionNeed,
  ConnectionWaiter,
  Target,
} from "../exchange/route-plan.ts";
import type {
  Waiter,
  Entry,
  ConcurrencyLimiter,
} from "./concurrency-limiter.ts";
import type { RequestLoad } from "./load-reports.ts";

/** What one request is counted by on its way into the application. */
export interface RequestCounts {
  readonly clock: Clock;
  /** Where callers want to know how busy the application is. */
  readonly load: RequestLoad | undefined;
  /** Counts the requests in the application; those with an `entry` it may turn away. */
  readonly limiter: ConcurrencyLimiter | undefined;
  readonly entry: Entry | undefined;
}

const NOTHING_KNOWN: Entry = {
  policy: undefined,
  priority: undefined,
  retry: false,
  inside: false,
};

export class ApplicationTarget implements Target, Waiter {
  readonly trusted = false;
  readonly probing = false;
  readonly key: string;
  readonly address: string;
  readonly #direct: Target;
  readonly #counts: RequestCounts;
  #need: ConnectionNeed | undefined;
  #waiter: ConnectionWaiter | undefined;
  #cancelPool: Cancel | undefined;
  readonly #bucket: number;
  /** The limiter counts it. */
  #counted = false;
  since = 0;
  /** Milliseconds at the limiter. */
  #waited = 0;
  /** Monotonic milliseconds when all of the request was sent, and when the head of its response came. */
  #sentAt: number | undefined;
  #headedAt: number | undefined;

  /** `direct`: the same attempt without the counts. */
  constructor(direct: Target, counts: RequestCounts) {
    this.key = direct.key;
    this.address = direct.address;
    this.#direct = direct;
    this.#counts = counts;
    this.#bucket = counts.load?.arrive() ?? 0;
  }

  connect(need: ConnectionNeed, waiter: ConnectionWaiter): Cancel | undefined {
    const { limiter, entry } = this.#counts;
    if (limiter !== undefined) {
      if (entry !== undefined) return this.#queue(limiter, need, waiter);
      this.#counted = true;
      limiter.observe();
    }
    return this.#direct.connect(need, waiter);
  }

  /** Through the limiter, if it opens. */
  #queue(
    limiter: ConcurrencyLimiter,
    need: ConnectionNeed,
    waiter: ConnectionWaiter,
  ): Cancel | undefined {
    this.#need = need;
    this.#waiter = waiter;
    this.since = this.#counts.clock.now();
    const entered = limiter.enter(this);
    if (entered instanceof MeshError) {
      waiter.failed(entered);
      return undefined;
    }
    if (entered === undefined) return this.#cancelPool;
    return () => {
      entered();
      this.#cancelPool?.();
    };
  }

  get entry(): Entry {
    return this.#counts.entry ?? NOTHING_KNOWN;
  }

  admitted(now: number): void {
    this.#counted = true;
    this.#waited = now - this.since;
    if (this.#need !== undefined && this.#waiter !== undefined)
      this.#cancelPool = this.#direct.connect(this.#need, this.#waiter);
  }

  shed(error: MeshError): void {
    this.#waiter?.failed(error);
  }

  sent(): void {
    // After the head it says nothing of how long the application took for that.
    if (this.#headedAt === undefined) this.#sentAt = this.#counts.clock.now();
  }

  headed(_outcome: Outcome, now: number): void {
    this.#headedAt = now;
  }

  answered(outcome: Outcome): void {
    this.#direct.answered(outcome);
  }

  endless(): void {
    this.#left(undefined, this.#counts.clock.now());
  }

  done(outcome: Outcome, latency: number, now: number): string | undefined {
    const { usual = 0 } = this.#counts.limiter?.limit ?? {};
    const served = this.#served(outcome, latency, usual, now);
    this.#counts.load?.leave(
      this.#bucket,
      outcome,
      served === undefined ? undefined : served + this.#waited,
    );
    // A cancelled request still gives a lower bound on its latency.
    const tells =
      EFFECTS[outcome.kind].latency === "measured" ||
      (outcome.kind === "cancelled" && served !== undefined && served > usual);
    this.#left(tells ? served : undefined, now);
    return this.#direct.done(outcome, latency, now);
  }

  /** Milliseconds in the application, without those in which it waited for its caller: one caller that sends slowly must not make it seem slow to all. */
  #served(
    outcome: Outcome,
    latency: number,
    usual: number,
    now: number,
  ): number | undefined {
    if (this.#sentAt !== undefined)
      return (this.#headedAt ?? now) - this.#sentAt;
    // Its response began before all was sent. Where that took long, either of them may have waited for the other.
    const served = latency - this.#waited;
    return EFFECTS[outcome.kind].latency === "measured" &&
      (usual === 0 || served <= usual)
      ? served
      : undefined;
  }

  #left(latency: number | undefined, now: number): void {
    if (!this.#counted) return;
    this.#counted = false;
    this.#counts.limiter?.leave(latency, now);
  }
}

/** What the response tells the caller of the application's load, in fields. */
export function loadFields({
  load,
  limiter,
  entry,
}: RequestCounts): readonly Field[] {
  const told = load?.field();
  const passing = entry?.inside === true ? limiter?.field() : undefined;
  const fields: Field[] = [];
  if (told !== undefined) fields.push(told);
  if (passing !== undefined) fields.push(passing);
  return fields;
}
