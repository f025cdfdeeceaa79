/** The messages between control plane and sidecar, as the code sees them; `codec.ts` puts them on the wire. */
import type { Unread } from "./stand-in.ts";

/** What a peer says about itself at the start of its stream. */
export interface Node {
  readonly id: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** google.rpc.Status, as far as it is used. */
export interface ErrorDetail {
  readonly code: number;
  readonly message: string;
}

/** envoy.service.discovery.v3.DeltaDiscoveryRequest */
export interface DeltaRequest {
  readonly node: Node | undefined;
  readonly typeUrl: string;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  /** Resource name to the version that the sidecar holds; only in the first request of a stream. */
  readonly initialVersions: ReadonlyMap<string, string>;
  /** "" but in an acknowledgement. */
  readonly nonce: string;
  /** There only in a refusal. */
  readonly error: ErrorDetail | undefined;
  /** In an acknowledgement: resources with fields that the sidecar does not know; absent where there are none. */
  readonly unread?: UnreadReport;
}

export interface UnreadReport {
  readonly count: number;
  /** The first of them. */
  readonly resources: readonly UnreadResource[];
}

/** `resource`: "AuthorizationPolicy shop/orders" */
export interface UnreadResource extends Unread {
  readonly resource: string;
}

/** envoy.service.discovery.v3.Resource with its google.protobuf.Any opened. */
export interface DeltaResource {
  readonly name: string;
  readonly version: string;
  readonly typeUrl: string;
  readonly value: Buffer;
}

/** envoy.service.discovery.v3.DeltaDiscoveryResponse */
export interface DeltaResponse {
  readonly systemVersion: string;
  readonly typeUrl: string;
  readonly nonce: string;
  readonly resources: readonly DeltaResource[];
  readonly removed: readonly string[];
}

/** wherry.push.v1.Resource */
export interface PushedResource {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** The whole resource as JSON. */
  readonly json: Buffer;
}

/** wherry.push.v1.Lookup: what a subscription to a host or an address leads to. */
export interface Lookup {
  /** "NAMESPACE/NAME" of each Service, sorted; empty where nothing in the mesh has that host or address. */
  readonly services: readonly string[];
}

/** wherry.push.v1.Revision: closes a push. */
export interface Revision {
  /** UUID of the store. */
  readonly store: string;
  readonly revision: number;
  /** Over the names and versions that the sidecar should hold now (`names.ts`). */
  readonly digest: string;
  /** An operator has said that this store may replace the one that the sidecar knew. */
  readonly accepted: boolean;
  /** The branch of the store's history that the revision is on; absent or "" where it has none. */
  readonly branch?: string;
  /** The revision that the sidecar said to hold is not in the store's history: a backup was put in its place. */
  readonly parted?: boolean;
  /** The sidecar holds what its subscriptions name, with the results of its questions; without that, it holds everything in scope. */
  readonly selective: boolean;
}

export interface EnrolRequest {
  /** The whole token text. */
  readonly token: string;
  /** PEM */
  readonly csr: string;
  /** The instance name that the sidecar would like; "" leaves it to the control plane. */
  readonly name: string;
}

export interface RenewRequest {
  /** PEM */
  readonly csr: string;
}

/** The response to Enrol and to Renew. */
export interface IssueResponse {
  /** PEM, leaf first. */
  readonly certificateChain: string;
  /** PEM */
  readonly trustBundle: string;
  /** Wall milliseconds at which it was issued, by the control plane's clock; 0 where one of an older version does not say. */
  readonly time: number;
  /** A SignedTrust, whose roots count; empty from a control plane of an older version. */
  readonly trust: Buffer;
}

export interface RegisterRequest {
  /** A WorkloadSpec as JSON. */
  readonly spec: string;
}

export interface RegisterResponse {
  /** "NAMESPACE/NAME" of the Workload. */
  readonly workload: string;
}

/** What a caller has seen lately of workloads that are marked as unconfirmed, "NAMESPACE/NAME" each. */
export interface ReportRequest {
  readonly reached: readonly string[];
  /** Connections were refused, or timed out. */
  readonly unreached: readonly string[];
}

/** Calls of one sort that a sidecar has seen come in: by one caller, to one port, with one method and one path. */
export interface ObservedCall {
  /** "NAMESPACE/NAME" of a policy that changes no verdict; "": the calls as such. */
  readonly policy: string;
  /** What that policy would do: "refused", "admitted", "matched"; "" where there is none. */
  readonly effect: string;
  /** SPIFFE id; "" in plaintext. */
  readonly peer: string;
  /** IP address of a caller in plaintext; "" where it has an identity. */
  readonly address: string;
  /** The application's. */
  readonly port: number;
  /** "": not HTTP. */
  readonly method: string;
  /** The one of the first call. */
  readonly host: string;
  /** "": not HTTP, or paths that found no room. */
  readonly path: string;
  readonly count: number;
  /** Milliseconds since the first and the last of them. */
  readonly firstAge: number;
  readonly lastAge: number;
}

/** What became of a call to a place outside the mesh: it went through an external Service, past all Services, or nowhere (REGISTRY_ONLY). */
export type OutsideVerdict = "external" | "passed" | "refused";

/** Calls of one sort that the application beside a sidecar made to one place outside the mesh. */
export interface OutsideCall {
  /** An OutsideVerdict. */
  readonly verdict: string;
  /** "NAMESPACE/NAME" of the external Service that took them; "" where none did. */
  readonly service: string;
  /** The name or the address that was called; "": places that found no room. */
  readonly host: string;
  readonly port: number;
  /** Where an address was called: the host that the first call said it was for; "" where it said none. */
  readonly name: string;
  readonly count: number;
  /** Milliseconds since the first and the last of them. */
  readonly firstAge: number;
  readonly lastAge: number;
}

/** Calls that a sidecar has counted. */
export interface Counted<Call> {
  readonly calls: readonly Call[];
  /** Calls that found no room. */
  readonly dropped: number;
}

/** What tells one row of a sidecar from its others: in a worker, in its agent and in the control plane. */
export function keyOfObserved(
  call: Omit<ObservedCall, "count" | "firstAge" | "lastAge">,
): string {
  const { policy, effect, peer, address, port, method, path } = call;
  return [policy, effect, peer, address, port, method, path].join(" ");
}

/** The same of a call that leaves the mesh. */
export function keyOfOutside(
  call: Omit<OutsideCall, "count" | "firstAge" | "lastAge">,
): string {
  const { verdict, service, host, port } = call;
  return `${verdict} ${service} ${host} ${port}`;
}

export type Observed = Counted<ObservedCall>;
export type Outside = Counted<OutsideCall>;
