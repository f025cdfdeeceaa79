/** The mesh as it would be if a list of resources were written: what a check of several resources looks at. */
import {
  formatKey,
  keyOf,
  type Resource,
  type ResourceKey,
} from "../resources/envelope.ts";
import { isKind, type KindDefinition } from "../resources/kind.ts";
import {
  MESH,
  MESH_NAME,
  meshSettings,
  type MeshSettings,
} from "../resources/mesh/schema.ts";
import type { Store } from "./store/store.ts";

/** The resources of one kind. */
export interface Kin<S> {
  /** As they are stored: none of the list is among them. */
  readonly others: readonly Resource<S>[];
  /** As the store would have them: what exists keeps its age, and what is new has none yet, so it is the youngest (trap 18). */
  readonly written: readonly Written<S>[];
}

export interface Written<S> {
  /** In the list. */
  readonly index: number;
  readonly resource: Resource<S>;
}

export class Prospect {
  readonly #store: Pick<Store, "get" | "list">;
  readonly #listed = new Map<string, Written<unknown>>();
  readonly #stored = new Map<string, Resource | undefined>();

  constructor(
    store: Pick<Store, "get" | "list">,
    resources: readonly Resource[],
  ) {
    this.#store = store;
    for (const [index, resource] of resources.entries())
      this.#listed.set(formatKey(keyOf(resource)), { index, resource });
  }

  async get(key: ResourceKey): Promise<Resource | undefined> {
    const text = formatKey(key);
    const listed = this.#listed.get(text);
    if (listed !== undefined) return listed.resource;
    if (!this.#stored.has(text))
      this.#stored.set(text, await this.#store.get(key));
    return this.#stored.get(text);
  }

  /** Those of the list that are of the kind. */
  ofKind<S>(definition: KindDefinition<S>): Written<S>[] {
    return [...this.#listed.values()].filter((each): each is Written<S> =>
      isKind(definition, each.resource),
    );
  }

  /** All of the kind, or those of one namespace. */
  async kin<S>(
    definition: KindDefinition<S>,
    namespace?: string,
  ): Promise<Kin<S>> {
    const { resources } = await this.#store.list(definition.kind, namespace);
    const ages = new Map<number, string | undefined>();
    const others: Resource<S>[] = [];
    for (const stored of resources) {
      const listed = this.#listed.get(formatKey(keyOf(stored)));
      if (listed !== undefined)
        ages.set(listed.index, stored.metadata.creationTimestamp);
      else if (isKind(definition, stored)) others.push(stored);
    }
    const written = this.ofKind(definition)
      .filter(
        ({ resource }) =>
          namespace === undefined || resource.metadata.namespace === namespace,
      )
      .map(({ index, resource }) => ({
        index,
        resource: aged(resource, ages.get(index)),
      }));
    return { others, written };
  }
}

/** What the writer says of its age is not believed. */
export function aged<S>(
  resource: Resource<S>,
  creationTimestamp: string | undefined,
): Resource<S> {
  const { creationTimestamp: _stated, ...metadata } = resource.metadata;
  return {
    ...resource,
    metadata:
      creationTimestamp === undefined
        ? metadata
        : { ...metadata, creationTimestamp },
  };
}

export function resourcesOf<S>({ others, written }: Kin<S>): Resource<S>[] {
  return [...others, ...written.map(({ resource }) => resource)];
}

/** Where each is in the list. */
export function indexOf(
  written: readonly Written<unknown>[],
): ReadonlyMap<Resource, number> {
  return new Map(written.map(({ index, resource }) => [resource, index]));
}

/** What the Mesh says, or its defaults. */
export async function meshOnceWritten(
  prospect: Prospect,
): Promise<MeshSettings> {
  const key = { kind: MESH.kind, namespace: "", name: MESH_NAME };
  const found = await prospect.get(key);
  return meshSettings(
    found !== undefined && isKind(MESH, found) ? found.spec : undefined,
  );
}
