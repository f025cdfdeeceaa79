/** Mesh: the one resource that holds the trust domain and the defaults of the whole mesh. */
import Type, { type TSchema } from "typebox";
import { durationOf, formatDuration } from "../../core/duration.ts";
import type { Resource } from "../envelope.ts";
import { defineKind, OWN_GROUP, type KindDefinition } from "../kind.ts";
import {
  CLOSED,
  describes,
  DNS_NAME,
  DURATION,
  PERCENT,
  field,
} from "../schema-parts.ts";
import { checkMesh } from "./check.ts";
import { HOST_CLAIMS, type HostClaims } from "./host-claims.ts";
import {
  PROVIDERS,
  providersOf,
  type Provider,
  type ProviderSpec,
} from "./providers.ts";
import {
  PRIVATE_FETCH,
  privateFetch,
  type PrivateFetch,
  type PrivateFetchSpec,
} from "./private-fetch.ts";

export type MeshResource = Resource<MeshSpec>;
/** The only Mesh there is. */
export const MESH_NAME = "default";

export type MtlsMode = "STRICT" | "PERMISSIVE" | "DISABLE";
const PATH_NORMALIZATIONS = [
  "NONE",
  "BASE",
  "MERGE_SLASHES",
  "DECODE_AND_MERGE_SLASHES",
] as const;
export type PathNormalization = (typeof PATH_NORMALIZATIONS)[number];
export type DefaultAction = "ALLOW" | "DENY";
export type OutboundTrafficPolicy = "ALLOW_ANY" | "REGISTRY_ONLY";

/** Why a call may be tried again without a route asking for it; each is provably safe (law 3). */
export type RetryReason =
  | "connect-failure"
  | "refused-stream"
  /** No request byte was written. */
  | "reset-before-request"
  /** Idempotent methods only. */
  | "reset-reused-connection";

/** A form of the trace context beside W3C's, as OpenTelemetry names it. */
export type Propagator = "b3" | "b3multi";

export interface MeshSpec {
  /** Changing it changes every identity. */
  readonly trustDomain?: string;
  /** Other trust domains whose identities are the mesh's own. */
  readonly trustDomainAliases?: readonly string[];
  readonly mtls?: {
    readonly mode?: MtlsMode;
    readonly certificateTTL?: string;
    /** Share of the certificate's life after which it is renewed. */
    readonly rotateAt?: number;
    /** How long after its end a certificate still gets its holder a new one. */
    readonly renewExpiredFor?: string;
  };
  /** Required: whether calls that no policy speaks of pass is nobody's silent default. */
  readonly authorization: {
    readonly defaultAction: DefaultAction;
    readonly providers?: readonly ProviderSpec[];
  };
  readonly pathNormalization?: PathNormalization;
  /** Proxies before the mesh, each of which adds the address that it sees to X-Forwarded-For. */
  readonly trustedHops?: number;
  readonly outboundTrafficPolicy?: OutboundTrafficPolicy;
  readonly privateFetch?: PrivateFetchSpec;
  readonly hostClaims?: HostClaims;
  readonly defaults?: {
    readonly timeouts?: {
      readonly connect?: string;
      readonly streamIdle?: string;
      readonly request?: string;
    };
    readonly retry?: {
      readonly attempts?: number;
      readonly on?: readonly RetryReason[];
    };
    readonly tracing?: {
      readonly randomSamplingPercentage?: number;
      readonly propagators?: readonly Propagator[];
    };
  };
}

/** Everything resolved, durations in milliseconds, 0 for off. */
export interface MeshSettings {
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly mtls: {
    readonly mode: MtlsMode;
    readonly certificateTTL: number;
    readonly rotateAt: number;
    readonly renewExpiredFor: number;
  };
  readonly authorization: {
    readonly defaultAction: DefaultAction;
    readonly providers: readonly Provider[];
  };
  readonly pathNormalization: PathNormalization;
  readonly trustedHops: number;
  readonly outboundTrafficPolicy: OutboundTrafficPolicy;
  readonly privateFetch: PrivateFetch;
  readonly hostClaims: HostClaims;
  readonly defaults: {
    readonly timeouts: {
      readonly connect: number;
      readonly streamIdle: number;
      readonly request: number;
    };
    readonly retry: {
      /** Retries, not tries. */
      readonly attempts: number;
      readonly on: readonly RetryReason[];
    };
    readonly tracing: {
      readonly randomSamplingPercentage: number;
      readonly propagators: readonly Propagator[];
    };
  };
}

/** In force before any Mesh is written; equal to the Mesh that a control plane makes at its first start. */
export const MESH_DEFAULTS: MeshSettings = {
  trustDomain: "cluster.local",
  trustDomainAliases: [],
  mtls: {
    mode: "STRICT",
    certificateTTL: 86_400_000,
    rotateAt: 0.5,
    renewExpiredFor: 30 * 86_400_000,
  },
  authorization: { defaultAction: "ALLOW", providers: [] },
  pathNormalization: "MERGE_SLASHES",
  trustedHops: 0,
  outboundTrafficPolicy: "ALLOW_ANY",
  privateFetch: privateFetch(undefined),
  hostClaims: [],
  defaults: {
    timeouts: { connect: 1000, streamIdle: 300_000, request: 0 },
    retry: {
      attempts: 1,
      on: [
        "connect-failure",
        "refused-stream",
        "reset-before-request",
        "reset-reused-connection",
      ],
    },
    tracing: { randomSamplingPercentage: 1, propagators: [] },
  },
};

export function meshSettings(spec: MeshSpec | undefined): MeshSettings {
  const base = MESH_DEFAULTS;
  const timeouts = spec?.defaults?.timeouts;
  const ms = (text: string | undefined, otherwise: number): number =>
    text === undefined ? otherwise : durationOf(text);
  return {
    trustDomain: spec?.trustDomain ?? base.trustDomain,
    trustDomainAliases: spec?.trustDomainAliases ?? base.trustDomainAliases,
    mtls: {
      mode: spec?.mtls?.mode ?? base.mtls.mode,
      certificateTTL: ms(spec?.mtls?.certificateTTL, base.mtls.certificateTTL),
      rotateAt: spec?.mtls?.rotateAt ?? base.mtls.rotateAt,
      renewExpiredFor: ms(
        spec?.mtls?.renewExpiredFor,
        base.mtls.renewExpiredFor,
      ),
    },
    authorization: {
      defaultAction:
        spec?.authorization.defaultAction ?? base.authorization.defaultAction,
      providers: providersOf(spec?.authorization.providers),
    },
    pathNormalization: spec?.pathNormalization ?? base.pathNormalization,
    trustedHops: spec?.trustedHops ?? base.trustedHops,
    outboundTrafficPolicy:
      spec?.outboundTrafficPolicy ?? base.outboundTrafficPolicy,
    privateFetch: privateFetch(spec?.privateFetch),
    hostClaims: spec?.hostClaims ?? base.hostClaims,
    defaults: {
      timeouts: {
        connect: ms(timeouts?.connect, base.defaults.timeouts.connect),
        streamIdle: ms(timeouts?.streamIdle, base.defaults.timeouts.streamIdle),
        request: ms(timeouts?.request, base.defaults.timeouts.request),
      },
      retry: { ...base.defaults.retry, ...spec?.defaults?.retry },
      tracing: { ...base.defaults.tracing, ...spec?.defaults?.tracing },
    },
  };
}

/** The mesh's trust domain and its aliases, which are one and the same; none where no Mesh is known. */
export function trustDomainsOf(
  mesh: Pick<MeshSettings, "trustDomain" | "trustDomainAliases"> | undefined,
): readonly string[] {
  return mesh === undefined
    ? []
    : [mesh.trustDomain, ...mesh.trustDomainAliases];
}

const duration = Type.Optional(Type.String(DURATION));

const mtls = Type.Object(
  {
    mode: field(
      "STRICT accepts mutual TLS alone, PERMISSIVE plaintext too, DISABLE plaintext alone.",
      Type.Optional(Type.Enum(["STRICT", "PERMISSIVE", "DISABLE"])),
      MESH_DEFAULTS.mtls.mode,
    ),
    certificateTTL: field(
      "How long a workload's certificate is valid: 1m to 2160h.",
      duration,
      formatDuration(MESH_DEFAULTS.mtls.certificateTTL),
    ),
    rotateAt: field(
      "The share of a certificate's life after which it is renewed.",
      Type.Optional(Type.Number({ minimum: 0.1, maximum: 0.9 })),
      MESH_DEFAULTS.mtls.rotateAt,
    ),
    renewExpiredFor: field(
      "How long after its end a certificate still renews itself, as after an outage: 0s, which is not at all, to 2160h.",
      duration,
      formatDuration(MESH_DEFAULTS.mtls.renewExpiredFor),
    ),
  },
  CLOSED,
);

const timeouts = Type.Object(
  {
    connect: field(
      "For a connection to an endpoint; above 0.",
      duration,
      formatDuration(MESH_DEFAULTS.defaults.timeouts.connect),
    ),
    streamIdle: field(
      "For an exchange in which nothing moves; 0s is none.",
      duration,
      formatDuration(MESH_DEFAULTS.defaults.timeouts.streamIdle),
    ),
    request: field(
      "For a request with all its retries; 0s is none.",
      duration,
      formatDuration(MESH_DEFAULTS.defaults.timeouts.request),
    ),
  },
  CLOSED,
);

const retry = Type.Object(
  {
    attempts: field(
      "Retries after the first attempt; 0 is none.",
      Type.Optional(Type.Integer({ minimum: 0, maximum: 10 })),
      MESH_DEFAULTS.defaults.retry.attempts,
    ),
    on: field(
      "Failures after which a request is provably unprocessed, or its method idempotent.",
      Type.Optional(
        Type.Array(
          Type.Enum([
            "connect-failure",
            "refused-stream",
            "reset-before-request",
            "reset-reused-connection",
          ]),
          { minItems: 1, uniqueItems: true },
        ),
      ),
      MESH_DEFAULTS.defaults.retry.on,
    ),
  },
  CLOSED,
);

const tracing = Type.Object(
  {
    randomSamplingPercentage: field(
      "Percentage of traces that are recorded, where the caller has not decided.",
      Type.Optional(Type.Number(PERCENT)),
      MESH_DEFAULTS.defaults.tracing.randomSamplingPercentage,
    ),
    propagators: field(
      "Forms of the trace context that each request gets besides W3C's: `b3` is the one field of B3, `b3multi` its several. A request that came with either keeps it without this.",
      Type.Optional(
        Type.Array(Type.Enum(["b3", "b3multi"]), {
          minItems: 1,
          uniqueItems: true,
        }),
      ),
    ),
  },
  CLOSED,
);

const spec: TSchema = describes<MeshSpec>()(
  Type.Object(
    {
      trustDomain: field(
        "The trust domain of every identity. A change of it changes them all.",
        Type.Optional(Type.String(DNS_NAME)),
        MESH_DEFAULTS.trustDomain,
      ),
      trustDomainAliases: field(
        "Trust domains whose identities count as the mesh's own, in policies and between sidecars. Their certificates need a root of the trust bundle.",
        Type.Optional(
          Type.Array(Type.String(DNS_NAME), {
            minItems: 1,
            maxItems: 16,
            uniqueItems: true,
          }),
        ),
        MESH_DEFAULTS.trustDomainAliases,
      ),
      mtls: field("Mutual TLS between sidecars.", Type.Optional(mtls)),
      authorization: field(
        "What happens to calls that no AuthorizationPolicy applies to.",
        Type.Object(
          {
            defaultAction: field(
              "ALLOW lets them pass, DENY refuses them with 403.",
              Type.Enum(["ALLOW", "DENY"]),
            ),
            providers: field(
              "Servers that are asked about requests, by AuthorizationPolicies with action CUSTOM (Istio's `meshConfig.extensionProviders`).",
              Type.Optional(PROVIDERS),
            ),
          },
          CLOSED,
        ),
      ),
      pathNormalization: field(
        "How paths are normalised, once, before routes and policies see them.",
        Type.Optional(Type.Enum([...PATH_NORMALIZATIONS])),
        MESH_DEFAULTS.pathNormalization,
      ),
      trustedHops: field(
        "How many proxies before the mesh add the address that they see to `X-Forwarded-For`: `remote.ip` is the one that the first of them saw. 0: the connection's own.",
        Type.Optional(Type.Integer({ minimum: 0, maximum: 16 })),
        MESH_DEFAULTS.trustedHops,
      ),
      outboundTrafficPolicy: field(
        "ALLOW_ANY passes calls to destinations outside the mesh on. REGISTRY_ONLY refuses them with 502.",
        Type.Optional(Type.Enum(["ALLOW_ANY", "REGISTRY_ONLY"])),
        MESH_DEFAULTS.outboundTrafficPolicy,
      ),
      privateFetch: field(
        "What sidecars may fetch beside public addresses, where a resource names an address to fetch, such as an issuer's keys.",
        Type.Optional(PRIVATE_FETCH),
      ),
      hostClaims: HOST_CLAIMS,
      defaults: field(
        "What applies where a route or TrafficPolicy says nothing.",
        Type.Optional(
          Type.Object(
            {
              timeouts: field("Timeouts.", Type.Optional(timeouts)),
              retry: field("Retries.", Type.Optional(retry)),
              tracing: field("Tracing.", Type.Optional(tracing)),
            },
            CLOSED,
          ),
        ),
      ),
    },
    CLOSED,
  ),
);

export const MESH: KindDefinition<MeshSpec> = defineKind({
  kind: "Mesh",
  group: OWN_GROUP,
  version: "v1alpha1",
  plural: "meshes",
  shortNames: [],
  namespaced: false,
  meaning:
    "The settings of the whole mesh: trust domain, default action, and defaults for calls.",
  spec,
  unsupported: {
    "metadata.namespace": "Mesh belongs to no namespace; remove it",
    "spec.extensionProviders": "write spec.authorization.providers",
  },
  check: (mesh) => checkMesh(mesh, MESH_NAME),
});
