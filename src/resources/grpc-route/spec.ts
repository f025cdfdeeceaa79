/** GRPCRoute as it is written: which backends get which calls of a gRPC Service, by service and method (Gateway API, GAMMA). */
import type { Resource } from "../envelope.ts";
import type { BackendRef, HeaderMatch, ParentRef } from "../http-route/spec.ts";
import type { GRPCRouteFilter } from "../route-filters/schema.ts";

export type GRPCRouteResource = Resource<GRPCRouteSpec>;

export interface GRPCRouteSpec {
  readonly parentRefs: readonly ParentRef[];
  readonly rules: readonly GRPCRouteRule[];
}

export interface GRPCRouteRule {
  readonly name?: string;
  /** Any of these; absent means every call. */
  readonly matches?: readonly GRPCRouteMatch[];
  readonly filters?: readonly GRPCRouteFilter[];
  /** Absent: the rule responds with UNAVAILABLE. */
  readonly backendRefs?: readonly BackendRef[];
}

/** All of these. */
export interface GRPCRouteMatch {
  /** Absent: every method of every service. */
  readonly method?: GRPCMethodMatch;
  readonly headers?: readonly HeaderMatch[];
}

/** One of the two texts at least. */
export interface GRPCMethodMatch {
  /** Absent: Exact. */
  readonly type?: "Exact" | "RegularExpression";
  /** "shop.Cart", compared with regard to case. */
  readonly service?: string;
  /** "Add", compared with regard to case. */
  readonly method?: string;
}
