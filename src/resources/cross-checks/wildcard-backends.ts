/** Routes and Services that have wildcard hosts alone: what leads there has to say a host, and a rule of another Service says none. */
import { isWildcard } from "../../core/text/wildcards.ts";
import { formatName } from "../envelope.ts";
import type { GRPCRouteResource } from "../grpc-route/spec.ts";
import type { HTTPRouteResource } from "../http-route/spec.ts";
import type { Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import { warning } from "../problems.ts";
import type { ServiceResource } from "../service/schema.ts";

type RouteResource = HTTPRouteResource | GRPCRouteResource;
type Find = (ref: {
  readonly namespace?: string | undefined;
  readonly name: string;
}) => ServiceResource | undefined;

/** `find`: the Service that a reference of the route is to; undefined where there is none yet. */
export function checkWildcardBackends(
  { spec: { parentRefs, rules } }: RouteResource,
  find: Find,
): Problem[] {
  const parents = parentRefs.flatMap((ref) => find(ref) ?? []);
  const problems: Problem[] = [];
  for (const [rule, { backendRefs = [], filters = [] }] of rules.entries()) {
    const at = ["spec", "rules", rule];
    for (const [index, ref] of backendRefs.entries())
      problems.push(
        ...withoutHost(
          find(ref),
          parents,
          [...at, "backendRefs", index, "name"],
          "its share of them is refused with NO_ENDPOINT",
        ),
      );
    for (const [index, filter] of filters.entries()) {
      const path = [...at, "filters", index];
      if (filter.requestMirror !== undefined)
        problems.push(
          ...withoutHost(
            find(filter.requestMirror.backendRef),
            parents,
            [...path, "requestMirror", "backendRef", "name"],
            "nothing of them is copied",
          ),
        );
      if ("urlRewrite" in filter && filter.urlRewrite.hostname !== undefined)
        problems.push(
          ...rewritten(parents, [...path, "urlRewrite", "hostname"]),
        );
    }
  }
  return problems;
}

/** A backend without a host of its own, for calls of other Services. */
function withoutHost(
  backend: ServiceResource | undefined,
  parents: readonly ServiceResource[],
  at: readonly Segment[],
  consequence: string,
): Problem[] {
  if (backend === undefined || !hasWildcardsAlone(backend)) return [];
  const own = nameOf(backend);
  const others = parents.map(nameOf).filter((name) => name !== own);
  return others.length === 0
    ? []
    : [
        warning(
          at,
          `Service ${own} has wildcard hosts alone, and calls of ${[...new Set(others)].join(", ")} say none of them: ${consequence}; list an exact host in the Service`,
        ),
      ];
}

function rewritten(
  parents: readonly ServiceResource[],
  at: readonly Segment[],
): Problem[] {
  const wild = parents.filter(hasWildcardsAlone).map(nameOf);
  return wild.length === 0
    ? []
    : [
        warning(
          at,
          `Service ${wild.join(", ")} has wildcard hosts alone: this changes the Host header, and the call still goes to the host that the caller named`,
        ),
      ];
}

function hasWildcardsAlone({ spec: { hosts = [] } }: ServiceResource): boolean {
  return hosts.length > 0 && hosts.every(isWildcard);
}

function nameOf({ metadata }: ServiceResource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}
