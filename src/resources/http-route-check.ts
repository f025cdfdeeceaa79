/** What the schema of HTTPRoute cannot state: paths, regular expressions, header names and time-outs that could not work. */
import { durationOf } from "../core/duration.ts";
import type {
  HeaderModifier,
  HTTPRouteFilter,
  HTTPRouteMatch,
  HTTPRouteResource,
  HTTPRouteRule,
  HTTPRouteTimeouts,
  PathMatch,
} from "./http-route.ts";
import type { Problem } from "./kind.ts";
import type { Segment } from "./path.ts";
import { duplicates, error, warning } from "./problems.ts";
import {
  filterNameFault,
  matchNameFault,
  needlessEncoding,
  pathFault,
  regexFault,
} from "./text-checks.ts";

/** Over all rules of a route, as in Gateway API. */
const MOST_MATCHES = 128;

type Path = readonly Segment[];

export function checkHTTPRoute({ spec }: HTTPRouteResource): Problem[] {
  const matches = spec.rules.reduce(
    (sum, rule) => sum + (rule.matches?.length ?? 1),
    0,
  );
  return [
    ...duplicates(
      spec.parentRefs,
      (ref) =>
        [
          ref.namespace ?? "",
          ref.name,
          ref.port ?? "",
          ref.sectionName ?? "",
        ].join("/"),
      (index) => ["spec", "parentRefs", index],
      "the parent",
    ),
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

function checkRule(rule: HTTPRouteRule, at: Path): Problem[] {
  const problems = [
    ...(rule.matches ?? []).flatMap((match, index) =>
      checkMatch(match, [...at, "matches", index]),
    ),
    ...duplicates(
      rule.filters,
      (filter) => filter.type,
      (index) => [...at, "filters", index, "type"],
      "a filter of type",
    ),
    ...(rule.filters ?? []).flatMap((filter, index) =>
      checkFilter(filter, [...at, "filters", index]),
    ),
    ...checkTimeouts(rule.timeouts, [...at, "timeouts"]),
  ];
  if (rule.retry?.backoff !== undefined && durationOf(rule.retry.backoff) === 0)
    problems.push(
      error(
        [...at, "retry", "backoff"],
        'must be above 0: retries without a pause make a storm; leave it out for "25ms"',
      ),
    );
  const backends = rule.backendRefs ?? [];
  if (backends.length === 0)
    problems.push(
      warning(at, "has no backendRefs: what it matches is answered 500"),
    );
  else if (backends.every((backend) => backend.weight === 0))
    problems.push(
      warning(
        [...at, "backendRefs"],
        "have weight 0 all: what the rule matches is answered 500",
      ),
    );
  return problems;
}

function checkMatch(match: HTTPRouteMatch, at: Path): Problem[] {
  const headers = [...at, "headers"];
  const query = [...at, "queryParams"];
  return [
    ...checkPath(match.path, [...at, "path", "value"]),
    ...duplicates(
      match.headers,
      (header) => header.name.toLowerCase(),
      (index) => [...headers, index, "name"],
      "a match of the header",
    ),
    ...(match.headers ?? []).flatMap((header, index) => [
      ...fault(matchNameFault(header.name), [...headers, index, "name"]),
      ...(header.type === "RegularExpression"
        ? fault(regexFault(header.value), [...headers, index, "value"])
        : []),
    ]),
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

function checkPath(path: PathMatch | undefined, at: Path): Problem[] {
  const value = path?.value ?? "/";
  if (path?.type === "RegularExpression") return fault(regexFault(value), at);
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

const FIELD_OF = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
} as const;

function checkFilter(filter: HTTPRouteFilter, at: Path): Problem[] {
  const problems: Problem[] = [];
  for (const [type, field] of Object.entries(FIELD_OF)) {
    const modifier = filter[field];
    if (type === filter.type && modifier === undefined)
      problems.push(
        error([...at, field], `is required where type is ${filter.type}`),
      );
    if (modifier === undefined) continue;
    if (type !== filter.type)
      problems.push(
        error([...at, field], `does not go with type ${filter.type}`),
      );
    problems.push(...checkModifier(modifier, [...at, field]));
  }
  return problems;
}

function checkModifier(modifier: HeaderModifier, at: Path): Problem[] {
  const problems: Problem[] = [];
  const lists = [
    ["set", modifier.set?.map((pair) => pair.name), ["name"]],
    ["add", modifier.add?.map((pair) => pair.name), ["name"]],
    ["remove", modifier.remove, []],
  ] as const;
  for (const [list, names, rest] of lists) {
    const path = (index: number): Path => [...at, list, index, ...rest];
    for (const [index, name] of (names ?? []).entries())
      problems.push(...fault(filterNameFault(name), path(index)));
    problems.push(
      ...duplicates(names, (name) => name.toLowerCase(), path, "the header"),
    );
  }
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

function fault(message: string | undefined, at: Path): Problem[] {
  return message === undefined ? [] : [error(at, message)];
}
