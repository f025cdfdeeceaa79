/** HTTPRoute: which backends get which requests of a Service, with what changes, time-outs and retries (Gateway API, GAMMA). */
import Type, { type TSchema } from "typebox";
import type { Resource } from "./envelope.ts";
import { checkHTTPRoute } from "./http-route-check.ts";
import { defineKind, type KindDefinition } from "./kind.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DNS_NAME,
  DURATION,
  HEADER_NAME,
  HEADER_VALUE,
  PORT,
} from "./schema.ts";

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
  readonly method?: HTTPMethod;
}

export type HTTPMethod =
  | "GET"
  | "HEAD"
  | "POST"
  | "PUT"
  | "DELETE"
  | "CONNECT"
  | "OPTIONS"
  | "TRACE"
  | "PATCH";

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

/** The one field that `type` names is there; the check holds it. */
export interface HTTPRouteFilter {
  readonly type: "RequestHeaderModifier" | "ResponseHeaderModifier";
  readonly requestHeaderModifier?: HeaderModifier;
  readonly responseHeaderModifier?: HeaderModifier;
}

/** Applied in the order set, add, remove. */
export interface HeaderModifier {
  readonly set?: readonly HeaderPair[];
  readonly add?: readonly HeaderPair[];
  readonly remove?: readonly string[];
}

export interface HeaderPair {
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
const parentRef = Type.Object(
  {
    ...serviceRef,
    kind: Type.Enum(["Service"], {
      description: "Service (Gateway API reads an absent kind as Gateway)",
    }),
    port: Type.Optional(Type.Integer(PORT)),
    sectionName: Type.Optional(Type.String(DNS_LABEL)),
  },
  CLOSED,
);
const backendRef = Type.Object(
  {
    ...serviceRef,
    kind: Type.Optional(Type.Enum(["Service"])),
    port: Type.Integer(PORT),
    weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
  },
  CLOSED,
);
const valueType = Type.Optional(Type.Enum(["Exact", "RegularExpression"]));
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
    headers: Type.Optional(
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
    method: Type.Optional(
      Type.Enum([
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "CONNECT",
        "OPTIONS",
        "TRACE",
        "PATCH",
      ]),
    ),
  },
  CLOSED,
);
const pairs = Type.Optional(
  Type.Array(
    Type.Object(
      { name: Type.String(HEADER_NAME), value: Type.String(HEADER_VALUE) },
      CLOSED,
    ),
    { minItems: 1, maxItems: 16 },
  ),
);
const modifier = Type.Optional(
  Type.Object(
    {
      set: pairs,
      add: pairs,
      remove: Type.Optional(
        Type.Array(Type.String(HEADER_NAME), { minItems: 1, maxItems: 16 }),
      ),
    },
    { ...CLOSED, minProperties: 1 },
  ),
);
const filter = Type.Object(
  {
    type: Type.Enum(["RequestHeaderModifier", "ResponseHeaderModifier"]),
    requestHeaderModifier: modifier,
    responseHeaderModifier: modifier,
  },
  CLOSED,
);
const rule = Type.Object(
  {
    name: Type.Optional(Type.String(DNS_NAME)),
    matches: Type.Optional(
      Type.Array(match, {
        minItems: 1,
        maxItems: 64,
        description:
          "that is ambiguous (any, or none?); leave matches out for every request",
      }),
    ),
    filters: Type.Optional(Type.Array(filter, { maxItems: 16 })),
    backendRefs: Type.Optional(Type.Array(backendRef, { maxItems: 16 })),
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
      parentRefs: Type.Array(parentRef, { minItems: 1, maxItems: 32 }),
      rules: Type.Array(rule, { minItems: 1, maxItems: 16 }),
    },
    CLOSED,
  ),
);

export const HTTP_ROUTE: KindDefinition<HTTPRouteSpec> = defineKind({
  kind: "HTTPRoute",
  group: "gateway.networking.k8s.io",
  version: "v1",
  plural: "httproutes",
  shortNames: [],
  spec,
  unsupported: {
    "spec.hostnames":
      "hostnames has no meaning on a route whose parent is a Service (GEP-1294); match the host header instead: matches: [{headers: [{name: host, value: …}]}]",
    "spec.useDefaultGateways":
      "this mesh has no gateways; name a Service in parentRefs",
    "spec.rules[].sessionPersistence": "",
    "spec.rules[].backendRefs[].filters":
      "filters on a backend are not supported by this version; put them on the rule",
    "spec.rules[].filters[].requestMirror": "",
    "spec.rules[].filters[].requestRedirect": "",
    "spec.rules[].filters[].urlRewrite": "",
    "spec.rules[].filters[].cors": "",
    "spec.rules[].filters[].externalAuth": "",
    "spec.rules[].filters[].extensionRef": "",
  },
  check: checkHTTPRoute,
});
