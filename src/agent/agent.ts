/** What a sidecar has of its agent, whether its config and certificates come from a control plane or from files. */
import type { Cancel } from "../core/clock.ts";
import type { WallMs } from "../core/units.ts";
import type { Watch } from "../core/watch.ts";
import type { Credentials } from "../identity/credentials.ts";
import type {
  SelfDescription,
  Snapshot,
  SnapshotVersion,
} from "../policy/snapshot.ts";
import type { Difference } from "../policy/compile/held/stock.ts";
import type {
  Counted,
  ObservedCall,
  OutsideCall,
  UnreadReport,
} from "../push/messages.ts";
import type { SharedLookups } from "./interest/lookups.ts";

export interface Agent {
  /** The config in force; undefined until there is any. */
  readonly snapshot: Watch<Snapshot | undefined>;
  /** The certificate in use; undefined until there is one that is valid. */
  readonly credentials: Watch<Credentials | undefined>;
  readonly state: Watch<AgentState>;
  /** The newest certificate, valid or not; absent where `credentials` has it. */
  readonly newest?: () => Credentials | undefined;
  /** Tells what the config in force lacks because nothing has used it; absent or undefined where it lacks nothing. */
  readonly lookups?: SharedLookups | undefined;
  /** Takes what was seen of unconfirmed endpoints; absent where there is no control plane to tell. */
  readonly reports?: SharedReports;
  /** Takes what has come in; absent where there is no control plane to tell. */
  readonly observations?: SharedObservations;
  /** The same of calls that leave the mesh. */
  readonly outside?: SharedObservations<OutsideCall>;
  /** This machine's clock has jumped: what hangs on it is looked at again. */
  clockJumped(): void;
  /**
   * The first call registers the workload (law 12: the proxy has probed the application by then); later ones change whether it is
   * balanced to, and on which ports: `silent` has why others take no connections. Resolves when the control plane has it, or at once where there is none now: it learns of it at the next connection.
   */
  setReady(ready: boolean, silent?: ReadonlyMap<number, string>): Promise<void>;
  /** Takes the workload out; resolves when that is acknowledged, or after 5 s. Nothing registers it again. */
  deregister(): Promise<void>;
  /** Loads what it needs hours later, while the package is still the one that it was started from. Absent: it has all. */
  loadRest?(): Promise<void>;
  /** Resolves when all that a process needs that starts from the state directory is there, or could not be written. Absent: nothing is. */
  keep?(): Promise<void>;
  /**
   * Leaves the state directory and the place in the mesh to another process of the same sidecar: writes nothing more, and follows the
   * control plane no longer. What is in force stays. Absent: it shares nothing with another process.
   */
  letGo?(): Promise<void>;
  close(): Promise<void>;
}

/** What a snapshot is compiled from, given the one in force. */
export interface SharedConfig {
  /** From the resources of the config in force. */
  readonly difference: Difference;
  readonly self: SelfDescription;
  readonly version: SnapshotVersion;
}

/** Threads that serve by the same config: it is in force, and acknowledged, once all of them have it. */
export interface Peers {
  /** Each compiles it and keeps it ready; resolves with the reason where one of them cannot. */
  compile(config: SharedConfig): Promise<string | undefined>;
  /** Each goes over to it. */
  swap(): Promise<void>;
}

export interface AgentState {
  /** Where the config in force came from. `disk`: not confirmed by the control plane since this process started. */
  readonly source: "stream" | "disk" | "files" | "none";
  /** Whether the control plane is there now. Always true of files. */
  readonly connected: boolean;
  readonly version?: SnapshotVersion;
  /** Wall milliseconds at which the config in force was received, or last confirmed at a connection. */
  readonly configReceivedAt?: WallMs;
  /** The newest config that was offered and not taken; gone once one is taken. */
  readonly refused?: RefusedConfig;
  /** Resources of the config in force with fields that this version does not know; absent where there are none. */
  readonly unread?: UnreadReport;
  /** "NAMESPACE/NAME" while the control plane has this workload registered. */
  readonly registered?: string;
  /** What keeps the certificate from being renewed once three quarters of its life are over. */
  readonly certificateAlarm?: string;
  /** The newest failure of the agent's own work, with what to do; gone once that work succeeds. */
  readonly lastError?: string;
}

export interface RefusedConfig {
  /** Absent where the config could not be read far enough to tell. */
  readonly version?: SnapshotVersion;
  readonly reason: string;
  /** Wall milliseconds. */
  readonly at: number;
}

/** What a caller has seen of an endpoint that is marked as unconfirmed. */
export interface Sighting {
  /** "NAMESPACE/NAME" */
  readonly workload: string;
  /** False: connections to it were refused, or timed out. */
  readonly reached: boolean;
  /** Milliseconds since then: threads have clocks of their own. */
  readonly age: number;
}

/** What the workers of a sidecar tell. */
export interface SharedReports {
  /** Looks now and then, until the result is called. */
  watch(look: () => readonly Sighting[]): Cancel;
  tell(sightings: readonly Sighting[]): void;
}

/** What the workers of a sidecar tell of the calls that come in, or of those that leave the mesh. */
export interface SharedObservations<Call = ObservedCall> {
  /** Looks now and then, until the result is called. */
  watch(look: () => Counted<Call>): Cancel;
  tell(counted: Counted<Call>): void;
}

/** Milliseconds between two looks. */
export const LOOK_AGAIN = 5000;
/** Milliseconds after which a sighting says nothing: an ejected endpoint is tried again within this time. */
export const FRESH_FOR = 60_000;
