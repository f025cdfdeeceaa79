/** HTTPRoute as it is written: which backends get which requests of a Service, with what changes, time-outs and retries (Gateway API, GAMMA). */
import type { CommonMethod } from "../../core/text/methods.ts";
import type { Resource } from "../envelope.ts";
import type {
  BackendFilter,
  HTTPRouteFilter,
} from "../route-filters/schema.ts";

export type HTTPRouteResource = Resource<HTTPRouteSpec>;

export interface HTTPRouteSpec {
  readonly parentRefs: readonly ParentRef[];
  readonly rules: readonly HTTPRouteRule[];
}

/** The Service that the route acts for. */
export interface ParentRef {
  /** The Service kind is ours; "" and "core" are taken as aliases. */
  readonly group?: "" | "core" | "mesh.wherry.dev";
  /** Required: Gateway API reads an absent kind as Gateway. */
  readonly kind: "Service";
  /** Absent: the route's own. Another one makes it a consumer route (trap 9). */
  readonly namespace?: string;
  readonly name: string;
  /** Absent: every port of the Service. */
  readonly port?: number;
  /** The name of a port of the Service. */
  readonly sectionName?: string;
}

export interface HTTPRouteRule {
  readonly name?: string;
  /** Any of these; absent means every request. */
  readonly matches?: readonly HTTPRouteMatch[];
  readonly filters?: readonly HTTPRouteFilter[];
  /** Absent: the rule responds with 500 (trap 10). */
  readonly backendRefs?: readonly BackendRef[];
  readonly timeouts?: HTTPRouteTimeouts;
  readonly retry?: HTTPRouteRetry;
}

/** All of these. */
export interface HTTPRouteMatch {
  /** Absent: PathPrefix "/". */
  readonly path?: PathMatch;
  readonly headers?: readonly HeaderMatch[];
  readonly queryParams?: readonly QueryMatch[];
  readonly method?: CommonMethod;
}

export interface PathMatch {
  /** Absent: PathPrefix. */
  readonly type?: "Exact" | "PathPrefix" | "RegularExpression";
  /** Absent: "/". */
  readonly value?: string;
}

export interface HeaderMatch {
  /** Absent: Exact. */
  readonly type?: "Exact" | "RegularExpression";
  /** Compared without regard to case. */
  readonly name: string;
  readonly value: string;
}

export interface QueryMatch {
  /** Absent: Exact. */
  readonly type?: "Exact" | "RegularExpression";
  /** Compared with regard to case. */
  readonly name: string;
  readonly value: string;
}

export interface BackendRef {
  readonly group?: "" | "core" | "mesh.wherry.dev";
  readonly kind?: "Service";
  /** Absent: the route's own. */
  readonly namespace?: string;
  readonly name: string;
  /** Required, as in Gateway API for a Service. */
  readonly port: number;
  /** Absent: 1. */
  readonly weight?: number;
  /** After those of the rule, for this backend's share. */
  readonly filters?: readonly BackendFilter[];
}

export interface HTTPRouteTimeouts {
  /** All tries and back-off, to the last response byte; "0s" is off (trap 11). */
  readonly request?: string;
  /** One try. */
  readonly backendRequest?: string;
}

export interface HTTPRouteRetry {
  readonly codes?: readonly number[];
  /** Retries, not tries. Absent: the Mesh's default. */
  readonly attempts?: number;
  /** Absent: 25 ms. */
  readonly backoff?: string;
}

export const DEFAULT_WEIGHT = 1;
/** Milliseconds; doubled at each retry to at most `MAXIMUM_BACKOFF`, with full jitter. */
export const DEFAULT_BACKOFF = 25;
export const MAXIMUM_BACKOFF = 250;

/** Below 500 a response is the application's success, but for 429 (`outcomeOfAnswer`): no route makes it a failure. */
export function isRetryable(status: number): boolean {
  return status === 429 || status >= 500;
}
