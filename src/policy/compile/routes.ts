/** Routes → what each Service's port does with a request: the group of routes that applies, and where each match leads. */
import type { Resource } from "../../resources/envelope.ts";
import { GRPC_ROUTE } from "../../resources/grpc-route/schema.ts";
import type { GRPCRouteResource } from "../../resources/grpc-route/spec.ts";
import { HTTP_ROUTE } from "../../resources/http-route/schema.ts";
import type {
  HTTPRouteResource,
  ParentRef,
} from "../../resources/http-route/spec.ts";
import { isKind } from "../../resources/kind.ts";
import type { MeshSettings } from "../../resources/mesh/schema.ts";
import { findPort, type ServicePort } from "../../resources/service/schema.ts";
import { isPreflight } from "../routing/cors.ts";
import { compileRetry } from "../retry.ts";
import { compileRouter } from "../router/router.ts";
import { type RouteEntry, type RoutedRequest } from "../router/candidate.ts";
import type {
  Cluster,
  Destination,
  ForwardDecision,
  PassedOverRoute,
  RouteDecision,
  RouteKind,
  RouteTrace,
} from "../snapshot.ts";
import { effectiveTimeouts } from "../timeout.ts";
import { isOpaque, namespaceOf, type ServedPort } from "./clusters.ts";
import { grpcEntries } from "./grpc-rules.ts";
import {
  hasCors,
  httpEntries,
  preflightEntries,
  type RuleContext,
} from "./rules.ts";
import { nameOf } from "./sort.ts";

/** What a port of a Service does with a request, and how it comes to that. */
export type Route = Pick<Destination, "route" | "explain">;

type RouteResource = HTTPRouteResource | GRPCRouteResource;

interface Attached {
  readonly route: RouteResource;
  readonly parent: ParentRef;
}

const NO_ROUTE: RouteDecision = { kind: "refuse", code: "NO_ROUTE" };

/** Indexes the routes once; the result gives the routing of one port. */
export function routing(
  routes: readonly RouteResource[],
  served: ReadonlyMap<string, ServedPort>,
  caller: string,
  mesh: MeshSettings,
  problems: string[],
  warnings: string[],
): (port: ServedPort, cluster: Cluster) => Route {
  const context: RuleContext = { served, mesh, warnings };
  const attached = new Map<string, Attached[]>();
  for (const route of routes)
    for (const parent of route.spec.parentRefs) {
      const key = `${parent.namespace ?? route.metadata.namespace ?? ""}/${parent.name}`;
      const list = attached.get(key);
      if (list === undefined) attached.set(key, [{ route, parent }]);
      else list.push({ route, parent });
    }

  return (target, cluster) => {
    const all = attached.get(nameOf(target.service)) ?? [];
    const producer = namespaceOf(target.service);
    const group = groupFor(
      all.filter(({ parent }) =>
        binds(parent, target.service.spec, target.port),
      ),
      producer,
      caller,
    );
    const others = (
      acting: readonly RouteResource[],
      why?: string,
    ): PassedOverRoute[] =>
      [...new Set(all.map(({ route }) => route))]
        .filter((route) => !acting.includes(route))
        .map((route) => ({
          kind: kindOf(route),
          route: nameOf(route),
          why: group.includes(route)
            ? (why ?? "a GRPCRoute has the port, and a port takes one kind")
            : notInGroup(route, group, producer, caller),
        }));
    if (group.length === 0) return implicitRoute(cluster, mesh, others([]));
    if (isOpaque(target.port)) {
      for (const route of group)
        warnings.push(
          `${titleOf(route)} does nothing on ${cluster.key}: its appProtocol is ${cluster.appProtocol}`,
        );
      const why = `no route acts on appProtocol ${cluster.appProtocol}`;
      return implicitRoute(cluster, mesh, others([], why));
    }
    const grpc = group.filter((route) => isKind(GRPC_ROUTE, route));
    const http = group.filter((route) => isKind(HTTP_ROUTE, route));
    const { entries, preflights } = entriesOf(grpc, http, cluster, context);
    try {
      return grpc.length > 0
        ? route("GRPCRoute", entries, preflights, others(grpc))
        : route("HTTPRoute", entries, preflights, others(http));
    } catch (error) {
      problems.push(
        `${group.map(titleOf).join(", ")}: ${error instanceof Error ? error.message : String(error)}`,
      );
      return implicitRoute(cluster, mesh, []);
    }
  };
}

interface Entries {
  readonly entries: readonly RouteEntry<RouteDecision>[];
  readonly preflights: ReturnType<typeof preflightEntries>;
}

/** A port takes one kind of route, GRPCRoute before HTTPRoute whatever their age (trap 9). */
function entriesOf(
  grpc: readonly GRPCRouteResource[],
  http: readonly HTTPRouteResource[],
  cluster: Cluster,
  context: RuleContext,
): Entries {
  const [winner] = grpc;
  if (winner === undefined)
    return {
      entries: http.flatMap((route) => httpEntries(route, context)),
      preflights: http.some(hasCors) ? http.flatMap(preflightEntries) : [],
    };
  for (const loser of http)
    context.warnings.push(
      `${titleOf(loser)} is not in force on ${cluster.key}: ${titleOf(winner)} has the port, and a port takes one kind of route`,
    );
  return { entries: grpcEntries(grpc, context), preflights: [] };
}

function route(
  kind: RouteKind,
  entries: readonly RouteEntry<RouteDecision>[],
  preflights: Entries["preflights"],
  passedOver: readonly PassedOverRoute[],
): Route {
  const router = compileRouter(entries);
  const explain = (request: RoutedRequest): RouteTrace => {
    const { considered, targets } = router.explain(request);
    return { kind, considered, passedOver, shares: sharesOf(targets) };
  };
  if (preflights.length === 0)
    return {
      route: (request, random) => router.route(request, random) ?? NO_ROUTE,
      explain,
    };
  const asked = compileRouter(
    preflights.map((entry) => ({
      ...entry,
      targets: entry.targets.map(({ weight, to }) => ({
        weight,
        to:
          to === undefined
            ? undefined
            : { kind: "preflight" as const, cors: to, rule: entry.ref },
      })),
    })),
  );
  return {
    route(request, random) {
      if (isPreflight(request)) {
        const found = asked.route(announced(request), 0);
        if (found !== undefined) return found;
      }
      return router.route(request, random) ?? NO_ROUTE;
    },
    explain(request) {
      if (!isPreflight(request)) return explain(request);
      const call = announced(request);
      const decision = asked.route(call, 0);
      if (decision === undefined) return explain(request);
      const { considered } = asked.explain(call);
      return { kind, considered, passedOver, shares: [{ share: 1, decision }] };
    },
  };
}

/** Which rule would take the call that the browser has in mind? */
function announced(request: RoutedRequest): RoutedRequest {
  return {
    ...request,
    method: request.header("access-control-request-method") ?? "",
  };
}

function sharesOf(
  targets: RouteEntry<RouteDecision>["targets"],
): RouteTrace["shares"] {
  const total = targets.reduce((sum, { weight }) => sum + weight, 0);
  return targets
    .filter(({ weight }) => weight > 0)
    .map(({ weight, to }) => ({ share: weight / total, decision: to }));
}

function kindOf(route: RouteResource): RouteKind {
  return isKind(GRPC_ROUTE, route) ? "GRPCRoute" : "HTTPRoute";
}

function titleOf(route: Resource): string {
  return `${route.kind} ${nameOf(route)}`;
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
): RouteResource[] {
  const from = (namespace: string): RouteResource[] => [
    ...new Set(
      attached
        .map(({ route }) => route)
        .filter(({ metadata }) => metadata.namespace === namespace),
    ),
  ];
  const consumers = caller === producer ? [] : from(caller);
  return consumers.length > 0 ? consumers : from(producer);
}

/** Why a route that names the Service is not among those that act on its port. */
function notInGroup(
  { metadata: { namespace = "" } }: RouteResource,
  group: readonly RouteResource[],
  producer: string,
  caller: string,
): string {
  if (namespace !== producer && namespace !== caller)
    return `it is of namespace ${namespace}: only routes of the caller's namespace and of the Service's act`;
  const consumers = group.some(
    ({ metadata }) => metadata.namespace !== producer,
  );
  return consumers && namespace === producer
    ? `routes of the caller's namespace ${caller} act in its place`
    : "it names another port";
}

function implicitRoute(
  cluster: Cluster,
  mesh: MeshSettings,
  passedOver: readonly PassedOverRoute[],
): Route {
  const decision: ForwardDecision = {
    kind: "forward",
    rule: { route: "", rule: 0, match: 0 },
    cluster,
    requestFilters: undefined,
    responseFilters: undefined,
    extras: undefined,
    timeouts: effectiveTimeouts(undefined, mesh.defaults.timeouts),
    retry: compileRetry(undefined, mesh.defaults.retry),
  };
  const shares = [{ share: 1, decision }];
  return {
    route: () => decision,
    explain: () => ({ kind: undefined, considered: [], passedOver, shares }),
  };
}
