/** HTTPRoutes → what each Service's port does with a request: the group of routes that applies, and where each match leads. */
import { findPort, type ServicePort } from "../../resources/service.ts";
import type {
  BackendRef,
  HTTPRouteResource,
  HTTPRouteRule,
  ParentRef,
} from "../../resources/http-route.ts";
import { DEFAULT_WEIGHT } from "../../resources/http-route.ts";
import type { MeshSettings } from "../../resources/mesh.ts";
import { compileEdits } from "../header-edits.ts";
import { compileRetry } from "../retry.ts";
import {
  compileRouter,
  type RouteEntry,
  type RoutedRequest,
  type RuleRef,
} from "../router.ts";
import type { Cluster, ForwardDecision, RouteDecision } from "../snapshot.ts";
import { effectiveTimeouts } from "../timeout.ts";
import {
  clusterKey,
  isOpaque,
  namespaceOf,
  type ServedPort,
} from "./clusters.ts";
import { createdAt, nameOf } from "./sort.ts";

export type Route = (request: RoutedRequest, random: number) => RouteDecision;

interface Attached {
  readonly route: HTTPRouteResource;
  readonly parent: ParentRef;
}

const NO_ROUTE: RouteDecision = { kind: "refuse", code: "NO_ROUTE" };

/** Indexes the routes once; the result gives the routing of one port. */
export function routing(
  routes: readonly HTTPRouteResource[],
  served: ReadonlyMap<string, ServedPort>,
  caller: string,
  mesh: MeshSettings,
  problems: string[],
  warnings: string[],
): (port: ServedPort, cluster: Cluster) => Route {
  const attached = new Map<string, Attached[]>();
  for (const route of routes)
    for (const parent of route.spec.parentRefs) {
      const key = `${parent.namespace ?? route.metadata.namespace ?? ""}/${parent.name}`;
      const list = attached.get(key);
      if (list === undefined) attached.set(key, [{ route, parent }]);
      else list.push({ route, parent });
    }

  return (target, cluster) => {
    const group = groupFor(
      (attached.get(nameOf(target.service)) ?? []).filter(({ parent }) =>
        binds(parent, target.service.spec, target.port),
      ),
      namespaceOf(target.service),
      caller,
    );
    if (group.length === 0) return implicitRoute(cluster, mesh);
    if (isOpaque(target.port)) {
      for (const route of group)
        warnings.push(
          `HTTPRoute ${nameOf(route)} does nothing on ${cluster.key}: its appProtocol is ${cluster.appProtocol}`,
        );
      return implicitRoute(cluster, mesh);
    }
    const entries = group.flatMap((route) =>
      entriesOf(route, served, mesh, warnings),
    );
    try {
      const router = compileRouter(entries);
      return (request, random) => router.route(request, random) ?? NO_ROUTE;
    } catch (error) {
      problems.push(
        `${group.map((route) => `HTTPRoute ${nameOf(route)}`).join(", ")}: ${error instanceof Error ? error.message : String(error)}`,
      );
      return () => NO_ROUTE;
    }
  };
}

/** `port` binds one port, `sectionName` one by name, neither: all (trap 9). */
function binds(
  parent: ParentRef,
  spec: { readonly ports: readonly ServicePort[] },
  port: ServicePort,
): boolean {
  return (
    (parent.port === undefined || parent.port === port.port) &&
    (parent.sectionName === undefined ||
      findPort(spec, parent.sectionName) === port)
  );
}

/** Routes of the caller's own namespace (consumer) act instead of those of the Service's (producer); others act not at all (trap 9). */
function groupFor(
  attached: readonly Attached[],
  producer: string,
  caller: string,
): HTTPRouteResource[] {
  const from = (namespace: string): HTTPRouteResource[] => [
    ...new Set(
      attached
        .map(({ route }) => route)
        .filter(({ metadata }) => metadata.namespace === namespace),
    ),
  ];
  const consumers = caller === producer ? [] : from(caller);
  return consumers.length > 0 ? consumers : from(producer);
}

function implicitRoute(cluster: Cluster, mesh: MeshSettings): Route {
  const decision: ForwardDecision = {
    kind: "forward",
    rule: { route: "", rule: 0, match: 0 },
    cluster,
    requestFilters: undefined,
    responseFilters: undefined,
    timeouts: effectiveTimeouts(undefined, mesh.defaults.timeouts),
    retry: compileRetry(undefined, mesh.defaults.retry),
  };
  return () => decision;
}

/** Each match of each rule by itself, for each sorts by itself (trap 8). */
function entriesOf(
  route: HTTPRouteResource,
  served: ReadonlyMap<string, ServedPort>,
  mesh: MeshSettings,
  warnings: string[],
): RouteEntry<RouteDecision>[] {
  const name = nameOf(route);
  const age = createdAt(route);
  return route.spec.rules.flatMap((rule, ruleIndex) => {
    const shared = {
      requestFilters: compileEdits(rule.filters, "request"),
      responseFilters: compileEdits(rule.filters, "response"),
      timeouts: effectiveTimeouts(rule.timeouts, mesh.defaults.timeouts),
      retry: compileRetry(rule.retry, mesh.defaults.retry),
    };
    const shares = sharesOf(
      rule,
      route,
      served,
      `${name} rule ${ruleIndex}`,
      warnings,
    );
    return (rule.matches ?? [{}]).map((match, matchIndex) => {
      const ref: RuleRef = { route: name, rule: ruleIndex, match: matchIndex };
      return {
        ref,
        createdAt: age,
        match,
        targets: shares.map(({ weight, cluster }) => ({
          weight,
          to:
            cluster === undefined
              ? { kind: "refuse", code: "BACKEND_INVALID", rule: ref }
              : { kind: "forward", rule: ref, cluster, ...shared },
        })),
      };
    });
  });
}

interface Share {
  readonly weight: number;
  /** Undefined: this share of the requests is answered with 500 (trap 10). */
  readonly cluster: Cluster | undefined;
}

function sharesOf(
  rule: HTTPRouteRule,
  route: HTTPRouteResource,
  served: ReadonlyMap<string, ServedPort>,
  where: string,
  warnings: string[],
): Share[] {
  const shares = (rule.backendRefs ?? []).map((ref) => {
    const key = backendKey(ref, route);
    const cluster = served.get(key)?.cluster;
    if (cluster === undefined)
      warnings.push(
        `HTTPRoute ${where}: no Service here has the backend ${key}; its share is answered with 500`,
      );
    return { weight: ref.weight ?? DEFAULT_WEIGHT, cluster };
  });
  // Neither "no backend" nor "none with a weight" leaves anywhere to go: Gateway API wants 500.
  return shares.some(({ weight }) => weight > 0)
    ? shares
    : [{ weight: 1, cluster: undefined }];
}

function backendKey(ref: BackendRef, route: HTTPRouteResource): string {
  return clusterKey(
    ref.name,
    ref.namespace ?? route.metadata.namespace ?? "",
    ref.port,
  );
}
