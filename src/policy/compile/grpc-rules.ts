/**
 * The rules of GRPCRoutes → what the router takes: a call is a POST to "/SERVICE/METHOD", so a match of a method is one of a path.
 *
 * GRPCRoute's own order, "characters in a matching service, then in a matching method", is that of the router for what is named in full
 * (Exact, then the prefix of a service). The rest are expressions, where a rank says it: expressions of a service, methods of any
 * service, and at the end every call.
 */
import type {
  GRPCMethodMatch,
  GRPCRouteResource,
} from "../../resources/grpc-route/spec.ts";
import type { PathMatch } from "../../resources/http-route/spec.ts";
import type { RouteEntry } from "../router/candidate.ts";
import { createdAt } from "../../resources/envelope.ts";
import { nameOf } from "./held/held.ts";
import {
  compileRule,
  type RuleContext,
  type UnboundDecision,
} from "./rules.ts";

/** The rules of all routes of one group, which merge. */
export function grpcEntries(
  routes: readonly GRPCRouteResource[],
  context: RuleContext,
): RouteEntry<UnboundDecision>[] {
  // Where nothing comes between, "every call" is the shortest prefix and costs no expression.
  const plain = routes.every((route) =>
    route.spec.rules.every((rule) =>
      (rule.matches ?? []).every(({ method }) => !isExpression(method)),
    ),
  );
  return routes.flatMap((route) => {
    const name = nameOf(route);
    return route.spec.rules.flatMap((rule, ruleIndex) => {
      const targetsOf = compileRule(
        rule,
        "/",
        route,
        `GRPCRoute ${name} rule ${ruleIndex}`,
        context,
      );
      return (rule.matches ?? [{}]).map(({ method, headers }, matchIndex) => {
        const ref = { route: name, rule: ruleIndex, match: matchIndex };
        return {
          ref,
          createdAt: createdAt(route),
          rank: isExpression(method) || !plain ? rankOf(method) : 0,
          match: {
            method: "POST" as const,
            path: pathOf(method, plain),
            ...(headers === undefined ? {} : { headers }),
          },
          targets: targetsOf(ref),
        };
      });
    });
  });
}

/** It is neither a whole path nor a whole service. */
function isExpression(match: GRPCMethodMatch | undefined): boolean {
  return (
    match !== undefined &&
    (match.type === "RegularExpression" || match.service === undefined)
  );
}

/** One element of a path. */
const ANY = "[^/]+";

function pathOf(match: GRPCMethodMatch | undefined, plain: boolean): PathMatch {
  if (match === undefined)
    return plain
      ? { type: "PathPrefix", value: "/" }
      : { type: "RegularExpression", value: `/${ANY}/${ANY}` };
  const { service, method } = match;
  if (isExpression(match))
    return {
      type: "RegularExpression",
      value: `/(?:${service ?? ANY})/(?:${method ?? ANY})`,
    };
  return method === undefined
    ? { type: "PathPrefix", value: `/${service ?? ""}` }
    : { type: "Exact", value: `/${service ?? ""}/${method}` };
}

const LONGEST = 1024;

/** Lower goes first: a service before none, and a longer one; then the same of the method. Names in full have tables of their own. */
function rankOf(match: GRPCMethodMatch | undefined): number {
  const { service = "", method = "" } = match ?? {};
  if (match !== undefined && !isExpression(match)) return 0;
  return (LONGEST - service.length) * (LONGEST + 1) + (LONGEST - method.length);
}
