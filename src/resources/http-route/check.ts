/** What the schema of HTTPRoute cannot state: paths, regular expressions, header names and time-outs that could not work. */
import { durationOf } from "../../core/duration.ts";
import {
  isRetryable,
  type BackendRef,
  type HeaderMatch,
  type HTTPRouteMatch,
  type HTTPRouteResource,
  type HTTPRouteRetry,
  type HTTPRouteRule,
  type HTTPRouteTimeouts,
  type ParentRef,
  type PathMatch,
} from "./spec.ts";
import type { Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import { duplicates, error, fault, warning } from "../problems.ts";
import { checkFilters } from "../route-filters/check.ts";
import {
  hostMatchFault,
  matchNameFault,
  needlessEncoding,
  pathFault,
  regexFault,
} from "../text-checks.ts";

/** Over all rules of a route, as in Gateway API. */
const MOST_MATCHES = 128;

type Path = readonly Segment[];

export function checkHTTPRoute({ spec }: HTTPRouteResource): Problem[] {
  return checkRoute(spec, checkRule);
}

interface RouteRule {
  readonly name?: string;
  readonly matches?: readonly unknown[];
}

/** What routes of either kind have in common. */
export function checkRoute<R extends RouteRule>(
  spec: {
    readonly parentRefs: readonly ParentRef[];
    readonly rules: readonly R[];
  },
  checkRule: (rule: R, at: Path) => Problem[],
): Problem[] {
  const matches = spec.rules.reduce(
    (sum, rule) => sum + (rule.matches?.length ?? 1),
    0,
  );
  return [
    ...checkParents(spec.parentRefs),
    ...duplicates(
      spec.rules,
      (rule) => rule.name,
      (index) => ["spec", "rules", index, "name"],
      "a rule named",
    ),
    ...(matches > MOST_MATCHES
      ? [
          error(
            ["spec", "rules"],
            `have ${matches} matches together, more than ${MOST_MATCHES}`,
          ),
        ]
      : []),
    ...spec.rules.flatMap((rule, index) =>
      checkRule(rule, ["spec", "rules", index]),
    ),
  ];
}

/** The parents of a route of either kind. */
function checkParents(parents: readonly ParentRef[]): Problem[] {
  return duplicates(
    parents,
    (ref) =>
      [
        ref.namespace ?? "",
        ref.name,
        ref.port ?? "",
        ref.sectionName ?? "",
      ].join("/"),
    (index) => ["spec", "parentRefs", index],
    "the parent",
  );
}

function checkRule(rule: HTTPRouteRule, at: Path): Problem[] {
  return [
    ...(rule.matches ?? []).flatMap((match, index) =>
      checkMatch(match, [...at, "matches", index]),
    ),
    ...checkFilters(rule.filters, [...at, "filters"], isPrefixed(rule)),
    ...checkTimeouts(rule.timeouts, [...at, "timeouts"]),
    ...checkRetry(rule.retry, [...at, "retry"]),
    ...checkBackends(rule, at),
  ];
}

/** One match, of a route or of another policy that acts on some requests only. */
export function checkMatch(match: HTTPRouteMatch, at: Path): Problem[] {
  const query = [...at, "queryParams"];
  return [
    ...checkPath(match.path, [...at, "path", "value"]),
    ...checkHeaderMatches(match.headers, [...at, "headers"]),
    ...duplicates(
      match.queryParams,
      (param) => param.name,
      (index) => [...query, index, "name"],
      "a match of the parameter",
    ),
    ...(match.queryParams ?? []).flatMap((param, index) =>
      param.type === "RegularExpression"
        ? fault(regexFault(param.value), [...query, index, "value"])
        : [],
    ),
  ];
}

/** The header matches of a route of either kind. */
export function checkHeaderMatches(
  headers: readonly HeaderMatch[] | undefined,
  at: Path,
): Problem[] {
  return [
    ...duplicates(
      headers,
      (header) => header.name.toLowerCase(),
      (index) => [...at, index, "name"],
      "a match of the header",
    ),
    ...(headers ?? []).flatMap((header, index) => [
      ...fault(matchNameFault(header.name), [...at, index, "name"]),
      ...(header.type === "RegularExpression"
        ? fault(regexFault(header.value), [...at, index, "value"])
        : header.name.toLowerCase() === "host"
          ? fault(hostMatchFault(header.value), [...at, index, "value"])
          : []),
    ]),
  ];
}

/** Gateway API: exactly one match, of a PathPrefix; no match at all is that of "/". */
function isPrefixed({ matches = [{}] }: HTTPRouteRule): boolean {
  return (
    matches.length === 1 &&
    (matches[0]?.path?.type ?? "PathPrefix") === "PathPrefix"
  );
}

interface RuleWithBackends {
  readonly filters?: HTTPRouteRule["filters"];
  readonly backendRefs?: readonly BackendRef[];
}

/** The backends of a rule of either kind: their filters, and whether there is anywhere to go (trap 10). */
export function checkBackends(rule: RuleWithBackends, at: Path): Problem[] {
  const backends = rule.backendRefs ?? [];
  const list = [...at, "backendRefs"];
  const problems = backends.flatMap((backend, index) =>
    checkFilters(backend.filters, [...list, index, "filters"], false),
  );
  const redirects = (rule.filters ?? []).some(
    ({ type }) => type === "RequestRedirect",
  );
  if (redirects && backends.length > 0)
    problems.push(
      error(
        list,
        "do not go with RequestRedirect: what is redirected is not forwarded",
      ),
    );
  else if (!redirects && backends.length === 0)
    problems.push(
      warning(at, "has no backendRefs: what it matches gets status 500"),
    );
  else if (!redirects && backends.every((backend) => backend.weight === 0))
    problems.push(
      warning(list, "have weight 0 all: what the rule matches gets status 500"),
    );
  return problems;
}

function checkPath(path: PathMatch | undefined, at: Path): Problem[] {
  const value = path?.value ?? "/";
  if (path?.type === "RegularExpression") {
    const problems = fault(regexFault(value), at);
    // Not where it is "%[0-9a-f]": what a class means is not guessed.
    const lower = /%(?:[0-9A-F][a-f]|[a-f][0-9a-fA-F])/.exec(value)?.[0];
    if (problems.length === 0 && lower !== undefined)
      problems.push(
        warning(
          at,
          `holds ${lower}, but paths are matched with escapes in upper case: write ${lower.toUpperCase()}`,
        ),
      );
    return problems;
  }
  const problems = fault(pathFault(value), at);
  const needless = needlessEncoding(value);
  if (problems.length === 0 && needless !== undefined)
    problems.push(
      warning(
        at,
        `holds ${needless}, which path normalisation decodes: it matches nothing but where pathNormalization is NONE`,
      ),
    );
  return problems;
}

function checkTimeouts(
  timeouts: HTTPRouteTimeouts | undefined,
  at: Path,
): Problem[] {
  const { request, backendRequest } = timeouts ?? {};
  if (request === undefined || backendRequest === undefined) return [];
  const whole = durationOf(request);
  // "0s" is off: no limit to stay below (trap 11).
  if (whole === 0 || durationOf(backendRequest) <= whole) return [];
  return [
    error(
      [...at, "backendRequest"],
      `(${backendRequest}) is longer than request (${request}), which spans all tries`,
    ),
  ];
}

function checkRetry(retry: HTTPRouteRetry | undefined, at: Path): Problem[] {
  const problems = (retry?.codes ?? []).flatMap((code, index) =>
    isRetryable(code)
      ? []
      : [
          warning(
            [...at, "codes", index],
            `(${code}) has no effect: such a response is never retried; expected 429 and 500 to 599`,
          ),
        ],
  );
  if (retry?.backoff !== undefined && durationOf(retry.backoff) === 0)
    problems.push(
      error(
        [...at, "backoff"],
        'must be above 0: retries without a pause make a storm; leave it out for "25ms"',
      ),
    );
  return problems;
}
