/** What callers say of workloads whose leases have run out: a claim each, of one caller, for half a minute. */
import type { Clock } from "../../core/clock.ts";
import type { MonotonicMs } from "../../core/units.ts";

/** Milliseconds that a report counts: callers repeat it while they have fresh evidence. */
export const REPORT_COUNTS = 30_000;
/** Callers that must say that they cannot reach a workload, where so many have it. */
const QUORUM = 2;
/** Reporters of one workload that are kept: far more than the quorum, and no more than a thousand callers can fill. */
export const MOST_REPORTERS = 64;

export interface ReportCount {
  /** Callers that have reached it lately. */
  readonly reached: number;
  /** Those that could not. */
  readonly unreached: number;
}

interface Report {
  readonly reached: boolean;
  readonly at: MonotonicMs;
}

export class Reports {
  readonly #clock: Clock;
  /** By workload, then by caller. */
  readonly #reports = new Map<string, Map<string, Report>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `caller`: the instance, with its identity; the newest report of each counts. */
  add(workload: string, caller: string, reached: boolean): void {
    const reports = this.#reports.get(workload) ?? new Map<string, Report>();
    this.#reports.set(workload, reports);
    reports.delete(caller);
    if (reports.size >= MOST_REPORTERS && !this.#makeRoom(reports, reached))
      return;
    reports.set(caller, { reached, at: this.#clock.now() });
  }

  count(workload: string): ReportCount {
    let [reached, unreached] = [0, 0];
    const reports = this.#reports.get(workload);
    const oldest = this.#clock.now() - REPORT_COUNTS;
    for (const report of reports?.values() ?? [])
      if (report.at <= oldest) continue;
      else if (report.reached) reached += 1;
      else unreached += 1;
    return { reached, unreached };
  }

  /** Whether it is gone by what callers say: a quorum of the `callers` that have it, and none of them reaches it. */
  agree(workload: string, callers: number): boolean {
    const { reached, unreached } = this.count(workload);
    return reached === 0 && unreached >= Math.min(QUORUM, Math.max(1, callers));
  }

  /** There is a sign of it, or it is gone. */
  forget(workload: string): void {
    this.#reports.delete(workload);
  }

  /** One caller that reaches it outweighs all that do not: it finds room. */
  #makeRoom(reports: Map<string, Report>, reached: boolean): boolean {
    const oldest = this.#clock.now() - REPORT_COUNTS;
    for (const [caller, report] of reports)
      if (report.at <= oldest || (reached && !report.reached)) {
        reports.delete(caller);
        return true;
      }
    return false;
  }
}
