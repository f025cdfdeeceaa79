/** Matches of routes that no request can reach: regular expressions beside a rule that takes every path, for prefixes go first (trap 8). */
import { atOnce, filterSteps, type Steps } from "../../core/slices.ts";
import { oldestFirst } from "./conflicts.ts";
import { formatName, type Resource } from "../envelope.ts";
import { HTTP_ROUTE } from "../http-route/schema.ts";
import type { HTTPRouteMatch, HTTPRouteResource } from "../http-route/spec.ts";
import { isKind } from "../kind.ts";

export interface Unreachable {
  readonly route: HTTPRouteResource;
  readonly path: string;
  readonly message: string;
  /** Takes what would come to it. */
  readonly taker: CatchAll;
}

export interface CatchAll {
  readonly route: HTTPRouteResource;
  readonly rule: number;
}

/**
 * Routes merge where they have the namespace and the parent in common (trap 9). Parents that name a port by its number and by its
 * name count as two places here: a warning too few, never one too many.
 */
export function unreachableMatches(
  resources: readonly Resource[],
): Unreachable[] {
  return atOnce(findUnreachable(resources));
}

/** The same, with places to pause at. */
export function* findUnreachable(
  resources: readonly Resource[],
): Steps<Unreachable[]> {
  const routes = yield* oldestFirst(
    yield* filterSteps(resources, (each) => isKind(HTTP_ROUTE, each)),
  );
  const takers = new Map<string, CatchAll>();
  for (const route of routes) {
    yield;
    const rule = takingRule(route);
    if (rule < 0) continue;
    for (const key of placesOf(route))
      if (!takers.has(key)) takers.set(key, { route, rule });
  }
  const found: Unreachable[] = [];
  if (takers.size === 0) return found;
  for (const route of routes) {
    yield;
    found.push(...unreachableIn(route, takers));
  }
  return found;
}

function unreachableIn(
  route: HTTPRouteResource,
  takers: ReadonlyMap<string, CatchAll>,
): Unreachable[] {
  const found = route.spec.parentRefs.map((_parent, index) =>
    takerAt(route, index, takers),
  );
  const [taker] = found;
  // Where one of its parents leaves it something, it has a use.
  if (taker === undefined || found.includes(undefined)) return [];
  const by = `rule ${taker.rule} of HTTPRoute ${nameOf(taker.route)}`;
  return route.spec.rules.flatMap(({ matches }, rule) =>
    (matches ?? []).flatMap(({ path }, match) =>
      path?.type === "RegularExpression"
        ? [
            {
              route,
              taker,
              path: `spec.rules[${rule}].matches[${match}].path`,
              message: `rule ${rule} of HTTPRoute ${nameOf(route)} is never reached by this regular expression: ${by} takes every path, and prefixes go before regular expressions; use Exact or PathPrefix here, or a longer prefix there`,
            },
          ]
        : [],
    ),
  );
}

/** The rule that takes every path at that parent; one for all ports takes it at each. */
function takerAt(
  route: HTTPRouteResource,
  parent: number,
  takers: ReadonlyMap<string, CatchAll>,
): CatchAll | undefined {
  const key = placesOf(route)[parent] ?? "";
  return takers.get(key) ?? takers.get(forAllPorts(key));
}

/** Where a route that takes every path may leave this one nothing. */
export function placesSharedBy(route: HTTPRouteResource): readonly string[] {
  return placesOf(route).flatMap((key) => [key, forAllPorts(key)]);
}

/** Where the route takes every path; nowhere where it does not. */
export function placesTakenBy(route: HTTPRouteResource): readonly string[] {
  return takingRule(route) < 0 ? [] : placesOf(route);
}

function takingRule({ spec }: HTTPRouteResource): number {
  return spec.rules.findIndex(({ matches }) =>
    (matches ?? [{}]).some(takesEverything),
  );
}

function forAllPorts(key: string): string {
  return key.slice(0, key.lastIndexOf(" ") + 1);
}

/** One a parent: "NAMESPACE SERVICE PORT", the port "" for all. */
function placesOf({ metadata, spec }: HTTPRouteResource): string[] {
  const { namespace = "" } = metadata;
  return spec.parentRefs.map(
    (parent) =>
      `${namespace} ${formatName(parent.namespace ?? namespace, parent.name)} ${parent.port ?? parent.sectionName ?? ""}`,
  );
}

function takesEverything({
  path,
  method,
  headers = [],
  queryParams = [],
}: HTTPRouteMatch): boolean {
  return (
    (path?.type ?? "PathPrefix") === "PathPrefix" &&
    (path?.value ?? "/") === "/" &&
    method === undefined &&
    headers.length === 0 &&
    queryParams.length === 0
  );
}

function nameOf({ metadata }: Resource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}
