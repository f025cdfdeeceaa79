/** What the API is given: the parts of the control plane, each by the little that the API needs of it. */
import type { Clock } from "../../core/clock.ts";
import type { LoopDelay } from "../loop-delay.ts";
import type { Logger } from "../../core/log.ts";
import type { MeshSource } from "../push/catalogue/mesh-view.ts";
import type { ApiMeters } from "../meters.ts";
import type { ObservedCalls } from "../observed/observed-calls.ts";
import type { OutsideCalls } from "../observed/outside-calls.ts";
import type { PushStatus } from "../push/status.ts";
import type { Unconfirmed } from "../registry/lease.ts";
import type { OpenStatus } from "../status.ts";
import type { Store } from "../store/store.ts";
import type { ApiTracing } from "../tracing.ts";
import type { RotationRunner } from "../trust/rotation-runner.ts";
import type { Trust } from "../trust/trust.ts";
import type { CheckInPlace } from "./resource-validation.ts";

export interface ApiOptions {
  readonly store: Store;
  readonly storeKind: "memory" | "sqlite";
  readonly clock: Clock;
  readonly logger: Logger;
  readonly trustDomain: string;
  /** The roots that are trusted. Enrolment tokens carry their fingerprints. */
  readonly trust: Trust;
  readonly rotation: Pick<RotationRunner, "view" | "begin" | "abandon">;
  /** "HOST:PORT" of enrolment, for tokens to carry; undefined where it is not known. */
  enrolmentAddress(): string | undefined;
  /** What lists are read from. */
  readonly mesh: MeshSource;
  /** What gives resources their conditions. */
  readonly openStatus: OpenStatus;
  readonly checkInPlace: CheckInPlace;
  /** True where a sidecar has registered that workload and holds it by a lease that has not run out. */
  isLeased(namespace: string, name: string): boolean;
  /** Workloads whose leases have run out, by "NAMESPACE/NAME". */
  unconfirmed(): Promise<readonly (readonly [string, Unconfirmed])[]>;
  /** The calls that sidecars have seen come in. */
  readonly observed: ObservedCalls;
  /** Those that have left the mesh, or would have. */
  readonly outside: OutsideCalls;
  readonly push: PushStatus;
  readonly acceptance: Acceptance;
  /** Refuses to respond as ready before this says so. */
  isReady(): boolean;
  /** How late the event loop is: reads give way. */
  readonly loop: Pick<LoopDelay, "standing">;
  readonly meters: ApiMeters;
  /** What `/metrics` responds with. */
  metrics(): Promise<string>;
  /** Absent: requests are not traced. */
  readonly tracing?: ApiTracing;
}

/** Whether an operator has told the sidecars to take this store for their own. */
export interface Acceptance {
  readonly accepted: boolean;
  accept(): Promise<void>;
}
