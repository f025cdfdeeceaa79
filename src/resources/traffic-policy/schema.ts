/** TrafficPolicy: how callers treat a Service: balancing, pools, circuit breaker, ejection, retry budget. */
import Type, { type TSchema, type TUnsafe } from "typebox";
import { formatDuration } from "../../core/duration.ts";
import { HEALTH_CHECK } from "./health-check.ts";
import {
  APPLICATION_TLS,
  CLIENT_TLS,
  CLIENT_TLS_UNSUPPORTED,
} from "./client-tls.ts";
import { defineKind, OWN_GROUP, type KindDefinition } from "../kind.ts";
import {
  LOAD_BALANCING,
  LOAD_BALANCING_UNSUPPORTED,
} from "./load-balancing.ts";
import { SERVICE_TARGET } from "../policy-targets.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DURATION,
  field,
  PERCENT,
} from "../schema-parts.ts";
import {
  TRAFFIC_DEFAULTS as DEFAULTS,
  type TargetRef,
  type TrafficPolicySpec,
} from "./settings.ts";
import { PROTECTION } from "./overload.ts";
import { checkTrafficPolicy } from "./check.ts";

const duration = Type.Optional(Type.String(DURATION));
const count = Type.Optional(
  Type.Integer({ minimum: 1, maximum: 4_294_967_295 }),
);
const countOrNone = Type.Optional(
  Type.Integer({ minimum: 0, maximum: 4_294_967_295 }),
);
const percent = Type.Optional(Type.Number(PERCENT));

export const TARGET_REFS: TUnsafe<readonly TargetRef[]> = Type.Unsafe(
  describes<readonly TargetRef[]>()(
    Type.Array(
      Type.Object(
        {
          ...SERVICE_TARGET,
          sectionName: field(
            "The name of one port. What a port's policy has replaces whole blocks of the Service's.",
            Type.Optional(Type.String(DNS_LABEL)),
          ),
        },
        CLOSED,
      ),
      { minItems: 1, maxItems: 16 },
    ),
  ),
);

const TCP = DEFAULTS.connectionPool.tcp;
const tcpPool = Type.Object(
  {
    maxConnections: field(
      "Connections of one caller to one endpoint. Over the link it counts streams.",
      count,
      TCP.maxConnections,
    ),
    connectTimeout: field(
      "For a connection to an endpoint. Without it, the Mesh's default.",
      duration,
    ),
    idleTimeout: field(
      "For a tunnel in which nothing moves, and a link without streams.",
      duration,
      formatDuration(TCP.idleTimeout),
    ),
  },
  CLOSED,
);

const HTTP = DEFAULTS.connectionPool.http;
const httpPool = Type.Object(
  {
    idleTimeout: field(
      "For a pooled connection to an application without a request.",
      duration,
      formatDuration(HTTP.idleTimeout),
    ),
    maxRequestsPerConnection: field(
      "Requests after which a connection is closed; 0 is without limit.",
      countOrNone,
      HTTP.maxRequestsPerConnection,
    ),
    http2MaxRequests: field(
      "Requests in flight to the Service.",
      count,
      HTTP.http2MaxRequests,
    ),
    http1MaxPendingRequests: field(
      "Requests that wait for a connection over HTTP/1.1.",
      count,
      HTTP.http1MaxPendingRequests,
    ),
  },
  CLOSED,
);

const BREAKER = DEFAULTS.circuitBreaker;
const circuitBreaker = Type.Object(
  {
    errorThresholdPercent: field(
      "Percentage of failures at which it opens.",
      Type.Optional(Type.Number({ minimum: 1, maximum: 100 })),
      BREAKER.errorThresholdPercent,
    ),
    volumeThreshold: field(
      "With fewer calls in the window it stays closed.",
      count,
      BREAKER.volumeThreshold,
    ),
    window: field(
      "The time over which calls are counted.",
      duration,
      formatDuration(BREAKER.window),
    ),
    resetTimeout: field(
      "How long it is open before one call is let through to try. As long after that another is, where it has no response.",
      duration,
      formatDuration(BREAKER.resetTimeout),
    ),
  },
  CLOSED,
);

const OUTLIERS = DEFAULTS.outlierDetection;
const successRate = Type.Object(
  {
    thresholdPercent: field(
      "An endpoint that succeeds less often, where others do better, is ejected; 0 is off.",
      percent,
      OUTLIERS.successRate.thresholdPercent,
    ),
    minimumRequests: field(
      "Requests in an interval below which it is not judged.",
      count,
      OUTLIERS.successRate.minimumRequests,
    ),
  },
  CLOSED,
);
const outlierDetection = Type.Object(
  {
    consecutive5xxErrors: field(
      "Failed responses in a row after which an endpoint is ejected; 0 is off.",
      countOrNone,
      OUTLIERS.consecutive5xxErrors,
    ),
    consecutiveLocalOriginFailures: field(
      "The same for failed connections and broken exchanges; 0 is off.",
      countOrNone,
      OUTLIERS.consecutiveLocalOriginFailures,
    ),
    successRate: field(
      "Ejection by the share of successes.",
      Type.Optional(successRate),
    ),
    interval: field(
      "The time between two looks at the share of successes.",
      duration,
      formatDuration(OUTLIERS.interval),
    ),
    baseEjectionTime: field(
      "The first ejection. It doubles with each one that follows.",
      duration,
      formatDuration(OUTLIERS.baseEjectionTime),
    ),
    maxEjectionTime: field(
      "The longest ejection.",
      duration,
      formatDuration(OUTLIERS.maxEjectionTime),
    ),
    maxEjectionPercent: field(
      "Percentage of endpoints that may be ejected at one time. One of two always may.",
      percent,
      OUTLIERS.maxEjectionPercent,
    ),
    minHealthPercent: field(
      "With fewer healthy endpoints, all are called again (panic); 0 is off.",
      percent,
      OUTLIERS.minHealthPercent,
    ),
  },
  CLOSED,
);

const RETRIES = DEFAULTS.retryConstraint;
const budget = Type.Object(
  {
    percent: field(
      "Retries as a percentage of requests.",
      percent,
      RETRIES.budget.percent,
    ),
    interval: field(
      "The time over which both are counted.",
      duration,
      formatDuration(RETRIES.budget.interval),
    ),
  },
  CLOSED,
);
const minRetryRate = Type.Object(
  {
    count: field(
      "Retries that are allowed in each interval, however few requests there are.",
      Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
      RETRIES.minRetryRate.count,
    ),
    interval: field(
      "The interval.",
      duration,
      formatDuration(RETRIES.minRetryRate.interval),
    ),
  },
  CLOSED,
);

const spec: TSchema = describes<TrafficPolicySpec>()(
  Type.Object(
    {
      targetRefs: field(
        "The Services that it is for, or ports of them.",
        TARGET_REFS,
      ),
      loadBalancer: field(
        "Which endpoint a request goes to.",
        Type.Optional(LOAD_BALANCING),
      ),
      connectionPool: field(
        "Limits on what callers have open.",
        Type.Optional(
          Type.Object(
            {
              tcp: field("Connections.", Type.Optional(tcpPool)),
              http: field("Requests.", Type.Optional(httpPool)),
            },
            CLOSED,
          ),
        ),
      ),
      circuitBreaker: field(
        "Stops calls to the Service while too many fail. Always on.",
        Type.Optional(circuitBreaker),
      ),
      outlierDetection: field(
        "Takes single endpoints that fail out of balancing. Always on.",
        Type.Optional(outlierDetection),
      ),
      healthCheck: field(
        "Callers check each endpoint. One of path, grpc, tcp.",
        Type.Optional(HEALTH_CHECK),
      ),
      tls: field(
        "Callers speak TLS with endpoints that have no sidecar. On ports that carry plaintext: not with appProtocol tls.",
        Type.Optional(CLIENT_TLS),
      ),
      applicationTls: field(
        "The called sidecar speaks TLS with its own application. Not with appProtocol tls.",
        Type.Optional(APPLICATION_TLS),
      ),
      ...PROTECTION,
      retryConstraint: field(
        "The retry budget: a percentage of requests, plus a minimum rate.",
        Type.Optional(
          Type.Object(
            {
              budget: field("The percentage.", Type.Optional(budget)),
              minRetryRate: field(
                "The minimum rate.",
                Type.Optional(minRetryRate),
              ),
            },
            CLOSED,
          ),
        ),
      ),
    },
    CLOSED,
  ),
);

export const TRAFFIC_POLICY: KindDefinition<TrafficPolicySpec> = defineKind({
  kind: "TrafficPolicy",
  group: OWN_GROUP,
  version: "v1alpha1",
  plural: "trafficpolicies",
  shortNames: ["tp"],
  meaning:
    "How callers treat a Service: balancing, pools, health, retries; and how it is protected.",
  spec,
  unsupported: {
    ...CLIENT_TLS_UNSUPPORTED,
    ...LOAD_BALANCING_UNSUPPORTED,
    "spec.targetRefs[].namespace":
      "a TrafficPolicy acts on Services of its own namespace; set metadata.namespace",
    "spec.clientThrottling":
      "there is no client throttling any more; take the field out: circuitBreaker stops calls to a Service that fails, adaptiveConcurrency and priority refuse what an overloaded instance has no room for",
  },
  check: checkTrafficPolicy,
});
