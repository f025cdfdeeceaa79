/** What the schema of TrafficPolicy's protection cannot state: intervals, keys and rules that could not work. */
import { durationOf, formatDuration } from "../../core/duration.ts";
import { judgePrincipal } from "../authorization-policy/values.ts";
import { checkMatch } from "../http-route/check.ts";
import type { Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import { duplicates, error, quote, warning } from "../problems.ts";
import { HEADER_NAME } from "../schema-parts.ts";
import { matchNameFault } from "../text-checks.ts";
import {
  adaptiveConcurrency,
  keySource,
  type AdaptiveConcurrencySpec,
  type PrioritySpec,
  type ProtectionSpec,
  type RateLimitSpec,
  type RateSpec,
} from "./overload.ts";

type Path = readonly Segment[];

/** Milliseconds. Shorter ones are a limit of concurrency, longer ones outlive the process that counts. */
const LEAST_INTERVAL = 100;
const LONGEST_INTERVAL = 24 * 3_600_000;

export function checkProtection(spec: ProtectionSpec): Problem[] {
  return [
    ...checkRateLimit(spec.rateLimit, ["spec", "rateLimit"]),
    ...checkConcurrency(spec.adaptiveConcurrency, [
      "spec",
      "adaptiveConcurrency",
    ]),
    ...checkPriority(spec, ["spec", "priority"]),
    ...(spec.hedging?.matches ?? []).flatMap((match, index) =>
      checkMatch(match, ["spec", "hedging", "matches", index]),
    ),
  ];
}

function checkRateLimit(limit: RateLimitSpec | undefined, at: Path): Problem[] {
  if (limit === undefined) return [];
  const { requests, interval, burst, key, routes } = limit;
  const problems: Problem[] = [];
  if (requests !== undefined && interval !== undefined)
    problems.push(...checkRate({ ...limit, requests, interval }, at));
  else if (requests !== undefined || interval !== undefined)
    problems.push(
      error(
        [...at, requests === undefined ? "requests" : "interval"],
        "is required: a rate is requests in an interval",
      ),
    );
  else if (routes === undefined)
    problems.push(
      error(at, "limits nothing: give it requests and interval, or routes"),
    );
  else
    for (const [field, value] of [
      ["burst", burst],
      ["key", key],
    ] as const)
      if (value !== undefined)
        problems.push(
          error([...at, field], "needs requests and interval beside it"),
        );
  for (const [index, route] of (routes ?? []).entries()) {
    const place = [...at, "routes", index];
    problems.push(
      ...checkRate(route, place),
      ...route.matches.flatMap((match, each) =>
        checkMatch(match, [...place, "matches", each]),
      ),
    );
  }
  problems.push(
    ...duplicates(
      routes,
      (route) => route.name,
      (index) => [...at, "routes", index, "name"],
      "a limit named",
    ),
  );
  return problems;
}

function checkRate(rate: RateSpec, at: Path): Problem[] {
  return [
    ...checkDuration(rate.interval, LEAST_INTERVAL, LONGEST_INTERVAL, [
      ...at,
      "interval",
    ]),
    ...checkKey(rate.key, [...at, "key"]),
  ];
}

function checkKey(key: string | undefined, at: Path): Problem[] {
  if (key === undefined) return [];
  const source = keySource(key);
  if (source === undefined)
    return [
      error(
        at,
        `${quote(key)} is not one of none, source.principal, request.headers[NAME], request.auth.claims[NAME]`,
      ),
    ];
  if (source.kind !== "header") return [];
  const fault = new RegExp(HEADER_NAME.pattern).test(source.name)
    ? matchNameFault(source.name)
    : `${quote(source.name)} is not ${HEADER_NAME.expected}`;
  return fault === undefined ? [] : [error(at, fault)];
}

function checkConcurrency(
  spec: AdaptiveConcurrencySpec | undefined,
  at: Path,
): Problem[] {
  const { minConcurrency, maxConcurrency } = adaptiveConcurrency(spec);
  return minConcurrency <= maxConcurrency
    ? []
    : [
        error(
          [...at, "maxConcurrency"],
          `(${maxConcurrency}) is below minConcurrency (${minConcurrency})`,
        ),
      ];
}

function checkPriority(spec: ProtectionSpec, at: Path): Problem[] {
  const { priority } = spec;
  if (priority === undefined) return [];
  const problems = [
    ...checkCohort(priority, [...at, "cohort"]),
    ...(priority.rules ?? []).flatMap((rule, index) => [
      ...(rule.matches ?? []).flatMap((match, each) =>
        checkMatch(match, [...at, "rules", index, "matches", each]),
      ),
      ...checkCallers(rule.principals, [...at, "rules", index, "principals"]),
    ]),
  ];
  for (const [index, rule] of (priority.rules ?? []).entries())
    if (rule.matches === undefined && rule.principals === undefined)
      problems.push(
        error(
          [...at, "rules", index],
          "matches every request: give it matches or principals, or say so with default",
        ),
      );
  if (adaptiveConcurrency(spec.adaptiveConcurrency).mode !== "ENFORCE")
    problems.push(
      warning(
        at,
        "refuses nothing by itself: it orders what adaptiveConcurrency refuses in mode ENFORCE",
      ),
    );
  return problems;
}

/**
 * Callers are looked up by their whole names, so that a rule costs a request the same however many it names. Others match nobody. That is
 * a warning: sidecars took them before, and the config on their disks must stay valid.
 */
function checkCallers(
  principals: readonly string[] | undefined,
  at: Path,
): Problem[] {
  return (principals ?? []).flatMap((principal, index) => {
    const fault = principal.includes("*")
      ? "is a pattern; expected the whole name of a caller, as TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT"
      : judgePrincipal(principal);
    return fault === undefined
      ? []
      : [
          warning(
            [...at, index],
            `${quote(principal)} matches nobody: it ${fault}`,
          ),
        ];
  });
}

function checkCohort(priority: PrioritySpec, at: Path): Problem[] {
  const source = keySource(priority.cohort ?? "source.principal");
  return source?.kind === "none" || source?.kind === "claim"
    ? [error(at, "is not one of source.principal, request.headers[NAME]")]
    : checkKey(priority.cohort, at);
}

function checkDuration(
  text: string,
  least: number,
  longest: number,
  at: Path,
): Problem[] {
  const ms = durationOf(text);
  return ms >= least && ms <= longest
    ? []
    : [
        error(
          at,
          `must be from ${formatDuration(least)} to ${formatDuration(longest)}, not ${text}`,
        ),
      ];
}
