/** Which workloads stay though their leases have run out: many that go together tell of the network, or of this control plane, and not of themselves. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { MonotonicMs } from "../../core/units.ts";

/** Milliseconds after a start, a stall, or a loss of many, in which nothing goes: sidecars come back in this time (leases, design). */
export const GRACE = 60_000;
/** Milliseconds from a lease's end to the judgement: those that are lost together are judged together. */
export const JUDGED_AFTER = 5000;
/** Milliseconds between two passes at least: each counts what it concerns. */
const BETWEEN_PASSES = 1000;
/** Milliseconds between two looks at the own event loop, and how late one of them tells of a stall. */
const LOOK = 1000;
export const STALL = 1000;
/** More than this share of the leases, and at least so many of them, are no coincidence. */
const MANY = { share: 0.15, least: 3 } as const;

/** Which Services a workload serves; all are "NAMESPACE/NAME". */
export interface Serving {
  servicesOf(workload: string): Iterable<string>;
  /** The ready Workloads of the Service. */
  endpointsOf(service: string): Iterable<string>;
}

export interface PreservationOptions {
  readonly clock: Clock;
  /** Milliseconds after the start; GRACE where absent. */
  readonly grace?: number | undefined;
  /** How many leases there are. */
  readonly leases: () => number;
  /** As it is now. */
  readonly serving: () => Serving;
  /** What became of a workload whose lease has run out: why it stays for now; undefined where it may go. */
  readonly onJudged: (workload: string, whyKept: string | undefined) => void;
}

export class Preservation {
  readonly #options: PreservationOptions;
  /** Those whose leases have run out and that are still there, with the time before which they are not judged. */
  readonly #unconfirmed = new Map<string, MonotonicMs>();
  readonly #stop: Cancel;
  #lookedAt: MonotonicMs;
  /** Nothing goes before. */
  #until: MonotonicMs;
  #nextPass: MonotonicMs = 0;
  #cancelPass: Cancel | undefined;

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

  /** How many leases have run out of workloads that are still there. */
  get unconfirmed(): number {
    return this.#unconfirmed.size;
  }

  /** Its lease has run out. */
  ranOut(workload: string): void {
    const due = this.#options.clock.now() + JUDGED_AFTER;
    this.#unconfirmed.set(workload, due);
    this.#judgeAt(due);
  }

  /** There is a sign of it, or it is gone. */
  forget(workload: string): void {
    this.#unconfirmed.delete(workload);
  }

  isUnconfirmed(workload: string): boolean {
    return this.#unconfirmed.has(workload);
  }

  close(): void {
    this.#stop();
    this.#cancelPass?.();
  }

  /** `due`: no earlier than that of the pass that waits, if one does. */
  #judgeAt(due: MonotonicMs): void {
    const { clock } = this.#options;
    if (this.#cancelPass !== undefined) return;
    const at = Math.max(due, this.#nextPass);
    this.#cancelPass = clock.after(at - clock.now(), () => {
      this.#cancelPass = undefined;
      this.#look();
      this.#judge();
      this.#nextPass = clock.now() + BETWEEN_PASSES;
      let next = Infinity;
      for (const each of this.#unconfirmed.values())
        next = Math.min(next, each);
      if (next < Infinity) this.#judgeAt(next);
    });
  }

  /** A loop that stood still may have lost streams by its own fault. */
  #look(): void {
    const now = this.#options.clock.now();
    if (now - this.#lookedAt > LOOK + STALL) this.#until = now + GRACE;
    this.#lookedAt = now;
  }

  /** All whose time has come in one pass, each Service counted once in it: a mass loss costs what was lost (law 15). */
  #judge(): void {
    const { clock, leases, serving, onJudged } = this.#options;
    const now = clock.now();
    const tally = new Tally(serving(), (each) => this.#unconfirmed.has(each));
    let gone = 0;
    for (const [workload, due] of [...this.#unconfirmed]) {
      if (due > now) continue;
      this.#unconfirmed.set(workload, now + JUDGED_AFTER);
      if (isMany(this.#unconfirmed.size - gone, leases() - gone))
        this.#until = Math.max(this.#until, now + GRACE);
      const why =
        now < this.#until
          ? "many leases have run out together, or this control plane has stood still or just started"
          : tally.whyKept(workload);
      if (why === undefined) {
        tally.remove(workload);
        gone += 1;
      }
      onJudged(workload, why);
    }
  }
}

/** Endpoints of a Service, and those of them whose leases have run out. */
interface Count {
  readonly endpoints: Set<string>;
  lost: number;
}

/** The counts of the Services that one pass asks for, in step with what it lets go. */
class Tally {
  readonly #serving: Serving;
  readonly #isLost: (workload: string) => boolean;
  readonly #counts = new Map<string, Count>();

  constructor(serving: Serving, isLost: (workload: string) => boolean) {
    this.#serving = serving;
    this.#isLost = isLost;
  }

  whyKept(workload: string): string | undefined {
    for (const { endpoints, lost } of this.#countsOf(workload)) {
      if (lost === endpoints.size)
        return "a Service of it would have no endpoint left";
      if (isMany(lost, endpoints.size))
        return "many of a Service's leases have run out together";
    }
    return undefined;
  }

  remove(workload: string): void {
    for (const count of this.#countsOf(workload)) {
      count.endpoints.delete(workload);
      count.lost -= 1;
    }
  }

  /** The Services that have it as an endpoint; a workload that is not ready serves none. */
  *#countsOf(workload: string): Generator<Count> {
    for (const service of this.#serving.servicesOf(workload)) {
      const count = this.#counts.get(service) ?? this.#count(service);
      if (count.endpoints.has(workload)) yield count;
    }
  }

  #count(service: string): Count {
    const endpoints = new Set(this.#serving.endpointsOf(service));
    let lost = 0;
    for (const each of endpoints) if (this.#isLost(each)) lost += 1;
    const count = { endpoints, lost };
    this.#counts.set(service, count);
    return count;
  }
}

function isMany(lost: number, all: number): boolean {
  return lost >= MANY.least && lost > all * MANY.share;
}
