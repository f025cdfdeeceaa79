/** What is known of a registered workload: who holds it, and whether there is a sign of life. */
import type { Cancel } from "../../core/clock.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { ResourceKey } from "../../resources/envelope.ts";

export interface Lease {
  /** "NAMESPACE/NAME" */
  readonly workload: string;
  /** SPIFFE id of the holder. */
  readonly identity: SpiffeUri;
  readonly ready: boolean;
  /** Whether a stream holds it. */
  readonly held: boolean;
  /** False once it has run out: the workload is still there, and nobody knows whether its sidecar is. */
  readonly confirmed: boolean;
}

/** As the registry keeps it. */
export interface LeaseState {
  readonly key: ResourceKey;
  readonly identity: SpiffeUri;
  /** Keys that speak for it, oldest first; none after a restart, until its sidecar is back. */
  keys: readonly string[];
  ttl: number;
  ready: boolean;
  cancelExpiry: Cancel;
  /** Why it stays though it has run out, as it was said last. */
  keptFor: string | undefined;
}
