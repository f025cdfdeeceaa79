/** What the control plane knows of each sidecar; computed when asked for, never stored. */
import type { SpiffeUri, WallMs } from "../../core/units.ts";
import type { UnreadReport } from "../../push/messages.ts";
import type { TrustStatus } from "./trust-push.ts";
import type { Resource, ResourceKey } from "../../resources/envelope.ts";

export interface ConfigVersion {
  readonly store: string;
  readonly revision: number;
  readonly digest: string;
  /** Absent where the store has no branches. */
  readonly branch?: string;
}

export interface SidecarStatus {
  /** Instance name, bound by its certificate. */
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  /** SPIFFE id. */
  readonly identity: SpiffeUri;
  readonly connected: boolean;
  /** Wall milliseconds of the beginning of its newest stream. */
  readonly connectedSince: number;
  /** Wall milliseconds; absent while it is connected. */
  readonly disconnectedAt?: number;
  /** The address from which it called. */
  readonly peer: string;
  /** Another address that calls with the same certificate; absent where there is none. */
  readonly copy?: string;
  /** The config that it acknowledged last, on this stream or, as it says itself, before. */
  readonly acknowledged?: ConfigVersion;
  /** Wall milliseconds at which it received the config in force, or confirmed it last. */
  readonly configReceivedAt?: WallMs;
  /** The newest push that it refused; gone once it takes one. */
  readonly refused?: {
    readonly version: ConfigVersion;
    readonly reason: string;
    /** Wall milliseconds. */
    readonly at: number;
  };
  /** Resources that it cannot be told since its push schema does not know all of them; absent where there are none. */
  readonly withheld?: UnreadReport;
  /** Resources of which it says that it was sent fields that it does not know; absent where there are none. */
  readonly unread?: UnreadReport;
  /** True while a push waits for its answer. */
  readonly pending: boolean;
  /** Serial number of the certificate that it connected with, in hexadecimal. */
  readonly certificateSerial: string;
  /** Wall milliseconds at which the certificate that it connected with ends. */
  readonly certificateExpiresAt: WallMs;
  /** The roots that it trusts, and the one that its certificate stands on. */
  readonly trust: TrustStatus & {
    /** Fingerprint of the root of the certificate that it connected with. */
    readonly root: string;
    /** Wall milliseconds at which that was issued, or a little earlier. */
    readonly issuedAt: WallMs;
  };
  /** What it asks for; absent until it has said so. */
  readonly holds?: Holds;
  /** What it says of itself. */
  readonly agent: { readonly version: string; readonly schema: number };
  /** The workload that it has registered. */
  readonly lease?: {
    readonly workload: string;
    readonly ready: boolean;
    /** Ports that are not, by name, each with what the sidecar says of it; absent where there are none. */
    readonly unreadyPorts?: Readonly<Record<string, string>>;
    /** The lease has run out, and the workload is kept. */
    readonly unconfirmed?: true;
  };
}

/** What a sidecar is to hold of its scope. */
export interface Holds {
  /** All of it; the numbers are 0 then. */
  readonly everything: boolean;
  /** Services that calls may lead to. */
  readonly services: number;
  /** Hosts and addresses that it asked for. */
  readonly questions: number;
}

/** What a sidecar has in force. */
export interface SidecarConfig {
  readonly version: ConfigVersion;
  /** There is nothing newer for it; the store's revision may be higher all the same. */
  readonly latest: boolean;
  readonly resources: readonly Resource[];
  /** How many of the resources it does not hold, and would be given for what is asked. */
  readonly added: number;
}

/** How many connected sidecars whose config should hold a resource have it in force, and how many refused it. */
export interface InForce {
  readonly have: number;
  readonly of: number;
  readonly refused: number;
  /** From how many it is withheld since they do not know all of it; absent where from none. */
  readonly withheld?: number;
}

/** A sidecar that refused what it was pushed last, and why. */
export interface Refusing {
  readonly namespace: string;
  readonly name: string;
  readonly reason: string;
  /** Whether it should hold the resource and has refused it: what it has in force all the same is not refused. */
  has(key: ResourceKey): boolean;
}

export interface PushStatistics {
  /** Revisions sent. */
  readonly pushes: number;
  readonly acknowledged: number;
  readonly refused: number;
  /** Resources sent, over all sidecars. */
  readonly resources: number;
  readonly removed: number;
  readonly bytes: number;
  /** Resources encoded: one per version, however many sidecars it goes to. */
  readonly encoded: number;
  readonly connected: number;
}

export interface PushStatus {
  /** Sorted by namespace, then name; sidecars that left stay for as long as their lease, and an hour at most. Where they are many, others have their turn in between. */
  status(): Promise<readonly SidecarStatus[]>;
  /** "NAMESPACE/NAME IDENTITY" of the same, sorted so, for a reader of one status after the other: those of a thousand are two MiB. */
  instances(): Promise<readonly string[]>;
  /** Undefined where it is not to be shown any more. */
  shown(instance: string): SidecarStatus | undefined;
  /** The connected sidecar of that name; where several have it, each under an identity of its own, the one that came first. */
  sidecar(namespace: string, name: string): SidecarStatus | undefined;
  /** `resourceVersion` is that of the resource as the store has it. */
  inForce(key: ResourceKey, resourceVersion: string): InForce;
  /** The connected sidecars that refuse what they were pushed last. */
  refusing(): readonly Refusing[];
  /**
   * What the connected sidecar acknowledged last; undefined where it has acknowledged nothing on its stream, or has none. `asked`:
   * names of hosts and addresses (`push/interest.ts`); what it would be given for them is added.
   */
  configOf(
    sidecar: Pick<SidecarStatus, "namespace" | "name" | "identity">,
    asked?: readonly string[],
  ): SidecarConfig | undefined;
  statistics(): PushStatistics;
}
