/** What every resource has around its spec: metadata, the key that names it, and the status that the control plane computes. */
import { parseTimestamp } from "../core/clock.ts";

/** Where a namespaced resource goes that names no namespace. */
export const DEFAULT_NAMESPACE = "default";

/** Resources here act on the whole mesh. */
export const ROOT_NAMESPACE = "wherry-system";

export interface Metadata {
  readonly name: string;
  /** Absent on cluster-scoped kinds; always there on a validated resource of any other. */
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** These four are the store's; accepted in input, so that what `get -o yaml` prints can be applied. */
  readonly uid?: string;
  readonly resourceVersion?: string;
  /** Counts changes of the spec. */
  readonly generation?: number;
  /** RFC 3339. The older of two conflicting resources wins, so the store sets it and a restore keeps it (trap 18). */
  readonly creationTimestamp?: string;
}

export interface Condition {
  readonly type:
    | "Accepted"
    | "ResolvedRefs"
    | "Programmed"
    | "Conflicted"
    /** Only of a Workload whose lease has run out. */
    | "Confirmed";
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
}

/** Computed when read, never stored. */
export interface Status {
  readonly conditions: readonly Condition[];
  /** Only of an AuthorizationPolicy that changes no verdict. */
  readonly shadow?: ShadowStatus;
}

/** What a policy that changes no verdict would have done within the last hour. */
export interface ShadowStatus {
  readonly calls: number;
  /** At how many sidecars. */
  readonly sidecars: number;
  /** RFC 3339: the first of the calls. Absent where there are none. */
  readonly since?: string;
  /** The most frequent first. */
  readonly callers: readonly ShadowCaller[];
  /** How many more there are. */
  readonly more: number;
}

export interface ShadowCaller {
  /** "refused", "admitted", "matched" */
  readonly effect: string;
  /** The principal, or "plaintext ADDRESS". */
  readonly caller: string;
  readonly port: number;
  /** Absent: not HTTP. */
  readonly method?: string;
  /** Absent: not HTTP, or one of many paths. */
  readonly path?: string;
  readonly calls: number;
  /** RFC 3339 */
  readonly firstSeen: string;
  readonly lastSeen: string;
}

export interface Resource<S = unknown> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
  readonly spec: S;
  readonly status?: Status;
}

/** Names a resource; the API group does not matter, for kinds' names are unique here. */
export interface ResourceKey {
  readonly kind: string;
  /** "" for cluster-scoped kinds. */
  readonly namespace: string;
  readonly name: string;
}

export function keyOf(resource: Resource): ResourceKey {
  return {
    kind: resource.kind,
    namespace: resource.metadata.namespace ?? "",
    name: resource.metadata.name,
  };
}

/** "HTTPRoute shop/reviews", "Mesh default": for messages, and unique, so also for maps. */
export function formatKey(key: ResourceKey): string {
  return `${key.kind} ${formatName(key.namespace, key.name)}`;
}

/** "shop/reviews", or "default" for a cluster-scoped kind. */
export function formatName(namespace: string, name: string): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

/**
 * Milliseconds since the epoch, by the store. Without a time (resources from files), or with one that the calendar does not have, it is
 * younger than all, so that names decide.
 */
export function createdAt({ metadata }: Resource): number {
  const time = parseTimestamp(metadata.creationTimestamp ?? "");
  return Number.isNaN(time) ? Number.MAX_SAFE_INTEGER : time;
}

/** True where every label of the selector is on the workload. An empty selector selects nothing. */
export function selects(
  selector: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>> | undefined,
): boolean {
  const wanted = Object.entries(selector);
  return (
    wanted.length > 0 && wanted.every(([key, value]) => labels?.[key] === value)
  );
}
