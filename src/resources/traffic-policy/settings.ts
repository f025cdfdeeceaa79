/** What a TrafficPolicy says and what is in force: the types of its spec, the defaults, and the settings that follow from both. */
import { durationOf } from "../../core/duration.ts";
import type { Resource } from "../envelope.ts";
import {
  clientTls,
  type ApplicationTlsSpec,
  type ClientTls,
  type ClientTlsSpec,
} from "./client-tls.ts";
import {
  healthCheck,
  type HealthCheck,
  type HealthCheckSpec,
} from "./health-check.ts";
import {
  LOAD_BALANCING_DEFAULTS,
  loadBalancing,
  type LoadBalancing,
  type LoadBalancingSpec,
} from "./load-balancing.ts";
import { meshSettings, type MeshSettings } from "../mesh/schema.ts";
import {
  hedging,
  type Hedging,
  type PrioritySpec,
  type ProtectionSpec,
} from "./overload.ts";

export type TrafficPolicyResource = Resource<TrafficPolicySpec>;

/** Durations are GEP-2257 texts; `trafficSettings` gives them in milliseconds. */
export interface TrafficPolicySpec extends ProtectionSpec {
  readonly targetRefs: readonly TargetRef[];
  readonly loadBalancer?: LoadBalancingSpec;
  readonly connectionPool?: {
    readonly tcp?: Partial<TcpPool<string>>;
    readonly http?: Partial<HttpPool<string>>;
  };
  readonly healthCheck?: HealthCheckSpec;
  readonly circuitBreaker?: Partial<CircuitBreaker<string>>;
  readonly outlierDetection?: Partial<
    Omit<OutlierDetection<string>, "successRate">
  > & { readonly successRate?: Partial<SuccessRate> };
  readonly tls?: ClientTlsSpec;
  /** The application of the called workload listens with TLS. */
  readonly applicationTls?: ApplicationTlsSpec;
  readonly retryConstraint?: {
    readonly budget?: Partial<RetryConstraint<string>["budget"]>;
    readonly minRetryRate?: Partial<RetryConstraint<string>["minRetryRate"]>;
  };
}

/** A Service of the policy's own namespace, or one port of it. */
export interface TargetRef {
  readonly group?: "" | "core" | "mesh.wherry.dev";
  readonly kind: "Service";
  readonly name: string;
  /** The name of a port; its policy replaces, a top-level block at a time, what the Service's own says (trap 14). */
  readonly sectionName?: string;
}

/** `D` is how durations are written: `string` in a spec, `number` of milliseconds in settings. */
export interface TcpPool<D> {
  /** Per caller and endpoint; over the link it counts streams. */
  readonly maxConnections: number;
  readonly connectTimeout: D;
  readonly idleTimeout: D;
}

export interface HttpPool<D> {
  /** How long a pooled connection may be without a request. */
  readonly idleTimeout: D;
  /** 0 is without limit. */
  readonly maxRequestsPerConnection: number;
  readonly http2MaxRequests: number;
  readonly http1MaxPendingRequests: number;
}

export interface CircuitBreaker<D> {
  readonly errorThresholdPercent: number;
  /** Calls in the window below which the breaker stays closed. */
  readonly volumeThreshold: number;
  readonly window: D;
  readonly resetTimeout: D;
}

export interface SuccessRate {
  /** 0 is off. */
  readonly thresholdPercent: number;
  readonly minimumRequests: number;
}

export interface OutlierDetection<D> {
  /** 0 is off. */
  readonly consecutive5xxErrors: number;
  /** 0 is off. */
  readonly consecutiveLocalOriginFailures: number;
  readonly successRate: SuccessRate;
  readonly interval: D;
  readonly baseEjectionTime: D;
  readonly maxEjectionTime: D;
  readonly maxEjectionPercent: number;
  /** Below this share of healthy endpoints all are used again; 0 is off. */
  readonly minHealthPercent: number;
}

export interface RetryConstraint<D> {
  readonly budget: { readonly percent: number; readonly interval: D };
  readonly minRetryRate: { readonly count: number; readonly interval: D };
}

/** Everything resolved, durations in milliseconds. */
export interface TrafficSettings {
  readonly loadBalancer: LoadBalancing<number>;
  readonly connectionPool: {
    readonly tcp: TcpPool<number>;
    readonly http: HttpPool<number>;
  };
  readonly circuitBreaker: CircuitBreaker<number>;
  readonly outlierDetection: OutlierDetection<number>;
  readonly retryConstraint: RetryConstraint<number>;
  /** Absent: endpoints are judged by their responses alone. */
  readonly healthCheck?: HealthCheck<number>;
  /** What callers know of it, so that they do not send what would be refused. */
  readonly priority?: PrioritySpec;
  /** Absent: none. */
  readonly hedging?: Hedging;
  /** How endpoints without a sidecar are spoken to; absent: in plaintext. */
  readonly tls?: ClientTls;
}

/** In force where no TrafficPolicy says otherwise (model: defaults that differ from what the field does). */
export const TRAFFIC_DEFAULTS: TrafficSettings = {
  loadBalancer: LOAD_BALANCING_DEFAULTS,
  connectionPool: {
    tcp: { maxConnections: 1024, connectTimeout: 1000, idleTimeout: 3_600_000 },
    http: {
      idleTimeout: 3000,
      maxRequestsPerConnection: 0,
      http2MaxRequests: 1024,
      http1MaxPendingRequests: 1024,
    },
  },
  circuitBreaker: {
    errorThresholdPercent: 50,
    volumeThreshold: 100,
    window: 10_000,
    resetTimeout: 5000,
  },
  outlierDetection: {
    consecutive5xxErrors: 5,
    consecutiveLocalOriginFailures: 5,
    successRate: { thresholdPercent: 80, minimumRequests: 20 },
    interval: 10_000,
    baseEjectionTime: 1000,
    maxEjectionTime: 60_000,
    maxEjectionPercent: 50,
    minHealthPercent: 50,
  },
  retryConstraint: {
    budget: { percent: 20, interval: 10_000 },
    minRetryRate: { count: 10, interval: 1000 },
  },
};

/**
 * The complete settings for one port of a Service. A top-level block of `portLevel` replaces that of `spec` as a whole;
 * what a block leaves out takes its default, never the other policy's value (trap 14).
 */
export function trafficSettings(
  spec: TrafficPolicySpec | undefined,
  portLevel?: TrafficPolicySpec,
  mesh: MeshSettings = meshSettings(undefined),
): TrafficSettings {
  const base = TRAFFIC_DEFAULTS;
  const pool = portLevel?.connectionPool ?? spec?.connectionPool;
  const breaker = portLevel?.circuitBreaker ?? spec?.circuitBreaker;
  const outlier = portLevel?.outlierDetection ?? spec?.outlierDetection;
  const retry = portLevel?.retryConstraint ?? spec?.retryConstraint;
  const health = healthCheck(portLevel?.healthCheck ?? spec?.healthCheck);
  const priority = portLevel?.priority ?? spec?.priority;
  const hedges = hedging(portLevel?.hedging ?? spec?.hedging);
  const tls = clientTls(portLevel?.tls ?? spec?.tls);
  return {
    loadBalancer: loadBalancing(portLevel?.loadBalancer ?? spec?.loadBalancer),
    connectionPool: {
      tcp: {
        ...base.connectionPool.tcp,
        connectTimeout: mesh.defaults.timeouts.connect,
        ...withMs(pool?.tcp, ["connectTimeout", "idleTimeout"]),
      },
      http: {
        ...base.connectionPool.http,
        ...withMs(pool?.http, ["idleTimeout"]),
      },
    },
    circuitBreaker: {
      ...base.circuitBreaker,
      ...withMs(breaker, ["window", "resetTimeout"]),
    },
    outlierDetection: {
      ...base.outlierDetection,
      ...withMs(outlier, ["interval", "baseEjectionTime", "maxEjectionTime"]),
      successRate: {
        ...base.outlierDetection.successRate,
        ...outlier?.successRate,
      },
    },
    retryConstraint: {
      budget: {
        ...base.retryConstraint.budget,
        ...withMs(retry?.budget, ["interval"]),
      },
      minRetryRate: {
        ...base.retryConstraint.minRetryRate,
        ...withMs(retry?.minRetryRate, ["interval"]),
      },
    },
    ...(health === undefined ? {} : { healthCheck: health }),
    ...(priority === undefined ? {} : { priority }),
    ...(hedges === undefined ? {} : { hedging: hedges }),
    ...(tls === undefined ? {} : { tls }),
  };
}

type Milliseconds<T, K extends keyof T> = Omit<T, K> & {
  readonly [P in K]?: number;
};

/** The block with its durations in milliseconds; absent fields stay absent, so that spreading keeps the default. */
function withMs<T extends object, K extends keyof T>(
  block: T | undefined,
  durations: readonly K[],
): Milliseconds<T, K> | undefined {
  if (block === undefined) return undefined;
  const converted = { ...block } as Record<PropertyKey, unknown>;
  for (const key of durations) {
    const text = block[key];
    if (typeof text === "string") converted[key] = durationOf(text);
  }
  return converted as Milliseconds<T, K>;
}
