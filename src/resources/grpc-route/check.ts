/** What the schema of GRPCRoute cannot state: names that no call could have, matches of nothing, expressions that are none. */
import type {
  GRPCMethodMatch,
  GRPCRouteResource,
  GRPCRouteRule,
} from "./spec.ts";
import {
  checkBackends,
  checkHeaderMatches,
  checkRoute,
} from "../http-route/check.ts";
import type { Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import { error, fault } from "../problems.ts";
import { checkFilters } from "../route-filters/check.ts";
import { regexFault } from "../text-checks.ts";

type Path = readonly Segment[];

export function checkGRPCRoute({ spec }: GRPCRouteResource): Problem[] {
  return checkRoute(spec, checkRule);
}

function checkRule(rule: GRPCRouteRule, at: Path): Problem[] {
  return [
    ...(rule.matches ?? []).flatMap(({ method, headers }, index) => [
      ...checkMethod(method, [...at, "matches", index, "method"]),
      ...checkHeaderMatches(headers, [...at, "matches", index, "headers"]),
    ]),
    ...checkFilters(rule.filters, [...at, "filters"], false),
    ...checkBackends(rule, at),
  ];
}

const SERVICE_NAME = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/;
const METHOD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

function checkMethod(match: GRPCMethodMatch | undefined, at: Path): Problem[] {
  if (match === undefined) return [];
  const { type = "Exact", service, method } = match;
  if (service === undefined && method === undefined)
    return [
      error(
        at,
        "names neither service nor method; leave it out to match every call",
      ),
    ];
  const problem = (
    text: string | undefined,
    pattern: RegExp,
    like: string,
  ): string | undefined => {
    if (text === undefined) return undefined;
    // It becomes a part of a longer expression: what is not closed in it would go on there.
    if (type === "RegularExpression")
      return regexFault(text) ?? regexFault(`(?:${text})`);
    return pattern.test(text)
      ? undefined
      : `is not a name of protobuf such as "${like}"`;
  };
  return [
    ...fault(problem(service, SERVICE_NAME, "shop.Cart"), [...at, "service"]),
    ...fault(problem(method, METHOD_NAME, "Add"), [...at, "method"]),
  ];
}
