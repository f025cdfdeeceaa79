/** What the schema of TrafficPolicy cannot state: bounds of durations and how they relate. */
import { durationOf, formatDuration } from "../../core/duration.ts";
import { checkClientTls, checkTrusted } from "./client-tls.ts";
import { checkHealthCheck } from "./health-check.ts";
import type { Problem } from "../kind.ts";
import { checkLoadBalancing } from "./load-balancing.ts";
import { duplicates, error } from "../problems.ts";
import { TRAFFIC_DEFAULTS, type TrafficPolicyResource } from "./settings.ts";
import { checkProtection } from "./overload-check.ts";

export function checkTrafficPolicy({ spec }: TrafficPolicyResource): Problem[] {
  const {
    connectionPool: pool,
    circuitBreaker: breaker,
    outlierDetection: outlier,
    retryConstraint: retry,
  } = spec;
  // Field, value, least milliseconds. Idle times may be 0, which is off.
  const least: readonly [string, string | undefined, number][] = [
    ["connectionPool.tcp.connectTimeout", pool?.tcp?.connectTimeout, 1],
    ["circuitBreaker.window", breaker?.window, 1000],
    ["circuitBreaker.resetTimeout", breaker?.resetTimeout, 1],
    ["outlierDetection.interval", outlier?.interval, 100],
    ["outlierDetection.baseEjectionTime", outlier?.baseEjectionTime, 1],
    ["outlierDetection.maxEjectionTime", outlier?.maxEjectionTime, 1],
    ["retryConstraint.budget.interval", retry?.budget?.interval, 1000],
    [
      "retryConstraint.minRetryRate.interval",
      retry?.minRetryRate?.interval,
      100,
    ],
  ];
  const problems = duplicates(
    spec.targetRefs,
    (ref) => [ref.name, ref.sectionName ?? ""].join("/"),
    (index) => ["spec", "targetRefs", index],
    "the target",
  );
  for (const [field, value, minimum] of least)
    if (value !== undefined && durationOf(value) < minimum)
      problems.push(
        error(
          ["spec", ...field.split(".")],
          `must be at least ${formatDuration(minimum)}, not ${value}`,
        ),
      );
  if (outlier !== undefined) {
    const defaults = TRAFFIC_DEFAULTS.outlierDetection;
    const longest =
      outlier.maxEjectionTime ?? formatDuration(defaults.maxEjectionTime);
    const base =
      outlier.baseEjectionTime ?? formatDuration(defaults.baseEjectionTime);
    if (durationOf(longest) < durationOf(base))
      problems.push(
        error(
          ["spec", "outlierDetection", "maxEjectionTime"],
          `(${longest}) is shorter than baseEjectionTime (${base})`,
        ),
      );
  }
  return [
    ...problems,
    ...checkLoadBalancing(spec.loadBalancer),
    ...checkHealthCheck(spec.healthCheck),
    ...checkClientTls(spec.tls),
    ...(spec.applicationTls === undefined
      ? []
      : checkTrusted(spec.applicationTls, ["spec", "applicationTls"])),
    ...checkProtection(spec),
  ];
}
