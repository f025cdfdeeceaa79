/** HTTPRoute: which backends get which requests of a Service, with what changes, time-outs and retries (Gateway API, GAMMA). */
import Type, { type TSchema, type TUnsafe } from "typebox";
import { COMMON_METHODS, type CommonMethod } from "../../core/text/methods.ts";
import type { Resource } from "../envelope.ts";
import { checkHTTPRoute } from "./check.ts";
import { defineKind, type KindDefinition } from "../kind.ts";
import {
  BACKEND_FILTERS,
  HTTP_ROUTE_FILTERS,
  type BackendFilter,
  type HTTPRouteFilter,
} from "../route-filters/schema.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DNS_NAME,
  DURATION,
  HEADER_NAME,
  PORT,
} from "../schema-parts.ts";

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
  /** Absent: the rule answers 500 (trap 10). */
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

const serviceRef = {
  group: Type.Optional(Type.Enum(["", "core", "mesh.wherry.dev"])),
  namespace: Type.Optional(Type.String(DNS_LABEL)),
  name: Type.String(DNS_NAME),
};
const parentRefs = Type.Array(
  Type.Object(
    {
      ...serviceRef,
      kind: Type.Enum(["Service"], {
        expected: "Service (Gateway API reads an absent kind as Gateway)",
      }),
      port: Type.Optional(Type.Integer(PORT)),
      sectionName: Type.Optional(Type.String(DNS_LABEL)),
    },
    CLOSED,
  ),
  { minItems: 1, maxItems: 32 },
);
const backendRefs = Type.Array(
  Type.Object(
    {
      ...serviceRef,
      kind: Type.Optional(Type.Enum(["Service"])),
      port: Type.Integer(PORT),
      weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
      filters: Type.Optional(BACKEND_FILTERS),
    },
    CLOSED,
  ),
  { maxItems: 16 },
);
/** As HTTPRoute and GRPCRoute share them. */
export const PARENT_REFS: TUnsafe<readonly ParentRef[]> = Type.Unsafe(
  describes<readonly ParentRef[]>()(parentRefs),
);
export const BACKEND_REFS: TUnsafe<readonly BackendRef[]> = Type.Unsafe(
  describes<readonly BackendRef[]>()(backendRefs),
);
const valueType = Type.Optional(Type.Enum(["Exact", "RegularExpression"]));
export const HEADER_MATCHES: TUnsafe<readonly HeaderMatch[]> = Type.Unsafe(
  describes<readonly HeaderMatch[]>()(
    Type.Array(
      Type.Object(
        {
          type: valueType,
          name: Type.String(HEADER_NAME),
          value: Type.String({ minLength: 1, maxLength: 4096 }),
        },
        CLOSED,
      ),
      { minItems: 1, maxItems: 16 },
    ),
  ),
);
const match = Type.Object(
  {
    path: Type.Optional(
      Type.Object(
        {
          type: Type.Optional(
            Type.Enum(["Exact", "PathPrefix", "RegularExpression"]),
          ),
          value: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
        },
        CLOSED,
      ),
    ),
    headers: Type.Optional(HEADER_MATCHES),
    queryParams: Type.Optional(
      Type.Array(
        Type.Object(
          {
            type: valueType,
            name: Type.String(HEADER_NAME),
            value: Type.String({ minLength: 1, maxLength: 1024 }),
          },
          CLOSED,
        ),
        { minItems: 1, maxItems: 16 },
      ),
    ),
    method: Type.Optional(Type.Enum([...COMMON_METHODS])),
  },
  CLOSED,
);
/** For policies that act on some requests only: any of these. */
export const REQUEST_MATCHES: TUnsafe<readonly HTTPRouteMatch[]> = Type.Unsafe(
  describes<readonly HTTPRouteMatch[]>()(
    Type.Array(match, {
      minItems: 1,
      maxItems: 64,
      expected:
        "that is ambiguous (any, or none?); leave matches out for every request",
    }),
  ),
);
const rule = Type.Object(
  {
    name: Type.Optional(Type.String(DNS_NAME)),
    matches: Type.Optional(REQUEST_MATCHES),
    filters: Type.Optional(HTTP_ROUTE_FILTERS),
    backendRefs: Type.Optional(BACKEND_REFS),
    timeouts: Type.Optional(
      Type.Object(
        {
          request: Type.Optional(Type.String(DURATION)),
          backendRequest: Type.Optional(Type.String(DURATION)),
        },
        CLOSED,
      ),
    ),
    retry: Type.Optional(
      Type.Object(
        {
          codes: Type.Optional(
            Type.Array(Type.Integer({ minimum: 400, maximum: 599 }), {
              minItems: 1,
              maxItems: 64,
              uniqueItems: true,
            }),
          ),
          attempts: Type.Optional(Type.Integer({ minimum: 0, maximum: 10 })),
          backoff: Type.Optional(Type.String(DURATION)),
        },
        CLOSED,
      ),
    ),
  },
  CLOSED,
);
const spec: TSchema = describes<HTTPRouteSpec>()(
  Type.Object(
    {
      parentRefs: PARENT_REFS,
      rules: Type.Array(rule, { minItems: 1, maxItems: 16 }),
    },
    CLOSED,
  ),
);

const ON_RULE = "a backend has header filters only; put this one on the rule";
/** What upstream allows in a route, HTTPRoute or GRPCRoute, and this version does not. */
export const NOT_OF_ROUTES: Readonly<Record<string, string>> = {
  "spec.hostnames":
    "hostnames has no meaning on a route whose parent is a Service (GEP-1294); match the host header instead: matches: [{headers: [{name: host, value: …}]}]",
  "spec.useDefaultGateways":
    "this mesh has no gateways; name a Service in parentRefs",
  "spec.rules[].sessionPersistence": "",
  "spec.rules[].filters[].extensionRef": "",
  "spec.rules[].backendRefs[].filters[].requestMirror": ON_RULE,
  "spec.rules[].backendRefs[].filters[].requestRedirect": ON_RULE,
  "spec.rules[].backendRefs[].filters[].urlRewrite": ON_RULE,
  "spec.rules[].backendRefs[].filters[].cors": ON_RULE,
  "spec.rules[].backendRefs[].filters[].extensionRef": ON_RULE,
};

export const HTTP_ROUTE: KindDefinition<HTTPRouteSpec> = defineKind({
  kind: "HTTPRoute",
  group: "gateway.networking.k8s.io",
  version: "v1",
  plural: "httproutes",
  shortNames: [],
  spec,
  unsupported: {
    ...NOT_OF_ROUTES,
    "spec.rules[].filters[].externalAuth": "",
  },
  check: checkHTTPRoute,
});
