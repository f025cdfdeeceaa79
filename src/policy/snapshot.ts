/** The immutable, compiled view that one proxy serves from; a request ends with the one that it started with (law 1). */
import type { ServiceKey, SpiffeUri } from "../core/units.ts";
import type { Revoked } from "../identity/revoked.ts";
import { type MeshSettings } from "../resources/mesh/schema.ts";
import type { AppProtocol, ServicePort } from "../resources/service/schema.ts";
import type { ClientTls } from "../resources/traffic-policy/client-tls.ts";
import type { TrafficSettings } from "../resources/traffic-policy/settings.ts";
import type { MtlsDecision } from "./authentication.ts";
import type { Authorizer, Verdict } from "./authorization/authorization.ts";
import type { CustomAuthorizer } from "./authorization/custom.ts";
import type { AuthorizationFacts } from "./authorization/call.ts";
import type { Shadow } from "./authorization/shadow.ts";
import type { CorsPolicy } from "./routing/cors.ts";
import type { Fault } from "./fault.ts";
import type { HeaderEdits } from "./routing/header-edits.ts";
import type { RetryPolicy } from "./retry.ts";
import type { ConsideredMatch } from "./router/router.ts";
import type { RoutedRequest, RuleRef } from "./router/candidate.ts";
import type { Timeouts } from "./timeout.ts";
import type { Redirect, UrlRewrite } from "./routing/url-rewrite.ts";
import type { AdaptiveConcurrency } from "../resources/traffic-policy/overload.ts";
import type { Prioritizer } from "./priority.ts";
import type { RateLimit } from "./rate-limit.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";
import type { ReadHeaders } from "../mesh/header-readings.ts";
import type { TokenRules } from "./tokens/token-rules.ts";

/** Which state of which store this was compiled from. */
export interface SnapshotVersion {
  readonly store: string;
  readonly revision: number;
  readonly digest: string;
  /** The branch of the store's history that the revision is on; absent where it has none. */
  readonly branch?: string;
}

/** The workload beside which the proxy stands, as its certificate binds it (trap 16). */
export interface SelfDescription {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  /** SPIFFE id, as a URI. */
  readonly identity: SpiffeUri;
  /** Ports of the application that were declared at start, by name: known before the Workload is registered. */
  readonly ports?: Readonly<Record<string, number>>;
  /** "REGION/ZONE/SUBZONE", or the first parts of it, as declared at start. */
  readonly locality?: string;
}

export interface Snapshot {
  readonly version: SnapshotVersion;
  readonly self: SelfDescription;
  readonly mesh: MeshSettings;
  /**
   * By the name that the caller used: "orders" (own namespace first), "orders.shop", "orders.shop.svc", "orders.shop.svc.TRUST-DOMAIN",
   * or a host of an external Service; in any case, without port. Port undefined: 80 where there is one, else the first.
   */
  destination(host: string, port: number | undefined): Destination | undefined;
  /**
   * By the address and application port of a Workload, or of an external Service with STATIC endpoints: for captured bytes. Of
   * several Services that lead there the one that `host` names, else the oldest.
   */
  destinationByAddress(
    address: string,
    port: number,
    host?: string,
  ): Destination | undefined;
  /**
   * A captured request to that place: for the Service that `named` names, where it leads there, and for the endpoint itself
   * otherwise. Never for one that is not behind the place.
   */
  destinationOfCaptured(
    address: string,
    port: number,
    named: CalledName | undefined,
  ): Destination | undefined;
  /** By its key; undefined where no destination and no route leads to it. */
  cluster(key: string): Cluster | undefined;
  /** All of them: for people, the path of a request asks for one. */
  readonly destinations: readonly Destination[];
  /** Those with faults. */
  readonly faulty: readonly Destination[];
  /** Every cluster that a destination or a route can lead to; state is kept by `key`. */
  readonly clusters: readonly Cluster[];
  readonly inbound: InboundPolicy;
  /** The same object for as long as none comes or goes. */
  readonly revoked: Revoked;
  /** The same object for as long as nothing that says it changes. */
  readonly telemetry: Telemetry;
  /** What is odd but does not stop the snapshot: conflicts lost, backends that do not exist. */
  readonly warnings: readonly string[];
}

/** A host that a caller said, with the port, if it said one. */
export interface CalledName {
  readonly host: string;
  readonly port: number | undefined;
}

/** One port of one Service, as a caller sees it. */
export interface Destination {
  /** Its cluster's key. */
  readonly key: string;
  readonly service: ServiceName;
  readonly port: ServicePort;
  /** What to do with a request; `random` in [0, 1) draws the backend. */
  route(request: RoutedRequest, random: number): RouteDecision;
  /** How `route` comes to its decision. */
  explain(request: RoutedRequest): RouteTrace;
  /** Trouble on purpose in this workload's calls to it, the oldest first; some may have expired. Undefined where there is none. */
  readonly faults: readonly Fault<RoutedRequest>[] | undefined;
  /** The Service's own endpoints: for TCP, and where no route applies. */
  readonly cluster: Cluster;
}

export interface RouteTrace {
  /** Undefined where no route acts here, so that all goes to the Service itself. */
  readonly kind: RouteKind | undefined;
  /** In the order in which they were asked. */
  readonly considered: readonly ConsideredMatch[];
  /** Routes that name the Service and do not act here. */
  readonly passedOver: readonly PassedOverRoute[];
  /** What it may come to; shares add up to 1. Empty where no rule matches. */
  readonly shares: readonly {
    readonly share: number;
    readonly decision: RouteDecision;
  }[];
}

export type RouteKind = "HTTPRoute" | "GRPCRoute";

export interface PassedOverRoute {
  readonly kind: RouteKind;
  /** "NAMESPACE/NAME" */
  readonly route: string;
  readonly why: string;
}

export interface ServiceName {
  readonly name: string;
  readonly namespace: string;
}

/** The endpoints of one port of one Service and how to treat them. The same object in the next snapshot where nothing changed. */
export interface Cluster {
  /** State (pools, breaker, statistics) is kept by it: "orders.shop:80", or "db.shop:5432@shop/db-1:5432" for one endpoint by itself. */
  readonly key: string;
  /** The name for a peer's sidecar: "orders.shop:80". */
  readonly destination: ServiceKey;
  readonly service: ServiceName;
  readonly port: number;
  readonly appProtocol: AppProtocol;
  readonly external: boolean;
  readonly endpoints: readonly Endpoint[];
  readonly settings: TrafficSettings;
  /** Stands for a host below a wildcard: there may be any number of these, and callers keep the state of so many at most. */
  readonly belowWildcard?: true;
  /** "NAMESPACE/NAME" of the TrafficPolicy in force; absent: the defaults. */
  readonly policy?: string;
  /** Where `policy` is for the port alone: the one of the whole Service, whose blocks hold where the port's has none (trap 14). */
  readonly servicePolicy?: string;
}

export interface Endpoint {
  /** "NAMESPACE/NAME:PORT" of the Workload, or "HOST:PORT"; stable over changes. */
  readonly key: string;
  /** "NAMESPACE/NAME" of the Workload; the host for an external one. */
  readonly workload: string;
  readonly address: string;
  /**
   * Only public addresses, and these, are called: the name may be a stranger's to point anywhere. Absent: any.
   */
  readonly reach?: {
    /** In lower case, whatever they resolve to. */
    readonly hosts: readonly string[];
    readonly ranges: readonly string[];
  };
  /** The name that callers know it by, where `address` is not that: of an external Service with fixed addresses. */
  readonly host?: string;
  /** The application's. */
  readonly port: number;
  /** Port of its sidecar's link; undefined: no sidecar, called in plaintext. */
  readonly link: number | undefined;
  /** SPIFFE id that it must prove; undefined where it has no sidecar. */
  readonly identity: SpiffeUri | undefined;
  readonly weight: number;
  readonly locality: string;
  /** How far its locality is from the caller's: 0 is the same as far as both say, 3 another region. */
  readonly distance: number;
  readonly ready: boolean;
  /** Why its application takes no connections on this port, as its sidecar says; absent where it does, or nothing is known. */
  readonly unready?: string;
  /** The control plane hears nothing of its sidecar: others are preferred to it. */
  readonly unconfirmed?: true;
}

export type RouteDecision =
  | ForwardDecision
  | RedirectDecision
  | PreflightDecision
  | RefuseDecision;

export interface ForwardDecision {
  readonly kind: "forward";
  readonly rule: RuleRef;
  readonly cluster: Cluster;
  readonly requestFilters: HeaderEdits | undefined;
  readonly responseFilters: HeaderEdits | undefined;
  /** Filters that few routes have; undefined where there is none of them, so that one look tells. */
  readonly extras: RouteExtras | undefined;
  readonly timeouts: Timeouts;
  readonly retry: RetryPolicy;
}

export interface RouteExtras {
  readonly rewrite: UrlRewrite | undefined;
  readonly cors: CorsPolicy | undefined;
  readonly mirrors: readonly Mirror[];
}

/** Where a share of the requests is copied to. */
export interface Mirror {
  readonly cluster: Cluster;
  /** From 0 to 1. */
  readonly share: number;
}

/** Responded to here, with another place to go. */
export interface RedirectDecision {
  readonly kind: "redirect";
  readonly rule: RuleRef;
  readonly redirect: Redirect;
  readonly responseFilters: HeaderEdits | undefined;
  readonly cors: CorsPolicy | undefined;
}

/** A browser asks whether it may: responded to here. */
export interface PreflightDecision {
  readonly kind: "preflight";
  readonly rule: RuleRef;
  readonly cors: CorsPolicy;
}

export interface RefuseDecision {
  readonly kind: "refuse";
  readonly code: "NO_ROUTE" | "BACKEND_INVALID";
  readonly rule?: RuleRef;
  /** The rule's: it decides who may read the refusal. */
  readonly cors?: CorsPolicy | undefined;
}

export interface InboundPolicy {
  /** By `x-wherry-destination`: "orders.shop:80". Undefined: not a declared port of this workload, 421. */
  resolve(destination: string): InboundPort | undefined;
  /** By the port of the application, for captured and published connections. */
  byPort(workloadPort: number): InboundPort | undefined;
  readonly ports: readonly InboundPort[];
}

/** One port of this workload's application, under one of the names that lead to it. */
export interface InboundPort {
  /** "orders.shop:80"; "" for a port that no Service leads to. */
  readonly key: ServiceKey;
  /** "orders.shop"; "" for a port that no Service leads to. */
  readonly service: string;
  readonly servicePort: number;
  readonly targetPort: number;
  readonly appProtocol: AppProtocol;
  /** No Service declares the application's port for HTTP: bytes that nobody parses may reach it (law 14). */
  readonly takesBytes: boolean;
  readonly mtls: MtlsDecision;
  /** Whose tokens are accepted; undefined where no RequestAuthentication acts on the workload. */
  readonly tokens: TokenRules | undefined;
  readonly protection: Protection;
  /** What its policies read of a request's headers; undefined where they read none. */
  readonly readHeaders: ReadHeaders | undefined;
  /** What has to be asked before `authorize`; undefined where nothing has. */
  readonly custom: CustomAuthorizer | undefined;
  authorize(facts: AuthorizationFacts): Verdict;
  /** What policies would do that change no verdict; undefined where the workload has none. */
  readonly shadow: Shadow | undefined;
  /** How `authorize` comes to its verdict. */
  explain: Authorizer["explain"];
  /** "NAMESPACE/NAME" of the PeerAuthentications for the workload that did not decide `mtls`, and why. */
  passedOver(): readonly { readonly policy: string; readonly why: string }[];
}
export interface Protection {
  /** Absent: none. */
  readonly limits?: readonly RateLimit<RoutedRequest>[];
  /** Names of the headers that `limits` read. */
  readonly limitHeaders?: readonly string[];
  readonly concurrency: AdaptiveConcurrency;
  /** "NAMESPACE/NAME" of the TrafficPolicy that says how concurrency adapts. */
  readonly concurrencyPolicy?: string;
  /** Undefined where all requests are equal. */
  readonly priority?: Prioritizer<RoutedRequest>;
  /** How the application is spoken to; absent: in plaintext. */
  readonly tls?: ApplicationTls;
  /** Absent: bodies of any length. */
  readonly body?: BodyLimit;
}

export interface ApplicationTls {
  readonly settings: ClientTls;
  readonly serverName: string;
  /** "NAMESPACE/NAME" of the TrafficPolicy. */
  readonly policy: string;
}

export interface BodyLimit {
  readonly bytes: number;
  /** "NAMESPACE/NAME" of the TrafficPolicy. */
  readonly policy: string;
}
