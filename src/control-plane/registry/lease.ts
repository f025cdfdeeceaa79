/** What is known of a registered workload: who holds it, and whether there is a sign of life. */
import type { Cancel } from "../../core/clock.ts";
import type { MonotonicMs, SpiffeUri, WallMs } from "../../core/units.ts";
import type { WorkloadSpec } from "../../resources/workload/schema.ts";
import type { Marked } from "./marks.ts";
import type { ReportCount } from "./reports.ts";

export interface Lease {
  /** "NAMESPACE/NAME" */
  readonly workload: string;
  /** SPIFFE id of the holder. */
  readonly identity: SpiffeUri;
  readonly ready: boolean;
  /** As its Workload has them; absent where there are none. */
  readonly unreadyPorts?: Readonly<Record<string, string>>;
  /** Whether a stream holds it. */
  readonly held: boolean;
  /** False once it has run out: the workload is still there, and nobody knows whether its sidecar is. */
  readonly confirmed: boolean;
  /** Absent of a confirmed one. */
  readonly unconfirmed?: Unconfirmed;
}

/** What is known of a workload whose lease has run out; the counts are of callers' reports. */
export interface Unconfirmed extends ReportCount {
  /** The end of its lease. */
  readonly since: WallMs;
  /** Why it is still there. */
  readonly why: string;
}

/** As the registry keeps it. */
export interface LeaseState extends Marked {
  /** Keys that speak for it, oldest first; none after a restart, until its sidecar is back. */
  keys: readonly string[];
  ttl: number;
  ready: boolean;
  unreadyPorts: WorkloadSpec["unreadyPorts"];
  cancelExpiry: Cancel;
  /** When it ran out, or when this control plane took it over unconfirmed; undefined while there are signs of its sidecar. */
  ranOutAt: MonotonicMs | undefined;
  /** Why it stays though it has run out, as it was said last. */
  keptFor: string | undefined;
}
