/** The mesh as the store has it, for checks and lists of resources: each question costs what it concerns. */
import { resourceName } from "../../../push/names.ts";
import type { Conflict } from "../../../resources/cross-checks/conflicts.ts";
import type { Reach } from "../../../resources/cross-checks/reach.ts";
import type { Unreachable } from "../../../resources/cross-checks/unreachable.ts";
import type { Resource, ResourceKey } from "../../../resources/envelope.ts";
import { isKind, type KindDefinition } from "../../../resources/kind.ts";
import {
  MESH,
  MESH_NAME,
  meshSettings,
  type MeshSettings,
} from "../../../resources/mesh/schema.ts";
import {
  WORKLOAD,
  workloadSettings,
} from "../../../resources/workload/schema.ts";
import type { Store } from "../../store/store.ts";
import type { MeshIndex } from "./mesh-index.ts";
import {
  namespaceOf,
  pathOf,
} from "../../../resources/cross-checks/relations.ts";
import {
  conflictsAround,
  reachIn,
  unreachableAround,
  unreachableIn,
} from "./rivals.ts";

export interface MeshView {
  find(key: ResourceKey): Resource | undefined;
  /** All of a kind, or those of one namespace; sorted by namespace, then name. */
  list(kind: string, namespace?: string): readonly Resource[];
  /** The conflicts that the resource is in, as it is given. */
  conflictsAround(resource: Resource): readonly Conflict[];
  /** The matches of this route that no request reaches, as it is given. */
  unreachableIn(resource: Resource): readonly Unreachable[];
  /** These, and the matches of other routes that this one takes all requests from. */
  unreachableAround(resource: Resource): readonly Unreachable[];
  reach(): Reach;
  /** "NAMESPACE/NAME" of the Services that select the Workload of that path. */
  servicesOf(workload: string): Iterable<string>;
  /** "NAMESPACE/NAME" of the ready Workloads that the Service of that path selects. */
  endpointsOf(service: string): Iterable<string>;
}

export interface MeshSource {
  /** The mesh at the store's revision of now, or a later one. */
  current(): Promise<{ readonly mesh: MeshView; readonly revision: number }>;
}

/** It follows the index: what it says later is of then. */
export function viewOf(index: MeshIndex): MeshView {
  return {
    find: (key) => index.items.get(resourceName(key))?.resource,
    list: (kind, namespace) => listed(index, kind, namespace),
    conflictsAround: (resource) => conflictsAround(resource, index),
    unreachableIn: (resource) => unreachableIn(resource, index),
    unreachableAround: (resource) => unreachableAround(resource, index),
    reach: () => reachIn(index),
    servicesOf: (workload) => servicesOf(workload, index),
    endpointsOf: (service) => endpointsOf(service, index),
  };
}

function servicesOf(
  workload: string,
  { items, selection }: MeshIndex,
): Iterable<string> {
  const [namespace = "", name = ""] = workload.split("/");
  const item = items.get(
    resourceName({ kind: WORKLOAD.kind, namespace, name }),
  );
  return item === undefined ? [] : selection.servicesOf(item);
}

function* endpointsOf(
  service: string,
  { selection }: MeshIndex,
): Generator<string> {
  for (const { resource } of selection.workloadsOf(service))
    if (
      resource !== undefined &&
      isKind(WORKLOAD, resource) &&
      workloadSettings(resource.spec).ready &&
      resource.spec.unreadyPorts === undefined
    )
      yield pathOf(resource);
}

/** Undefined where the key is of another kind too. */
export function storedIn<S>(
  mesh: MeshView,
  definition: KindDefinition<S>,
  key: ResourceKey,
): Resource<S> | undefined {
  const found = key.kind === definition.kind ? mesh.find(key) : undefined;
  return found !== undefined && isKind(definition, found) ? found : undefined;
}

/** All of a kind. */
export function kinIn<S>(
  mesh: MeshView,
  definition: KindDefinition<S>,
): readonly Resource<S>[] {
  return mesh
    .list(definition.kind)
    .filter((each): each is Resource<S> => isKind(definition, each));
}

/** What the Mesh says, or its defaults. */
export function settingsIn(mesh: MeshView): MeshSettings {
  const key = { kind: MESH.kind, namespace: "", name: MESH_NAME };
  return meshSettings(storedIn(mesh, MESH, key)?.spec);
}

/** For a user of the store itself: nothing is read from the disk. */
export function storeOver(source: MeshSource): Pick<Store, "get" | "list"> {
  return {
    get: async (key) => (await source.current()).mesh.find(key),
    async list(kind, namespace) {
      const { mesh, revision } = await source.current();
      return { resources: mesh.list(kind, namespace), revision };
    },
  };
}

function listed(
  index: MeshIndex,
  kind: string,
  namespace: string | undefined,
): readonly Resource[] {
  return index
    .sorted(kind)
    .flatMap(({ resource }) =>
      resource === undefined ||
      (namespace !== undefined && namespaceOf(resource) !== namespace)
        ? []
        : resource,
    );
}
