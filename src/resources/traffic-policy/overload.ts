/** The part of TrafficPolicy that protects a Service: rate limits, adaptive concurrency with priorities, and hedging. */
import Type, { type TOptional, type TUnsafe } from "typebox";
import { durationOf, formatDuration } from "../../core/duration.ts";
import { claimPathOf } from "../authorization-policy/conditions.ts";
import { REQUEST_MATCHES } from "../http-route/schema.ts";
import type { HTTPRouteMatch } from "../http-route/spec.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DURATION,
  field,
} from "../schema-parts.ts";

/** Whose requests share a bucket. */
export interface RateSpec {
  readonly requests: number;
  readonly interval: string;
  /** Requests that may come at once. Absent: `requests`. */
  readonly burst?: number;
  /** "none" (absent), "source.principal", "request.headers[NAME]" or "request.auth.claims[NAME]". */
  readonly key?: string;
}

/** For every request; `routes` add limits for some. All that match a request must have room for it. */
export interface RateLimitSpec extends Partial<RateSpec> {
  readonly routes?: readonly RouteRateSpec[];
}

export interface RouteRateSpec extends RateSpec {
  /** For the log and the response; absent: its place in the list. */
  readonly name?: string;
  readonly matches: readonly HTTPRouteMatch[];
}

export type ConcurrencyMode = "OFF" | "SHADOW" | "ENFORCE";

export interface AdaptiveConcurrencySpec {
  /** SHADOW counts what ENFORCE would refuse, and changes no response. */
  readonly mode?: ConcurrencyMode;
  /** The limit never falls below it. */
  readonly minConcurrency?: number;
  readonly maxConcurrency?: number;
}

/** Which requests go first when not all can: 0 is the last to be refused, 5 the first. */
export interface PrioritySpec {
  /** Priority of requests that no rule matches. */
  readonly default?: number;
  /** The first that matches decides. */
  readonly rules?: readonly PriorityRule[];
  /** Whose requests of one level stand or fall together, for an hour: "source.principal" (absent) or "request.headers[NAME]". */
  readonly cohort?: string;
}

export interface PriorityRule {
  readonly level: number;
  /** Any of these; absent: every request. */
  readonly matches?: readonly HTTPRouteMatch[];
  /** Any of these callers, "TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT"; absent: every caller. */
  readonly principals?: readonly string[];
}

export interface ProtectionSpec {
  readonly rateLimit?: RateLimitSpec;
  readonly adaptiveConcurrency?: AdaptiveConcurrencySpec;
  readonly priority?: PrioritySpec;
  readonly hedging?: HedgingSpec;
  /** Longer bodies get 413; they are counted as they come. Absent: no limit. */
  readonly maxRequestBodyBytes?: number;
}

/** A request that has no response when most have one is sent to a second endpoint as well, and the quicker response is taken. */
export interface HedgingSpec {
  /** Percentile of the latencies measured. Absent: 95. */
  readonly percentile?: number;
  /** Never sooner. Absent: 5 ms. */
  readonly minimumDelay?: string;
  /** Any of these; absent: every request without a body that may be sent twice. */
  readonly matches?: readonly HTTPRouteMatch[];
}

export interface Hedging {
  readonly percentile: number;
  /** Milliseconds. */
  readonly minimumDelay: number;
  readonly matches?: readonly HTTPRouteMatch[];
}

export interface AdaptiveConcurrency {
  readonly mode: ConcurrencyMode;
  readonly minConcurrency: number;
  readonly maxConcurrency: number;
}

/** In force without any TrafficPolicy. */
export const ADAPTIVE_CONCURRENCY_DEFAULTS: AdaptiveConcurrency = {
  mode: "SHADOW",
  minConcurrency: 4,
  maxConcurrency: 1000,
};

/** Where the block is there and leaves these out. */
const HEDGING_DEFAULTS: Hedging = { percentile: 95, minimumDelay: 5 };

export const DEFAULT_LEVEL = 3;
export const LAST_LEVEL = 5;

export function adaptiveConcurrency(
  spec: AdaptiveConcurrencySpec | undefined,
): AdaptiveConcurrency {
  return spec === undefined
    ? ADAPTIVE_CONCURRENCY_DEFAULTS
    : { ...ADAPTIVE_CONCURRENCY_DEFAULTS, ...spec };
}

/** Absent: every request is sent once, and again only where it failed. */
export function hedging(spec: HedgingSpec | undefined): Hedging | undefined {
  if (spec === undefined) return undefined;
  return {
    percentile: spec.percentile ?? HEDGING_DEFAULTS.percentile,
    minimumDelay:
      spec.minimumDelay === undefined
        ? HEDGING_DEFAULTS.minimumDelay
        : durationOf(spec.minimumDelay),
    ...(spec.matches === undefined ? {} : { matches: spec.matches }),
  };
}

/** Where the text that tells requests apart comes from. */
export type KeySource =
  | { readonly kind: "none" }
  | { readonly kind: "principal" }
  | { readonly kind: "header"; readonly name: string }
  /** A name for each level of a claim within claims. */
  | { readonly kind: "claim"; readonly path: readonly string[] };

const HEADER_KEY = /^request\.headers\[([^\]]+)\]$/;

/** Undefined where the text names no source that there is. */
export function keySource(text: string): KeySource | undefined {
  if (text === "none") return { kind: "none" };
  if (text === "source.principal") return { kind: "principal" };
  const path = claimPathOf(text);
  if (path !== undefined) return { kind: "claim", path };
  const name = HEADER_KEY.exec(text)?.[1];
  return name === undefined
    ? undefined
    : { kind: "header", name: name.toLowerCase() };
}

const key = Type.Optional(Type.String({ minLength: 1, maxLength: 300 }));
const rate = {
  requests: field(
    "Requests that are let through in each interval.",
    Type.Integer({ minimum: 1, maximum: 100_000_000 }),
  ),
  interval: field("The interval.", Type.String(DURATION)),
  burst: field(
    "Requests that may come at once. Without it, `requests`.",
    Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000_000 })),
  ),
  key: field(
    "Whose requests count together: none (all), source.principal, request.headers[NAME], or request.auth.claims[NAME] of a verified token.",
    key,
    "none",
  ),
};
const level = Type.Integer({ minimum: 0, maximum: LAST_LEVEL });
const concurrency = Type.Optional(
  Type.Integer({ minimum: 1, maximum: 100_000 }),
);

const RATE_LIMIT: TUnsafe<RateLimitSpec> = Type.Unsafe(
  describes<RateLimitSpec>()(
    Type.Object(
      {
        requests: Type.Optional(rate.requests),
        interval: Type.Optional(rate.interval),
        burst: rate.burst,
        key: rate.key,
        routes: field(
          "Further limits for some requests. All limits that match have to have room.",
          Type.Optional(
            Type.Array(
              Type.Object(
                {
                  name: field(
                    "Its name, for the log and the response.",
                    Type.Optional(Type.String(DNS_LABEL)),
                  ),
                  matches: field(
                    "Requests that the limit is for: any of these.",
                    REQUEST_MATCHES,
                  ),
                  ...rate,
                },
                CLOSED,
              ),
              { minItems: 1, maxItems: 16 },
            ),
          ),
        ),
      },
      CLOSED,
    ),
  ),
);

const ADAPTIVE_CONCURRENCY: TUnsafe<AdaptiveConcurrencySpec> = Type.Unsafe(
  describes<AdaptiveConcurrencySpec>()(
    Type.Object(
      {
        mode: field(
          "ENFORCE refuses requests over the limit. SHADOW counts them alone.",
          Type.Optional(Type.Enum(["OFF", "SHADOW", "ENFORCE"])),
          ADAPTIVE_CONCURRENCY_DEFAULTS.mode,
        ),
        minConcurrency: field(
          "The limit never falls below it.",
          concurrency,
          ADAPTIVE_CONCURRENCY_DEFAULTS.minConcurrency,
        ),
        maxConcurrency: field(
          "The limit never rises above it.",
          concurrency,
          ADAPTIVE_CONCURRENCY_DEFAULTS.maxConcurrency,
        ),
      },
      CLOSED,
    ),
  ),
);

const priorityRule = Type.Object(
  {
    level: field("The level; 0 is refused last, 5 first.", level),
    matches: field(
      "Requests that it is for: any of these. Without it, every request.",
      Type.Optional(REQUEST_MATCHES),
    ),
    principals: field(
      "Callers, as TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT. Without it, every caller.",
      Type.Optional(
        Type.Array(Type.String({ minLength: 1, maxLength: 320 }), {
          minItems: 1,
          maxItems: 64,
        }),
      ),
    ),
  },
  CLOSED,
);

const PRIORITY: TUnsafe<PrioritySpec> = Type.Unsafe(
  describes<PrioritySpec>()(
    Type.Object(
      {
        default: field(
          "The level of requests that no rule matches. Level 0 is refused last, 5 first.",
          Type.Optional(level),
          DEFAULT_LEVEL,
        ),
        rules: field(
          "The first rule that matches gives the level.",
          Type.Optional(
            Type.Array(priorityRule, { minItems: 1, maxItems: 32 }),
          ),
        ),
        cohort: field(
          "Whose requests of one level are refused together: source.principal or request.headers[NAME].",
          key,
          "source.principal",
        ),
      },
      CLOSED,
    ),
  ),
);

const HEDGING: TUnsafe<HedgingSpec> = Type.Unsafe(
  describes<HedgingSpec>()(
    Type.Object(
      {
        percentile: field(
          "The second request is sent once this percentage of responses would have come.",
          Type.Optional(Type.Number({ minimum: 50, maximum: 99.9 })),
          HEDGING_DEFAULTS.percentile,
        ),
        minimumDelay: field(
          "It is never sent sooner than this.",
          Type.Optional(Type.String(DURATION)),
          formatDuration(HEDGING_DEFAULTS.minimumDelay),
        ),
        matches: field(
          "Requests that may be sent twice. Without it, those without a body that are idempotent.",
          Type.Optional(REQUEST_MATCHES),
        ),
      },
      CLOSED,
    ),
  ),
);

/** The fields of ProtectionSpec, as TrafficPolicy has them. */
export const PROTECTION: {
  readonly [K in keyof Required<ProtectionSpec>]: TOptional<
    TUnsafe<Required<ProtectionSpec>[K]>
  >;
} = {
  rateLimit: field(
    "Requests over the limit get 429. The called sidecar counts them.",
    Type.Optional(RATE_LIMIT),
  ),
  adaptiveConcurrency: field(
    "Limits requests in flight to an instance by its latency.",
    Type.Optional(ADAPTIVE_CONCURRENCY),
  ),
  priority: field(
    "Which requests are refused last when an instance is overloaded.",
    Type.Optional(PRIORITY),
  ),
  hedging: field(
    "A slow request is sent to a second endpoint too. The first response counts.",
    Type.Optional(HEDGING),
  ),
  maxRequestBodyBytes: field(
    "Bytes of the longest request body that the Service accepts. A longer one gets 413. Without it, any length.",
    // A tebibyte: more means no limit.
    Type.Optional(
      Type.Unsafe<number>(Type.Integer({ minimum: 1, maximum: 2 ** 40 })),
    ),
  ),
};
