/** Which of two resources that claim the same thing wins: the oldest, as a whole (trap 13); between kinds of routes, GRPCRoute (trap 9). */
import {
  atOnce,
  filterSteps,
  pieces,
  sortSteps,
  type Steps,
} from "../../core/slices.ts";
import { accountOf, addressLosses } from "../ownership/address-owners.ts";
import {
  createdAt,
  formatKey,
  formatName,
  keyOf,
  type Resource,
} from "../envelope.ts";
import { GRPC_ROUTE } from "../grpc-route/schema.ts";
import { HTTP_ROUTE } from "../http-route/schema.ts";
import type { ParentRef } from "../http-route/spec.ts";
import { endpointLosses } from "../ownership/endpoint-owners.ts";
import { hostLosses, type HostRules } from "../ownership/host-owners.ts";
import { isKind } from "../kind.ts";
import { MESH, meshSettings } from "../mesh/schema.ts";
import { PEER_AUTHENTICATION } from "../peer-authentication/schema.ts";
import {
  findPort,
  isExternal,
  SERVICE,
  type ServiceResource,
} from "../service/schema.ts";
import { TELEMETRY } from "../telemetry/schema.ts";
import { TRAFFIC_POLICY } from "../traffic-policy/schema.ts";
import { WORKLOAD } from "../workload/schema.ts";

export interface Conflict {
  readonly loser: Resource;
  readonly winner: Resource;
  /** Reason of the `Conflicted` condition. */
  readonly reason:
    | "OlderResourceWins"
    | "GRPCRouteWins"
    | "HostTaken"
    | "AddressTaken";
  /** Path of the field of the loser that claims what the winner has. */
  readonly path: string;
  /** What both claim, for the `Conflicted` condition. */
  readonly message: string;
}

/** The oldest first, then by namespace and name. Without a timestamp a resource counts as the youngest. */
export function* oldestFirst<T extends Resource>(
  resources: readonly T[],
): Steps<T[]> {
  // Read once a resource, not once a comparison.
  const aged: Aged<T>[] = [];
  for (const resource of resources) {
    yield;
    aged.push({ resource, at: createdAt(resource), name: nameOf(resource) });
  }
  const sorted: T[] = [];
  for (const piece of pieces(yield* sortSteps(aged, byAge))) {
    yield;
    for (const { resource } of piece) sorted.push(resource);
  }
  return sorted;
}

interface Aged<T> {
  readonly resource: T;
  readonly at: number;
  readonly name: string;
}

function byAge(left: Aged<unknown>, right: Aged<unknown>): number {
  if (left.at !== right.at) return left.at - right.at;
  return left.name < right.name ? -1 : Number(left.name > right.name);
}

function nameOf({ metadata }: Resource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}

interface Claim {
  /** What is claimed, with the kind. */
  readonly key: string;
  readonly path: string;
  readonly what: string;
}

/**
 * Every loss: one for each target of a TrafficPolicy and for each scope of a PeerAuthentication or a Telemetry that an older one has.
 * A TrafficPolicy that loses one target keeps its others. An HTTPRoute loses each port that a GRPCRoute of its namespace has.
 * An external Service loses each host that another Service has, a Workload each address and port of another identity. Other kinds are additive or have an order of precedence.
 */
export function conflicts(resources: readonly Resource[]): Conflict[] {
  return atOnce(findConflicts(resources));
}

/** The same, with places to pause at. */
export function* findConflicts(
  resources: readonly Resource[],
): Steps<Conflict[]> {
  const claimants = yield* oldestFirst(
    yield* filterSteps(
      resources,
      (each) =>
        isKind(TRAFFIC_POLICY, each) ||
        isKind(PEER_AUTHENTICATION, each) ||
        isKind(TELEMETRY, each),
    ),
  );
  const winners = new Map<string, Resource>();
  const found: Conflict[] = [];
  for (const resource of claimants) {
    yield;
    for (const { key, path, what } of claimsOf(resource)) {
      const winner = winners.get(key);
      if (winner === undefined) winners.set(key, resource);
      else if (winner !== resource)
        found.push({
          loser: resource,
          winner,
          reason: "OlderResourceWins",
          path,
          message: `${what} has ${formatKey(keyOf(winner))} already, which is older and wins as a whole`,
        });
    }
  }
  const [mesh] = yield* filterSteps(resources, (each) => isKind(MESH, each));
  const settings = meshSettings(mesh?.spec);
  for (const losses of [
    yield* routeConflicts(resources),
    yield* hostConflicts(resources, settings, mesh),
    yield* addressConflicts(resources),
  ])
    for (const loss of losses) found.push(loss);
  return found;
}

/** Addresses of Workloads that another identity has: the same decision as in the sidecars. */
export function* addressConflicts(
  resources: readonly Resource[],
): Steps<Conflict[]> {
  const workloads = yield* filterSteps(resources, (each) =>
    isKind(WORKLOAD, each),
  );
  const losses = yield* addressLosses(yield* oldestFirst(workloads));
  const found: Conflict[] = [];
  for (const { loser, winner, place } of losses) {
    yield;
    found.push({
      loser,
      winner,
      reason: "AddressTaken",
      path: "spec.address",
      message: `${place} belongs to Workload ${nameOf(winner)} of ${accountOf(winner)}: calls to it stay there`,
    });
  }
  return found;
}

/** Hosts and fixed addresses of external Services that another resource has, or the Mesh gives to others: the same decision as in the sidecars. */
export function* hostConflicts(
  resources: readonly Resource[],
  settings: HostRules,
  mesh?: Resource,
): Steps<Conflict[]> {
  const unsorted = yield* filterSteps(resources, (each) =>
    isKind(SERVICE, each),
  );
  const external = yield* filterSteps(unsorted, ({ spec }) => isExternal(spec));
  if (external.length === 0) return [];
  const services = yield* oldestFirst(unsorted);
  const hosts = yield* hostLosses(services, settings);
  const endpoints = yield* endpointLosses(services, resources);
  return [
    ...hosts.map(({ loser, winner, index, message }): Conflict => ({
      loser,
      winner: winner ?? mesh ?? loser,
      reason: "HostTaken",
      path: `spec.hosts[${index}]`,
      message,
    })),
    ...endpoints.map(({ loser, winner, index, message }): Conflict => ({
      loser,
      winner,
      reason: "AddressTaken",
      path: `spec.endpoints[${index}]`,
      message,
    })),
  ];
}

/**
 * A Service's port takes one kind of route, GRPCRoute before HTTPRoute whatever their age (trap 9). Only routes of one namespace meet
 * there: those of a caller's namespace act instead of the Service's own, whatever their kind.
 */
function* routeConflicts(resources: readonly Resource[]): Steps<Conflict[]> {
  const grpcRoutes = yield* filterSteps(resources, (each) =>
    isKind(GRPC_ROUTE, each),
  );
  if (grpcRoutes.length === 0) return [];
  const services = new Map<string, ServiceResource>();
  for (const resource of resources) {
    yield;
    if (isKind(SERVICE, resource)) services.set(nameOf(resource), resource);
  }
  const taken = new Map<string, Resource>();
  for (const route of yield* oldestFirst(grpcRoutes)) {
    yield;
    for (const parent of route.spec.parentRefs)
      for (const place of placesOf(parent, route, services))
        if (!taken.has(place.key)) taken.set(place.key, route);
  }
  const found: Conflict[] = [];
  for (const loser of resources) {
    yield;
    if (isKind(HTTP_ROUTE, loser))
      for (const [index, parent] of loser.spec.parentRefs.entries())
        for (const { key, what } of placesOf(parent, loser, services)) {
          const winner = taken.get(key);
          if (winner !== undefined)
            found.push({
              loser,
              winner,
              reason: "GRPCRouteWins",
              path: `spec.parentRefs[${index}]`,
              message: `${what} has ${formatKey(keyOf(winner))}, and takes one kind of route: GRPCRoute before HTTPRoute`,
            });
        }
  }
  return found;
}

/** The ports that a parent binds, each with the namespace whose routes merge there. Without the Service only its own words can be compared. */
function placesOf(
  parent: ParentRef,
  route: Resource,
  services: ReadonlyMap<string, ServiceResource>,
): { readonly key: string; readonly what: string }[] {
  const namespace = route.metadata.namespace ?? "";
  const name = formatName(parent.namespace ?? namespace, parent.name);
  const service = services.get(name);
  const wanted = parent.port ?? parent.sectionName;
  const ports: readonly (string | number)[] =
    service === undefined
      ? [wanted ?? "*"]
      : wanted === undefined
        ? service.spec.ports.map(({ port }) => port)
        : [findPort(service.spec, wanted)?.port ?? wanted];
  return ports.map((port) => ({
    key: `${namespace} ${name} ${port}`,
    what: `Service ${name} port ${port}`,
  }));
}

/** What a TrafficPolicy, a PeerAuthentication or a Telemetry claims for itself alone: two that have none of it in common do not conflict. */
export function claimKeysOf(resource: Resource): readonly string[] {
  return claimsOf(resource).map(({ key }) => key);
}

function claimsOf(resource: Resource): Claim[] {
  const namespace = resource.metadata.namespace ?? "";
  if (isKind(TRAFFIC_POLICY, resource))
    return resource.spec.targetRefs.map(({ name, sectionName }, index) => ({
      key: `TrafficPolicy ${namespace}/${name}/${sectionName ?? ""}`,
      path: `spec.targetRefs[${index}]`,
      what: `Service ${namespace}/${name}${sectionName === undefined ? "" : ` port ${sectionName}`}`,
    }));
  if (isKind(PEER_AUTHENTICATION, resource) || isKind(TELEMETRY, resource)) {
    const { kind } = resource;
    const labels = resource.spec.selector?.matchLabels;
    if (labels === undefined)
      return [
        {
          key: `${kind} ${namespace}`,
          path: "spec",
          what: `namespace ${namespace}`,
        },
      ];
    const selector = Object.keys(labels)
      .sort()
      .map((label) => `${label}=${labels[label] ?? ""}`)
      .join(",");
    return [
      {
        key: `${kind} ${namespace} ${selector}`,
        path: "spec.selector",
        what: `selector ${selector} in namespace ${namespace}`,
      },
    ];
  }
  return [];
}
