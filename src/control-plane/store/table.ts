/** Resources in memory, in the order of listings: what the stores of this process read from. */
import type { Resource, ResourceKey } from "../../resources/envelope.ts";

/** By name. */
type Sorted = Resource[];

export class ResourceTable {
  /** By kind, then by namespace; that of a kind of the whole mesh is "". */
  readonly #kinds = new Map<string, Map<string, Sorted>>();

  get(key: ResourceKey): Resource | undefined {
    const there = this.#kinds.get(key.kind)?.get(key.namespace);
    if (there === undefined) return undefined;
    const found = there[placeOf(there, key.name)];
    return found?.metadata.name === key.name ? found : undefined;
  }

  put(key: ResourceKey, resource: Resource): void {
    const there = this.#namespace(key);
    const place = placeOf(there, key.name);
    const replaced = there[place]?.metadata.name === key.name ? 1 : 0;
    there.splice(place, replaced, resource);
  }

  remove(key: ResourceKey): void {
    const there = this.#namespace(key);
    const place = placeOf(there, key.name);
    if (there[place]?.metadata.name === key.name) there.splice(place, 1);
    if (there.length === 0) this.#kinds.get(key.kind)?.delete(key.namespace);
  }

  /** Sorted by namespace, then name; a list of the caller's own. */
  list(kind: string, namespace?: string): Resource[] {
    const ofKind = this.#kinds.get(kind);
    if (ofKind === undefined) return [];
    return namespace === undefined
      ? [...ofKind.keys()].sort().flatMap((each) => ofKind.get(each) ?? [])
      : [...(ofKind.get(namespace) ?? [])];
  }

  #namespace({ kind, namespace }: ResourceKey): Sorted {
    const ofKind = this.#kinds.get(kind) ?? new Map<string, Sorted>();
    const there = ofKind.get(namespace) ?? [];
    this.#kinds.set(kind, ofKind.set(namespace, there));
    return there;
  }
}

/** The index of the name, or where it would be put in. */
function placeOf(sorted: Sorted, name: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle]?.metadata.name ?? "") < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
