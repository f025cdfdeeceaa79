/**
 * Whether a request is within the rate limits of the Service that it comes to: enforced beside each instance, by what it alone sees.
 *
 * All limits that match must have room; one that refuses costs the others nothing. The caller is known by its certificate and by
 * nothing else (trap 4), so all callers without one share a bucket, and so do all requests without the header or the claim of a key.
 */
import type { HeaderLines } from "../mesh/header-readings.ts";
import type { Rate, RateTable } from "../core/shared/rate-table.ts";
import type { MonotonicMs, SpiffeUri } from "../core/units.ts";
import { claimText, type VerifiedClaims } from "../identity/jwt/claims.ts";
import {
  keySource,
  type KeySource,
  type RateLimitSpec,
  type RateSpec,
} from "../resources/traffic-policy/overload.ts";

/** What limits and priorities read of a request; `RequestFacts` satisfies it. */
export interface ProtectedRequest {
  /** By lower-case name: the value of each line. */
  lines(name: string): HeaderLines;
}

export interface RateLimit<R extends ProtectedRequest> {
  /** Its buckets are kept by it, over snapshots. */
  readonly id: string;
  /** "NAMESPACE/NAME" of the TrafficPolicy. */
  readonly policy: string;
  /** For people: "rateLimit", "rateLimit.routes NAME", or "rateLimit.routes[0]" of one without a name, which no name is like. */
  readonly name: string;
  readonly rate: Rate;
  readonly requests: number;
  /** Milliseconds. */
  readonly interval: number;
  readonly key: KeySource;
  /** Absent: every request. */
  readonly matches?: RequestTest<R>;
}

/** Which requests; `why` says what in a request that it refuses is not as asked. */
export interface RequestTest<R> {
  (request: R): boolean;
  readonly why?: (request: R) => string;
}

export interface RateLimitOptions<R> {
  /** "NAMESPACE/NAME" of the TrafficPolicy. */
  readonly policy: string;
  /** What the limits are of, beside their policy: the Service, and the port where the policy names one. */
  readonly of: string;
  /** Milliseconds of a duration. */
  readonly milliseconds: (text: string) => number;
  readonly matcher: (
    matches: NonNullable<RateLimitSpec["routes"]>[number]["matches"],
  ) => RequestTest<R>;
}

/** Those of some requests first: the narrower limit is the likelier to refuse. */
export function compileRateLimits<R extends ProtectedRequest>(
  spec: RateLimitSpec,
  options: RateLimitOptions<R>,
): RateLimit<R>[] {
  const limit = (rate: RateSpec, name: string): RateLimit<R> => {
    const interval = options.milliseconds(rate.interval);
    return {
      id: `${options.policy} ${options.of} ${name}`,
      policy: options.policy,
      name,
      rate: {
        cost: (interval * 1e6) / rate.requests,
        burst: rate.burst ?? rate.requests,
      },
      requests: rate.requests,
      interval,
      key: keySource(rate.key ?? "none") ?? { kind: "none" },
    };
  };
  const limits = (spec.routes ?? []).map((route, index) => ({
    ...limit(
      route,
      route.name === undefined
        ? `rateLimit.routes[${index}]`
        : `rateLimit.routes ${route.name}`,
    ),
    matches: options.matcher(route.matches),
  }));
  const { requests, interval } = spec;
  return requests === undefined || interval === undefined
    ? limits
    : [...limits, limit({ ...spec, requests, interval }, "rateLimit")];
}

export interface Overdrawn<R extends ProtectedRequest> {
  readonly limit: RateLimit<R>;
  /** Milliseconds until there is room for one request. */
  readonly wait: number;
}

/** Takes the request from every bucket that it falls under; the limit that has no room for it, if one has none. `now` in monotonic milliseconds. */
export function takeFrom<R extends ProtectedRequest>(
  limits: readonly RateLimit<R>[],
  peer: SpiffeUri | undefined,
  request: R | undefined,
  table: RateTable,
  now: MonotonicMs,
  claims?: VerifiedClaims,
): Overdrawn<R> | undefined {
  for (let index = 0; index < limits.length; index += 1) {
    const limit = limits[index];
    if (limit === undefined || !applies(limit, request)) continue;
    const wait = table.take(
      limit.id,
      keyOf(limit.key, peer, request, claims),
      limit.rate,
      now,
    );
    if (wait === 0) continue;
    for (const earlier of limits.slice(0, index))
      if (applies(earlier, request))
        table.giveBack(
          earlier.id,
          keyOf(earlier.key, peer, request, claims),
          earlier.rate,
        );
    return { limit, wait };
  }
  return undefined;
}

/** A tunnel has no path or header that could match; the limits of every request count it as one. */
export function applies<R extends ProtectedRequest>(
  limit: RateLimit<R>,
  request: R | undefined,
): boolean {
  return (
    limit.matches === undefined ||
    (request !== undefined && limit.matches(request))
  );
}

/** The text that tells requests apart; "" for those that lack it, or have several of it, which share one bucket. */
export function keyOf(
  source: KeySource,
  peer: SpiffeUri | undefined,
  request: ProtectedRequest | undefined,
  claims: VerifiedClaims | undefined,
): string {
  switch (source.kind) {
    case "none":
      return "";
    case "principal":
      return peer ?? "";
    case "header":
      return single(request?.lines(source.name));
    case "claim":
      return (claims && claimText(claims, source.path)) ?? "";
  }
}

/** Each application goes by another of several lines: a caller could choose a new bucket with each request. */
function single(lines: HeaderLines): string {
  return typeof lines === "string" ? lines : "";
}
