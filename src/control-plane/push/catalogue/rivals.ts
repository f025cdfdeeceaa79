/** What a resource shares with others and cannot have beside them: the verdicts of `resources/cross-checks/`, from a look at those others alone. */
import {
  claimKeysOf,
  conflicts,
  type Conflict,
} from "../../../resources/cross-checks/conflicts.ts";
import type {
  Inhabitants,
  Reach,
} from "../../../resources/cross-checks/reach.ts";
import {
  placesSharedBy,
  unreachableMatches,
  type Unreachable,
} from "../../../resources/cross-checks/unreachable.ts";
import type { Resource } from "../../../resources/envelope.ts";
import { GRPC_ROUTE } from "../../../resources/grpc-route/schema.ts";
import { HTTP_ROUTE } from "../../../resources/http-route/schema.ts";
import { isKind } from "../../../resources/kind.ts";
import { MESH, type MeshResource } from "../../../resources/mesh/schema.ts";
import { SERVICE } from "../../../resources/service/schema.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import type { Item } from "./item.ts";
import type { MeshIndex } from "./mesh-index.ts";
import {
  fixedPlacesOf,
  hostsOf,
  isRoute,
  namespaceOf,
  pathOf,
  servicesNamed,
  workloadPlacesOf,
} from "../../../resources/cross-checks/relations.ts";

/** Every conflict that the resource is in, as it is given, whether or not the index has it so. */
export function conflictsAround(
  resource: Resource,
  index: MeshIndex,
): readonly Conflict[] {
  const rivals = rivalsOf(resource, index);
  // An external Service may claim its own name.
  if (rivals.length === 0 && !isKind(SERVICE, resource)) return [];
  return conflicts(
    inOrder([
      ...settingsOfMesh(index),
      ...rivals,
      ...servicesBehind(resource, rivals, index),
      resource,
    ]),
  ).filter(({ loser, winner }) => loser === resource || winner === resource);
}

/** Matches of the route that no request reaches, for another takes all or the route itself. */
export function unreachableIn(
  resource: Resource,
  index: MeshIndex,
): readonly Unreachable[] {
  if (!isKind(HTTP_ROUTE, resource)) return [];
  const takers = others(
    resource,
    placesSharedBy(resource).flatMap((place) => [...index.taken.get(place)]),
  );
  return unreachableMatches([...takers, resource]).filter(
    ({ route }) => route === resource,
  );
}

/** The same, and matches of others that no request reaches because of this route. */
export function unreachableAround(
  resource: Resource,
  index: MeshIndex,
): readonly Unreachable[] {
  if (!isKind(HTTP_ROUTE, resource)) return [];
  const neighbours = others(
    resource,
    servicesNamed(resource).flatMap((path) => [...index.beside.get(path)]),
  )
    .filter((each) => isKind(HTTP_ROUTE, each))
    .filter((each) => namespaceOf(each) === namespaceOf(resource));
  const takers = others(
    resource,
    [resource, ...neighbours]
      .flatMap(placesSharedBy)
      .flatMap((place) => [...index.taken.get(place)]),
  );
  return unreachableMatches([
    ...new Set([...neighbours, ...takers]),
    resource,
  ]).filter(
    ({ route, taker }) => route === resource || taker.route === resource,
  );
}

/** What policies can act on, read from the index when it is asked. */
export function reachIn(index: MeshIndex): Reach {
  return {
    complete: true,
    trustDomains: index.trustDomains,
    namespaces: () => index.inhabitants.keys(),
    inhabitants: (namespace) => inhabitantsIn(index, namespace),
  };
}

function inhabitantsIn(
  index: MeshIndex,
  namespace: string,
): Inhabitants | undefined {
  const items = index.inhabitants.get(namespace);
  if (items.size === 0) return undefined;
  return {
    services: () =>
      resourcesOf(items).filter((resource) => isKind(SERVICE, resource)),
    workloads: (labels) =>
      resourcesOf(
        labels === undefined
          ? items
          : index.selection.workloadsWith(namespace, labels),
      ).filter((resource) => isKind(WORKLOAD, resource)),
  };
}

/** Those that claim something of what the resource claims. */
function rivalsOf(resource: Resource, index: MeshIndex): Resource[] {
  const items = [
    ...claimKeysOf(resource).flatMap((key) => [...index.claimed.get(key)]),
    ...routeRivals(resource, index),
    ...hostsOf(resource).flatMap((host) => [...index.claimants(host)]),
    ...fixedPlacesOf(resource).flatMap((place) => [
      ...index.fixed.get(place),
      ...index.places.get(place),
    ]),
    ...workloadPlacesOf(resource).flatMap((place) => [
      ...index.places.get(place),
      ...index.fixed.get(place),
    ]),
  ];
  return others(resource, items);
}

/** Routes of its namespace at its Services; two HTTPRoutes share them. */
function routeRivals(resource: Resource, index: MeshIndex): Item[] {
  if (!isRoute(resource)) return [];
  return servicesNamed(resource)
    .flatMap((path) => [...index.beside.get(path)])
    .filter(
      ({ resource: other }) =>
        other !== undefined &&
        isRoute(other) &&
        [other.kind, resource.kind].includes(GRPC_ROUTE.kind) &&
        namespaceOf(other) === namespaceOf(resource),
    );
}

/** The Services whose ports or selectors decide between the resource and its rivals. */
function servicesBehind(
  resource: Resource,
  rivals: readonly Resource[],
  index: MeshIndex,
): Resource[] {
  const paths = new Set<string>();
  if (isRoute(resource))
    for (const path of servicesNamed(resource)) paths.add(path);
  for (const each of [...rivals, resource]) {
    const item = index.items.get(`${WORKLOAD.kind}/${pathOf(each)}`);
    if (isKind(WORKLOAD, each) && item !== undefined)
      for (const path of index.selection.servicesOf(item)) paths.add(path);
  }
  const known = new Set([
    ...rivals.map(pathOfService),
    pathOfService(resource),
  ]);
  return [...paths]
    .filter((path) => !known.has(path))
    .flatMap((path) => index.service(path) ?? []);
}

function pathOfService(resource: Resource): string | undefined {
  return isKind(SERVICE, resource) ? pathOf(resource) : undefined;
}

/** Each once, and none that has the resource's name: its own stored version is not its rival. */
function others(resource: Resource, items: readonly Item[]): Resource[] {
  return resourcesOf(new Set(items)).filter(
    (each) => each.kind !== resource.kind || pathOf(each) !== pathOf(resource),
  );
}

/** As lists have them: of Workloads at one address the first is named. */
function inOrder(resources: Resource[]): Resource[] {
  const placeOf = ({ metadata: { namespace = "", name } }: Resource): string =>
    `${namespace}\0${name}`;
  return resources.sort((left, right) =>
    placeOf(left) < placeOf(right) ? -1 : 1,
  );
}

function resourcesOf(items: Iterable<Item>): Resource[] {
  return Array.from(items).flatMap(({ resource }) => resource ?? []);
}

function settingsOfMesh(index: MeshIndex): MeshResource[] {
  return resourcesOf(index.ofKind.get(MESH.kind)).filter((resource) =>
    isKind(MESH, resource),
  );
}
