/** Which workloads stay though their leases have run out (law 17), and whether callers hear of it: many that go together tell of the network, or of this control plane, and not of themselves. */
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
/** More than this share of the leases, and at least so many of them, are not a coincidence. */
const MANY = { share: 0.15, least: 3 } as const;

const TOGETHER =
  "many leases have run out together, or this control plane has stood still or just started";

/** Which Services a workload serves; all are "NAMESPACE/NAME". */
export interface Serving {
  servicesOf(workload: string): Iterable<string>;
  /** The ready Workloads of the Service. */
  endpointsOf(service: string): Iterable<string>;
}

/** What becomes of a workload whose lease has run out. */
export type Verdict =
  /** It stays for now, and nobody hears of it: a mass loss would be a storm of pushes. */
  | { readonly kind: "preserved"; readonly why: string }
  /** It stays for now, and callers prefer others. */
  | { readonly kind: "waits"; readonly why: string }
  | { readonly kind: "goes" };

export interface PreservationOptions {
  readonly clock: Clock;
  /** Milliseconds after the start; GRACE where absent. */
  readonly grace?: number | undefined;
  /** How many leases there are. */
  readonly leases: () => number;
  /** As it is now. */
  readonly serving: () => Serving;
  /** Why one that others could serve in place of stays for now; undefined where it may go. */
  readonly whyWaits: (workload: string) => string | undefined;
  readonly onJudged: (workload: string, verdict: Verdict) => void;
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

  /** Those whose leases have run out. */
  all(): readonly string[] {
    return [...this.#unconfirmed.keys()];
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

  /** Whether a Service of it would have no endpoint left, as the mesh is now. */
  isLast(workload: string): boolean {
    const serving = this.#options.serving();
    for (const service of serving.servicesOf(workload)) {
      let serves = false;
      let others = false;
      for (const each of serving.endpointsOf(service)) {
        serves ||= each === workload;
        others = !this.#unconfirmed.has(each);
        if (others) break;
      }
      if (serves && !others) return true;
    }
    return false;
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
      const verdict = this.#verdictOn(workload, tally);
      if (verdict.kind === "goes") {
        tally.remove(workload);
        gone += 1;
      }
      onJudged(workload, verdict);
    }
  }

  #verdictOn(workload: string, tally: Tally): Verdict {
    const { clock, whyWaits } = this.#options;
    const preserved =
      clock.now() < this.#until ? TOGETHER : tally.whyKept(workload);
    if (preserved !== undefined) return { kind: "preserved", why: preserved };
    const waits = whyWaits(workload);
    return waits === undefined
      ? { kind: "goes" }
      : { kind: "waits", why: waits };
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
