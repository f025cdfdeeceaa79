/** The schema of HTTPRoute, the parts of it that other kinds share, and the kind. */
import Type, { type TSchema, type TUnsafe } from "typebox";
import {
  SERVICE_KIND,
  SERVICE_NAME,
  SERVICE_PORT,
} from "../route-filters/service-ref.ts";
import { formatDuration } from "../../core/duration.ts";
import { COMMON_METHODS } from "../../core/text/methods.ts";
import { defineKind, type KindDefinition } from "../kind.ts";
import {
  BACKEND_FILTERS,
  HTTP_ROUTE_FILTERS,
} from "../route-filters/schema.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DNS_NAME,
  DURATION,
  field,
  HEADER_NAME,
  PORT,
} from "../schema-parts.ts";
import { checkHTTPRoute } from "./check.ts";
import {
  DEFAULT_BACKOFF,
  DEFAULT_WEIGHT,
  MAXIMUM_BACKOFF,
  type BackendRef,
  type HeaderMatch,
  type HTTPRouteMatch,
  type HTTPRouteSpec,
  type ParentRef,
} from "./spec.ts";

const parentRefs = Type.Array(
  Type.Object(
    {
      ...SERVICE_NAME,
      kind: field(
        "Service. Without it, Gateway API would read Gateway.",
        Type.Enum(["Service"], {
          expected: "Service (Gateway API reads an absent kind as Gateway)",
        }),
      ),
      port: field(
        "The number of one port. Without it and sectionName, every port.",
        Type.Optional(Type.Integer(PORT)),
      ),
      sectionName: field(
        "The name of one port.",
        Type.Optional(Type.String(DNS_LABEL)),
      ),
    },
    CLOSED,
  ),
  { minItems: 1, maxItems: 32 },
);
const backendRefs = Type.Array(
  Type.Object(
    {
      ...SERVICE_NAME,
      kind: SERVICE_KIND,
      port: SERVICE_PORT,
      weight: field(
        "Its share, relative to the other backends of the rule; 0 gets nothing.",
        Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
        DEFAULT_WEIGHT,
      ),
      filters: field(
        "What is done to requests and responses of this backend, after the rule's filters.",
        Type.Optional(BACKEND_FILTERS),
      ),
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
const valueType = field(
  "How the value is compared. A regular expression must match all of it.",
  Type.Optional(Type.Enum(["Exact", "RegularExpression"])),
  "Exact",
);
export const HEADER_MATCHES: TUnsafe<readonly HeaderMatch[]> = Type.Unsafe(
  describes<readonly HeaderMatch[]>()(
    Type.Array(
      Type.Object(
        {
          type: valueType,
          name: field(
            "The header's name, in any case.",
            Type.String(HEADER_NAME),
          ),
          value: field(
            "The value, or an expression for it.",
            Type.String({ minLength: 1, maxLength: 4096 }),
          ),
        },
        CLOSED,
      ),
      { minItems: 1, maxItems: 16 },
    ),
  ),
);
const pathMatch = Type.Object(
  {
    type: field(
      "PathPrefix compares whole path elements: /a matches /a/b, and not /ab.",
      Type.Optional(Type.Enum(["Exact", "PathPrefix", "RegularExpression"])),
      "PathPrefix",
    ),
    value: field(
      "The path, a prefix of it, or an expression for all of it.",
      Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
      "/",
    ),
  },
  CLOSED,
);
const queryMatch = Type.Object(
  {
    type: valueType,
    name: field(
      "The parameter's name; case matters. The first of several counts.",
      Type.String(HEADER_NAME),
    ),
    value: field(
      "The value, or an expression for it.",
      Type.String({ minLength: 1, maxLength: 1024 }),
    ),
  },
  CLOSED,
);
const match = Type.Object(
  {
    path: field("The normalised path.", Type.Optional(pathMatch)),
    headers: field(
      "Request headers, all of them.",
      Type.Optional(HEADER_MATCHES),
    ),
    queryParams: field(
      "Parameters of the query, all of them.",
      Type.Optional(Type.Array(queryMatch, { minItems: 1, maxItems: 16 })),
    ),
    method: field("The method.", Type.Optional(Type.Enum([...COMMON_METHODS]))),
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
const timeouts = Type.Object(
  {
    request: field(
      "For the request with all its retries. Without it, the Mesh's default.",
      Type.Optional(Type.String(DURATION)),
    ),
    backendRequest: field(
      "For each attempt; `request` at most.",
      Type.Optional(Type.String(DURATION)),
    ),
  },
  CLOSED,
);
const retry = Type.Object(
  {
    codes: field(
      "Statuses after which a request that may be repeated is retried: 429, and 500 to 599.",
      Type.Optional(
        Type.Array(Type.Integer({ minimum: 400, maximum: 599 }), {
          minItems: 1,
          maxItems: 64,
          uniqueItems: true,
        }),
      ),
    ),
    attempts: field(
      "Retries after the first attempt. Without it, the Mesh's default.",
      Type.Optional(Type.Integer({ minimum: 0, maximum: 10 })),
    ),
    backoff: field(
      `The wait before the first retry. It doubles up to ${formatDuration(MAXIMUM_BACKOFF)}, with full jitter.`,
      Type.Optional(Type.String(DURATION)),
      formatDuration(DEFAULT_BACKOFF),
    ),
  },
  CLOSED,
);
const rule = Type.Object(
  {
    name: field(
      "Its name, for logs and `wherry explain`.",
      Type.Optional(Type.String(DNS_NAME)),
    ),
    matches: field(
      "Requests that the rule is for: any of these. Without it, every request.",
      Type.Optional(REQUEST_MATCHES),
    ),
    filters: field(
      "What is done to requests and responses.",
      Type.Optional(HTTP_ROUTE_FILTERS),
    ),
    backendRefs: field(
      "The Services that get the requests. Without any, and without a redirect, the response is 500.",
      Type.Optional(BACKEND_REFS),
    ),
    timeouts: field("Timeouts; 0s is none.", Type.Optional(timeouts)),
    retry: field(
      "Retries, within the retry budget of the Service.",
      Type.Optional(retry),
    ),
  },
  CLOSED,
);
const spec: TSchema = describes<HTTPRouteSpec>()(
  Type.Object(
    {
      parentRefs: field("The Services that the route is for.", PARENT_REFS),
      rules: field(
        "What happens to requests. The most specific match decides.",
        Type.Array(rule, { minItems: 1, maxItems: 16 }),
      ),
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
  meaning:
    "Which backends get which requests to a Service, with header changes, timeouts and retries.",
  shortNames: [],
  spec,
  unsupported: {
    ...NOT_OF_ROUTES,
    "spec.rules[].filters[].externalAuth": "",
  },
  check: checkHTTPRoute,
});
