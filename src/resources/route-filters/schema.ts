/** The filters of routes' rules, as HTTPRoute and GRPCRoute share them: what is changed in a request, copied of it, or sent in place of a backend's response. */
import Type, { type TUnsafe } from "typebox";
import { SERVICE_KIND, SERVICE_NAME, SERVICE_PORT } from "./service-ref.ts";
import { COMMON_METHODS, type CommonMethod } from "../../core/text/methods.ts";
import {
  CLOSED,
  describes,
  DNS_NAME,
  field,
  HEADER_NAME,
  HEADER_VALUE,
  PORT,
} from "../schema-parts.ts";

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

/** A Service by name; it needs no ReferenceGrant (trap 9). */
export interface ServiceRef {
  readonly group?: "" | "core" | "mesh.wherry.dev";
  readonly kind?: "Service";
  /** Absent: the route's own. */
  readonly namespace?: string;
  readonly name: string;
  /** Required, as in Gateway API for a Service. */
  readonly port: number;
}

/** Sends a copy of the request to another Service; its response is thrown away. */
export interface RequestMirror {
  readonly backendRef: ServiceRef;
  /** One of these two; neither: every request. */
  readonly percent?: number;
  readonly fraction?: Fraction;
}

export interface Fraction {
  readonly numerator: number;
  /** Absent: 100. */
  readonly denominator?: number;
}

/** The one field that `type` names is there; the check holds it. */
export interface PathModifier {
  readonly type: "ReplaceFullPath" | "ReplacePrefixMatch";
  readonly replaceFullPath?: string;
  readonly replacePrefixMatch?: string;
}

export interface URLRewrite {
  /** Takes the place of Host. */
  readonly hostname?: string;
  readonly path?: PathModifier;
}

/** The mesh responds: the request goes nowhere. */
export interface RequestRedirect {
  /** Absent: that of the request. */
  readonly scheme?: "http" | "https";
  /** Absent: that of Host. */
  readonly hostname?: string;
  readonly path?: PathModifier;
  /** Absent: the scheme's own where the filter has a scheme, else the one that was called. */
  readonly port?: number;
  /** Absent: 302. */
  readonly statusCode?: 301 | 302 | 303 | 307 | 308;
}

export type CORSMethod = CommonMethod | "*";

/** Which pages of other origins may call (Gateway API's HTTPCORSFilter, Fetch 3.2). */
export interface CORS {
  /** "*" alone, or "https://*.example.com:8443": a "*" stands for any labels to its left. */
  readonly allowOrigins?: readonly string[];
  readonly allowCredentials?: boolean;
  readonly allowMethods?: readonly CORSMethod[];
  readonly allowHeaders?: readonly string[];
  readonly exposeHeaders?: readonly string[];
  /** Seconds for which a browser may keep the response to a preflight; absent: 5. */
  readonly maxAge?: number;
}

/** Filters of a rule of an HTTPRoute. The one field that `type` names is there; the check holds it. */
export interface HTTPRouteFilter {
  readonly type:
    | "RequestHeaderModifier"
    | "ResponseHeaderModifier"
    | "RequestMirror"
    | "RequestRedirect"
    | "URLRewrite"
    | "CORS";
  readonly requestHeaderModifier?: HeaderModifier;
  readonly responseHeaderModifier?: HeaderModifier;
  readonly requestMirror?: RequestMirror;
  readonly requestRedirect?: RequestRedirect;
  readonly urlRewrite?: URLRewrite;
  readonly cors?: CORS;
}

/** Filters of a rule of a GRPCRoute. */
export interface GRPCRouteFilter {
  readonly type:
    | "RequestHeaderModifier"
    | "ResponseHeaderModifier"
    | "RequestMirror";
  readonly requestHeaderModifier?: HeaderModifier;
  readonly responseHeaderModifier?: HeaderModifier;
  readonly requestMirror?: RequestMirror;
}

/** Filters of one backend: what is particular to it, after the filters of the rule. */
export interface BackendFilter {
  readonly type: "RequestHeaderModifier" | "ResponseHeaderModifier";
  readonly requestHeaderModifier?: HeaderModifier;
  readonly responseHeaderModifier?: HeaderModifier;
}

/** Seconds, as Gateway API has it. */
export const DEFAULT_MAX_AGE = 5;
export const DEFAULT_DENOMINATOR = 100;
export const DEFAULT_REDIRECT = 302;

const pairs = Type.Optional(
  Type.Array(
    Type.Object(
      {
        name: field(
          "The header's name, in any case.",
          Type.String(HEADER_NAME),
        ),
        value: field("Its value.", Type.String(HEADER_VALUE)),
      },
      CLOSED,
    ),
    { minItems: 1, maxItems: 16 },
  ),
);
const modifier = Type.Optional(
  Type.Object(
    {
      set: field("Headers that replace those of the same name.", pairs),
      add: field("Values that are added to what is there.", pairs),
      remove: field(
        "Names of headers that are removed.",
        Type.Optional(
          Type.Array(Type.String(HEADER_NAME), { minItems: 1, maxItems: 16 }),
        ),
      ),
    },
    { ...CLOSED, minProperties: 1 },
  ),
);
const fraction = Type.Object(
  {
    numerator: field(
      "The numerator.",
      Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }),
    ),
    denominator: field(
      "The denominator.",
      Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 })),
      DEFAULT_DENOMINATOR,
    ),
  },
  CLOSED,
);
const mirror = Type.Optional(
  Type.Object(
    {
      backendRef: field(
        "The Service that gets the copies.",
        Type.Object(
          { ...SERVICE_NAME, kind: SERVICE_KIND, port: SERVICE_PORT },
          CLOSED,
        ),
      ),
      percent: field(
        "Percentage of requests that are copied. Without it and `fraction`, every request.",
        Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })),
      ),
      fraction: field(
        "The same as a fraction. Not with `percent`.",
        Type.Optional(fraction),
      ),
    },
    CLOSED,
  ),
);
const path = Type.Optional(
  Type.Object(
    {
      type: field(
        "Which of the two fields is there.",
        Type.Enum(["ReplaceFullPath", "ReplacePrefixMatch"]),
      ),
      replaceFullPath: field(
        "The new path.",
        Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
      ),
      replacePrefixMatch: field(
        "What replaces the prefix that the rule's PathPrefix matched.",
        Type.Optional(Type.String({ maxLength: 1024 })),
      ),
    },
    CLOSED,
  ),
);
const hostname = Type.Optional(Type.String(DNS_NAME));
const rewrite = Type.Optional(
  Type.Object(
    {
      hostname: field("Replaces the Host header.", hostname),
      path: field("Changes the path.", path),
    },
    { ...CLOSED, minProperties: 1 },
  ),
);
const redirect = Type.Optional(
  Type.Object(
    {
      scheme: field(
        "The scheme of Location. Without it, the request's.",
        Type.Optional(Type.Enum(["http", "https"])),
      ),
      hostname: field(
        "The host of Location. Without it, the request's.",
        hostname,
      ),
      path: field("Changes the path in Location.", path),
      port: field(
        "The port of Location. Without it, that of `scheme`, or else the one called.",
        Type.Optional(Type.Integer(PORT)),
      ),
      statusCode: field(
        "The status.",
        Type.Optional(Type.Enum([301, 302, 303, 307, 308])),
        DEFAULT_REDIRECT,
      ),
    },
    { ...CLOSED, minProperties: 1 },
  ),
);
const HOST = "[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)*";
const names = Type.Optional(
  Type.Array(Type.String(HEADER_NAME), {
    minItems: 1,
    maxItems: 64,
    uniqueItems: true,
  }),
);
const cors = Type.Optional(
  Type.Object(
    {
      allowOrigins: field(
        "Origins whose pages may call: `*` alone, or origins with `*.` for any labels.",
        Type.Optional(
          Type.Array(
            Type.String({
              pattern: `^(\\*|https?://(\\*|(\\*\\.)?${HOST})(:[1-9][0-9]{0,4})?)$`,
              maxLength: 253,
              expected:
                'an origin such as "https://shop.example.com", "https://*.example.com:8443" or "*"',
            }),
            { minItems: 1, maxItems: 64, uniqueItems: true },
          ),
        ),
      ),
      allowCredentials: field(
        "Whether pages may send cookies and credentials.",
        Type.Optional(Type.Boolean()),
        false,
      ),
      allowMethods: field(
        "Methods that pages may use besides GET, HEAD and POST.",
        Type.Optional(
          Type.Array(Type.Enum([...COMMON_METHODS, "*"]), {
            minItems: 1,
            maxItems: 9,
            uniqueItems: true,
          }),
        ),
      ),
      allowHeaders: field("Request headers that pages may set.", names),
      exposeHeaders: field("Response headers that pages may read.", names),
      maxAge: field(
        "Seconds for which a browser keeps the response to a preflight.",
        Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 })),
        DEFAULT_MAX_AGE,
      ),
    },
    CLOSED,
  ),
);

const HEADERS = {
  requestHeaderModifier: field("Changes headers of the request.", modifier),
  responseHeaderModifier: field("Changes headers of the response.", modifier),
};
const MIRROR = {
  requestMirror: field(
    "Sends a copy of the request to another Service. Its response is dropped.",
    mirror,
  ),
};
const TYPE = "Which filter it is: the field of that name has to be there.";

export const HTTP_ROUTE_FILTERS: TUnsafe<readonly HTTPRouteFilter[]> =
  Type.Unsafe(
    describes<readonly HTTPRouteFilter[]>()(
      Type.Array(
        Type.Object(
          {
            type: field(
              TYPE,
              Type.Enum([
                "RequestHeaderModifier",
                "ResponseHeaderModifier",
                "RequestMirror",
                "RequestRedirect",
                "URLRewrite",
                "CORS",
              ]),
            ),
            ...HEADERS,
            ...MIRROR,
            requestRedirect: field(
              "Responds with a redirect. The request goes to no backend.",
              redirect,
            ),
            urlRewrite: field("Changes host and path of the request.", rewrite),
            cors: field("Lets pages of other origins call.", cors),
          },
          CLOSED,
        ),
        { maxItems: 16 },
      ),
    ),
  );

export const GRPC_ROUTE_FILTERS: TUnsafe<readonly GRPCRouteFilter[]> =
  Type.Unsafe(
    describes<readonly GRPCRouteFilter[]>()(
      Type.Array(
        Type.Object(
          {
            type: field(
              TYPE,
              Type.Enum([
                "RequestHeaderModifier",
                "ResponseHeaderModifier",
                "RequestMirror",
              ]),
            ),
            ...HEADERS,
            ...MIRROR,
          },
          CLOSED,
        ),
        { maxItems: 16 },
      ),
    ),
  );

export const BACKEND_FILTERS: TUnsafe<readonly BackendFilter[]> = Type.Unsafe(
  describes<readonly BackendFilter[]>()(
    Type.Array(
      Type.Object(
        {
          type: field(
            TYPE,
            Type.Enum(["RequestHeaderModifier", "ResponseHeaderModifier"]),
          ),
          ...HEADERS,
        },
        CLOSED,
      ),
      { maxItems: 16 },
    ),
  ),
);
