/** The filters of routes' rules, as HTTPRoute and GRPCRoute share them: what is changed in a request, copied of it, or answered in its place. */
import Type, { type TUnsafe } from "typebox";
import { COMMON_METHODS, type CommonMethod } from "../../core/text/methods.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DNS_NAME,
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

/** Sends a copy of the request to another Service; its answer is thrown away. */
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

/** Answered by the mesh: the request goes nowhere. */
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
  /** Seconds for which a browser may keep the answer to a preflight; absent: 5. */
  readonly maxAge?: number;
}

/** Of a rule of an HTTPRoute. The one field that `type` names is there; the check holds it. */
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

/** Of a rule of a GRPCRoute. */
export interface GRPCRouteFilter {
  readonly type:
    "RequestHeaderModifier" | "ResponseHeaderModifier" | "RequestMirror";
  readonly requestHeaderModifier?: HeaderModifier;
  readonly responseHeaderModifier?: HeaderModifier;
  readonly requestMirror?: RequestMirror;
}

/** Of one backend: what is particular to it, after the filters of the rule. */
export interface BackendFilter {
  readonly type: "RequestHeaderModifier" | "ResponseHeaderModifier";
  readonly requestHeaderModifier?: HeaderModifier;
  readonly responseHeaderModifier?: HeaderModifier;
}

/** Seconds, as Gateway API has it. */
export const DEFAULT_MAX_AGE = 5;

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
const mirror = Type.Optional(
  Type.Object(
    {
      backendRef: Type.Object(
        {
          group: Type.Optional(Type.Enum(["", "core", "mesh.wherry.dev"])),
          kind: Type.Optional(Type.Enum(["Service"])),
          namespace: Type.Optional(Type.String(DNS_LABEL)),
          name: Type.String(DNS_NAME),
          port: Type.Integer(PORT),
        },
        CLOSED,
      ),
      percent: Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })),
      fraction: Type.Optional(
        Type.Object(
          {
            numerator: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }),
            denominator: Type.Optional(
              Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 }),
            ),
          },
          CLOSED,
        ),
      ),
    },
    CLOSED,
  ),
);
const path = Type.Optional(
  Type.Object(
    {
      type: Type.Enum(["ReplaceFullPath", "ReplacePrefixMatch"]),
      replaceFullPath: Type.Optional(
        Type.String({ minLength: 1, maxLength: 1024 }),
      ),
      replacePrefixMatch: Type.Optional(Type.String({ maxLength: 1024 })),
    },
    CLOSED,
  ),
);
const hostname = Type.Optional(Type.String(DNS_NAME));
const rewrite = Type.Optional(
  Type.Object({ hostname, path }, { ...CLOSED, minProperties: 1 }),
);
const redirect = Type.Optional(
  Type.Object(
    {
      scheme: Type.Optional(Type.Enum(["http", "https"])),
      hostname,
      path,
      port: Type.Optional(Type.Integer(PORT)),
      statusCode: Type.Optional(Type.Enum([301, 302, 303, 307, 308])),
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
      allowOrigins: Type.Optional(
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
      allowCredentials: Type.Optional(Type.Boolean()),
      allowMethods: Type.Optional(
        Type.Array(Type.Enum([...COMMON_METHODS, "*"]), {
          minItems: 1,
          maxItems: 9,
          uniqueItems: true,
        }),
      ),
      allowHeaders: names,
      exposeHeaders: names,
      maxAge: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 })),
    },
    CLOSED,
  ),
);

const HEADERS = {
  requestHeaderModifier: modifier,
  responseHeaderModifier: modifier,
};

export const HTTP_ROUTE_FILTERS: TUnsafe<readonly HTTPRouteFilter[]> =
  Type.Unsafe(
    describes<readonly HTTPRouteFilter[]>()(
      Type.Array(
        Type.Object(
          {
            type: Type.Enum([
              "RequestHeaderModifier",
              "ResponseHeaderModifier",
              "RequestMirror",
              "RequestRedirect",
              "URLRewrite",
              "CORS",
            ]),
            ...HEADERS,
            requestMirror: mirror,
            requestRedirect: redirect,
            urlRewrite: rewrite,
            cors,
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
            type: Type.Enum([
              "RequestHeaderModifier",
              "ResponseHeaderModifier",
              "RequestMirror",
            ]),
            ...HEADERS,
            requestMirror: mirror,
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
          type: Type.Enum(["RequestHeaderModifier", "ResponseHeaderModifier"]),
          ...HEADERS,
        },
        CLOSED,
      ),
      { maxItems: 16 },
    ),
  ),
);
