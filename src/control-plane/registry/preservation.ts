/** Which workloads stay though their leases have run out: many that go together tell of the network, or of this control plane, and not of themselves. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { MonotonicMs } from "../../core/units.ts";

/** Milliseconds after a start, a stall, or a loss of many, in which nothing goes: sidecars come back in this time (leases, design). */
export const GRACE = 60_000;
/** Milliseconds from a lease's end to the judgement: those that are lost together are judged together. */
export const JUDGED_AFTER = 5000;
/** Milliseconds between two looks at the own event loop, and how late one of them tells of a stall. */
const LOOK = 1000;
export const STALL = 1000;
/** More than this share of the leases, and at least so many of them, are no coincidence. */
const MANY = { share: 0.15, least: 3 } as const;

/** The endpoints, "NAMESPACE/NAME" of ready Workloads, of each Service that selects the given Workload. */
export type ServicesOf = (workload: string) => Iterable<readonly string[]>;

export interface PreservationOptions {
  readonly clock: Clock;
  /** Milliseconds after the start; GRACE where absent. */
  readonly grace?: number | undefined;
  /** How many leases there are. */
  readonly leases: () => number;
  readonly servicesOf: ServicesOf;
}

export class Preservation {
  readonly #options: PreservationOptions;
  /** Those whose leases have run out and that are still there. */
  readonly #unconfirmed = new Set<string>();
  readonly #stop: Cancel;
  #lookedAt: MonotonicMs;
  /** Nothing goes before. */
  #until: MonotonicMs;

  constructor(options: PreservationOptions) {
    const { clock, grace = GRACE } = options;
    this.#options = options;
    this.#lookedAt = clock.now();
    this.#until = clock.now() + grace;
    this.#stop = clock.every(LOOK, () => this.#look());
  }

  /** Monotonic milliseconds before which no lease runs out. */
  get until(): MonotonicMs {
    return this.#until;
  }

  /** Its lease has run out. */
  ranOut(workload: string): void {
    this.#unconfirmed.add(workload);
  }

  /** There is a sign of it, or it is gone. */
  forget(workload: string): void {
    this.#unconfirmed.delete(workload);
  }

  isUnconfirmed(workload: string): boolean {
    return this.#unconfirmed.has(workload);
  }

  /** Why a workload whose lease has run out stays for now; undefined where it may go. */
  whyKept(workload: string): string | undefined {
    this.#look();
    const { clock, leases, servicesOf } = this.#options;
    if (isMany(this.#unconfirmed.size, leases()))
      this.#until = Math.max(this.#until, clock.now() + GRACE);
    if (clock.now() < this.#until)
      return "many leases have run out together, or this control plane has stood still or just started";
    for (const endpoints of servicesOf(workload)) {
      if (!endpoints.includes(workload)) continue;
      const lost = endpoints.filter((each) => this.#unconfirmed.has(each));
      if (lost.length === endpoints.length)
        return "a Service of it would have no endpoint left";
      if (isMany(lost.length, endpoints.length))
        return "many of a Service's leases have run out together";
    }
    return undefined;
  }

  close(): void {
    this.#stop();
  }

  /** A loop that stood still may have lost streams by its own fault. */
  #look(): void {
    const now = this.#options.clock.now();
    if (now - this.#lookedAt > LOOK + STALL) this.#until = now + GRACE;
    this.#lookedAt = now;
  }
}

function isMany(lost: number, all: number): boolean {
  return lost >= MANY.least && lost > all * MANY.share;
}
