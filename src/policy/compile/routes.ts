/** Routes → what each port of a Service does with a request: the group of routes that applies, and which rule takes it. */
import { serviceKey } from "../../mesh/service-key.ts";
import { GRPC_ROUTE } from "../../resources/grpc-route/schema.ts";
import type { GRPCRouteResource } from "../../resources/grpc-route/spec.ts";
import { HTTP_ROUTE } from "../../resources/http-route/schema.ts";
import type {
  HTTPRouteResource,
  ParentRef,
} from "../../resources/http-route/spec.ts";
import type { Resource } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import { findPort, type ServicePort } from "../../resources/service/schema.ts";
import { compileRouter, type Router } from "../router/router.ts";
import type { RouteEntry } from "../router/candidate.ts";
import type {
  PassedOverRoute,
  PreflightDecision,
  RouteKind,
} from "../snapshot.ts";
import { isOpaque } from "./clusters.ts";
import type { Frame } from "./frame.ts";
import { grpcEntries } from "./grpc-rules.ts";
import {
  nameOf,
  namespaceOf,
  type HeldRoute,
  type HeldService,
} from "./held/held.ts";
import {
  hasCors,
  httpEntries,
  preflightEntries,
  type Reference,
  type RuleContext,
  type UnboundDecision,
} from "./rules.ts";

type RouteResource = HTTPRouteResource | GRPCRouteResource;

/** What the routing of a Service's ports is made of. */
export interface RoutesInput {
  readonly frame: Frame;
  readonly service: HeldService;
  /** Those that name the Service, the oldest first. */
  readonly routes: readonly HeldRoute[];
}

/** The routing of all ports of one Service, and which clusters it refers to. */
export interface ServedRoutes extends RoutesInput {
  /** In the order of the Service's ports. */
  readonly ports: readonly PortRoutes[];
  readonly backends: ReadonlySet<string>;
}

export interface PortRoutes {
  /** Undefined where no route acts: all goes to the Service itself. */
  readonly rules: PortRules | undefined;
  /** Routes that name the Service and do not act here. */
  readonly passedOver: readonly PassedOverRoute[];
  /** Titles of those among them that would act, were anything known of what is in the bytes. */
  readonly idle: readonly string[];
  readonly warnings: readonly string[];
}

/** The rules in force on a port. They lead to numbers of `decisions`, which are bound to clusters in a step of its own. */
export interface PortRules {
  readonly kind: RouteKind;
  readonly router: Router<number>;
  /** Which rule would take the call that a browser asks about; undefined where none has CORS. */
  readonly preflights: Router<PreflightDecision | undefined> | undefined;
  readonly decisions: readonly UnboundDecision[];
  readonly references: readonly Reference[];
}

const UNROUTED: PortRoutes = {
  rules: undefined,
  passedOver: [],
  idle: [],
  warnings: [],
};

/** Adds to `problems` what cannot be compiled. */
export function compileRoutes(
  input: RoutesInput,
  before: ServedRoutes | undefined,
  problems: string[],
): ServedRoutes {
  const { service, routes, frame } = input;
  if (
    before?.frame === frame &&
    before.service === service &&
    before.routes === routes
  )
    return before;
  const ports = service.resource.spec.ports.map((port) =>
    routes.length === 0 ? UNROUTED : compilePort(input, port, problems),
  );
  return {
    ...input,
    ports,
    backends: new Set(
      ports.flatMap(
        ({ rules }) => rules?.references.map(({ backend }) => backend) ?? [],
      ),
    ),
  };
}

function compilePort(
  { service, routes, frame }: RoutesInput,
  port: ServicePort,
  problems: string[],
): PortRoutes {
  const producer = namespaceOf(service.resource);
  const caller = frame.self.namespace;
  const all = routes.map(({ resource }) => resource);
  const group = groupFor(
    all.filter((route) => isBound(route, service, port)),
    producer,
    caller,
  );
  const grouped = new Set(group);
  const others = (
    acting: readonly RouteResource[],
    why?: string,
  ): PassedOverRoute[] => {
    const acts = new Set(acting);
    return all
      .filter((route) => !acts.has(route))
      .map((route) => ({
        kind: kindOf(route),
        route: nameOf(route),
        why: grouped.has(route)
          ? (why ?? "a GRPCRoute has the port, and a port takes one kind")
          : notInGroup(route, group, producer, caller),
      }));
  };
  const unrouted = { ...UNROUTED, passedOver: others([]) };
  if (group.length === 0) return unrouted;
  const { appProtocol } = port;
  if (isOpaque(port))
    return {
      ...unrouted,
      passedOver: others(
        [],
        `no route acts on appProtocol ${appProtocol ?? ""}`,
      ),
      idle: group.map(titleOf),
    };
  const grpc = group.filter((route) => isKind(GRPC_ROUTE, route));
  const http = group.filter((route) => isKind(HTTP_ROUTE, route));
  try {
    return {
      rules: rulesOf(grpc, http, frame),
      passedOver: others(grpc.length > 0 ? grpc : http),
      idle: [],
      warnings: outranked(grpc, http, service, port),
    };
  } catch (error) {
    problems.push(
      `${group.map(titleOf).join(", ")}: ${error instanceof Error ? error.message : String(error)}`,
    );
    return unrouted;
  }
}

/** A port takes one kind of route, GRPCRoute before HTTPRoute whatever their age (trap 9). */
function rulesOf(
  grpc: readonly GRPCRouteResource[],
  http: readonly HTTPRouteResource[],
  { mesh }: Frame,
): PortRules {
  const references: Reference[] = [];
  const context: RuleContext = { mesh, references };
  const decisions: UnboundDecision[] = [];
  const numbered = (
    entries: readonly RouteEntry<UnboundDecision>[],
  ): Router<number> =>
    compileRouter(
      entries.map((entry) => ({
        ...entry,
        targets: entry.targets.map(({ weight, to }) => ({
          weight,
          to: decisions.push(to) - 1,
        })),
      })),
    );
  const isGrpc = grpc.length > 0;
  const router = numbered(
    isGrpc
      ? grpcEntries(grpc, context)
      : http.flatMap((route) => httpEntries(route, context)),
  );
  return {
    kind: isGrpc ? "GRPCRoute" : "HTTPRoute",
    router,
    preflights: !isGrpc && http.some(hasCors) ? preflightsOf(http) : undefined,
    decisions,
    references,
  };
}

function preflightsOf(
  http: readonly HTTPRouteResource[],
): Router<PreflightDecision | undefined> {
  return compileRouter(
    http.flatMap(preflightEntries).map((entry) => ({
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
}

function outranked(
  [winner]: readonly GRPCRouteResource[],
  losers: readonly HTTPRouteResource[],
  { resource }: HeldService,
  { port }: ServicePort,
): readonly string[] {
  if (winner === undefined) return [];
  const key = serviceKey(resource.metadata.name, namespaceOf(resource), port);
  return losers.map(
    (loser) =>
      `${titleOf(loser)} is not in force on ${key}: ${titleOf(winner)} has the port, and a port takes one kind of route`,
  );
}

function kindOf(route: RouteResource): RouteKind {
  return isKind(GRPC_ROUTE, route) ? "GRPCRoute" : "HTTPRoute";
}

function titleOf(route: Resource): string {
  return `${route.kind} ${nameOf(route)}`;
}

function isBound(
  route: RouteResource,
  { resource }: HeldService,
  port: ServicePort,
): boolean {
  return route.spec.parentRefs.some(
    (parent) =>
      parent.name === resource.metadata.name &&
      (parent.namespace ?? namespaceOf(route)) === namespaceOf(resource) &&
      binds(parent, resource.spec, port),
  );
}

/** `port` binds one port, `sectionName` one by name, neither: all (trap 9). */
function binds(
  parent: ParentRef,
  spec: HeldService["resource"]["spec"],
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
  attached: readonly RouteResource[],
  producer: string,
  caller: string,
): readonly RouteResource[] {
  const from = (namespace: string): readonly RouteResource[] =>
    attached.filter(({ metadata }) => metadata.namespace === namespace);
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
