/**
 * The second step of routing: where rules lead, bound to the clusters of now. A cluster changes with every instance that comes or goes,
 * a rule with its route alone, so what is behind a backend is exchanged without a look at the rules.
 */
import { isPreflight } from "../routing/cors.ts";
import type { RoutedRequest } from "../router/candidate.ts";
import type {
  Cluster,
  Destination,
  ForwardDecision,
  Mirror,
  RouteDecision,
  RouteTrace,
} from "../snapshot.ts";
import { isOpaque } from "./clusters.ts";
import type { Frame } from "./frame.ts";
import type { PortRoutes, PortRules } from "./routes.ts";
import type { Reference, UnboundDecision, UnboundForward } from "./rules.ts";

/** What a port of a Service does with a request, and how it comes to that. */
export type Route = Pick<Destination, "route" | "explain">;

/** By key; undefined where no Service here has it. */
export type ClusterOf = (key: string) => Cluster | undefined;

/** The routing of a port, with the clusters that it leads to. */
export interface BoundRoutes {
  readonly routes: PortRoutes;
  /** In the order of the references. */
  readonly clusters: readonly (Cluster | undefined)[];
  readonly warnings: readonly string[];
  /** Undefined where no rule acts. */
  readonly route: Route | undefined;
}

const NO_ROUTE: RouteDecision = { kind: "refuse", code: "NO_ROUTE" };

/** The binding of before where it says the same. */
export function bindRoutes(
  routes: PortRoutes,
  clusterOf: ClusterOf,
  before: BoundRoutes | undefined,
): BoundRoutes {
  const { rules, passedOver } = routes;
  const references = rules?.references ?? [];
  const clusters = references.map(({ backend }) => clusterOf(backend));
  if (
    before?.routes === routes &&
    before.clusters.every((cluster, index) => cluster === clusters[index])
  )
    return before;
  return {
    routes,
    clusters,
    warnings: references.flatMap((reference, index) =>
      complaint(reference, clusters[index]),
    ),
    route:
      rules === undefined
        ? undefined
        : routeOf(
            rules,
            rules.decisions.map((decision) => bind(decision, clusterOf)),
            passedOver,
          ),
  };
}

/** The same routing where `one` is in the place of the whole Service: a rule that leads to the Service leads to the host that was called. */
export function narrowed(route: Route, whole: Cluster, one: Cluster): Route {
  const aim = (decision: RouteDecision): RouteDecision =>
    decision.kind === "forward" && decision.cluster === whole
      ? { ...decision, cluster: one }
      : decision;
  return {
    route: (request, random) => aim(route.route(request, random)),
    explain(request) {
      const trace = route.explain(request);
      return {
        ...trace,
        shares: trace.shares.map(({ share, decision }) => ({
          share,
          decision: aim(decision),
        })),
      };
    },
  };
}

/** Where no rule acts, all goes to the Service itself. */
export function unroutedTo(
  cluster: Cluster,
  { unrouted }: Frame,
  passedOver: PortRoutes["passedOver"],
): Route {
  const decision: ForwardDecision = {
    kind: "forward",
    rule: { route: "", rule: 0, match: 0 },
    cluster,
    requestFilters: undefined,
    responseFilters: undefined,
    extras: undefined,
    ...unrouted,
  };
  return {
    route: () => decision,
    explain: () => ({
      kind: undefined,
      considered: [],
      passedOver,
      shares: [{ share: 1, decision }],
    }),
  };
}

function routeOf(
  { kind, router, preflights }: PortRules,
  decisions: readonly RouteDecision[],
  passedOver: PortRoutes["passedOver"],
): Route {
  const at = (number: number | undefined): RouteDecision =>
    (number === undefined ? undefined : decisions[number]) ?? NO_ROUTE;
  const explain = (request: RoutedRequest): RouteTrace => {
    const { considered, targets } = router.explain(request);
    const total = targets.reduce((sum, { weight }) => sum + weight, 0);
    const shares = targets
      .filter(({ weight }) => weight > 0)
      .map(({ weight, to }) => ({ share: weight / total, decision: at(to) }));
    return { kind, considered, passedOver, shares };
  };
  if (preflights === undefined)
    return {
      route: (request, random) => at(router.route(request, random)),
      explain,
    };
  return {
    route(request, random) {
      if (isPreflight(request)) {
        const found = preflights.route(announced(request), 0);
        if (found !== undefined) return found;
      }
      return at(router.route(request, random));
    },
    explain(request) {
      if (!isPreflight(request)) return explain(request);
      const call = announced(request);
      const decision = preflights.route(call, 0);
      if (decision === undefined) return explain(request);
      const { considered } = preflights.explain(call);
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

function bind(decision: UnboundDecision, clusterOf: ClusterOf): RouteDecision {
  if (decision.kind !== "forward") return decision;
  const { backend, mirrors, extras, ...said } = decision;
  const cluster = clusterOf(backend);
  if (cluster === undefined)
    return {
      kind: "refuse",
      code: "BACKEND_INVALID",
      rule: decision.rule,
      cors: extras?.cors,
    };
  const copies = copiesTo(mirrors, clusterOf);
  return {
    ...said,
    cluster,
    extras:
      extras === undefined && copies.length === 0
        ? undefined
        : { rewrite: extras?.rewrite, cors: extras?.cors, mirrors: copies },
  };
}

/** A backend that is not there must be left out, not refused: the request itself has another. */
function copiesTo(
  mirrors: UnboundForward["mirrors"],
  clusterOf: ClusterOf,
): readonly Mirror[] {
  return mirrors.flatMap(({ backend, share }) => {
    const cluster = clusterOf(backend);
    return cluster === undefined || isOpaque(cluster)
      ? []
      : [{ cluster, share }];
  });
}

function complaint(
  { where, backend, mirror }: Reference,
  cluster: Cluster | undefined,
): readonly string[] {
  if (mirror)
    return cluster === undefined || isOpaque(cluster)
      ? [
          `${where}: nothing is copied to ${backend}: ${cluster === undefined ? "no Service here has it" : `its appProtocol is ${cluster.appProtocol}`}`,
        ]
      : [];
  return cluster === undefined
    ? [
        `${where}: no Service here has the backend ${backend}; its share gets status 500`,
      ]
    : [];
}
