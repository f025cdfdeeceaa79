/** Services whose callers, by an address alone, may be led to one another: found when somebody asks, and kept until what leads there changes. */
import type { Resource } from "../../../resources/envelope.ts";
import type { Item } from "./item.ts";
import { fixedPlacesOf, pathOf, workloadPlacesOf } from "./relations.ts";
import type { Selection } from "./selection.ts";

interface ByPlace {
  get(place: string): ReadonlySet<Item>;
}

export interface Places {
  readonly selection: Selection;
  /** Workloads by "ADDRESS:PORT". */
  readonly places: ByPlace;
  /** External Services by "ADDRESS:PORT". */
  readonly fixed: ByPlace;
  service(path: string): Resource | undefined;
}

/** Services are named by "NAMESPACE/NAME". */
export class Sharers {
  readonly #index: Places;
  readonly #known = new Map<string, readonly string[]>();

  constructor(index: Places) {
    this.#index = index;
  }

  /** Those that lead to a place to which the Service leads, too. */
  of(path: string): readonly string[] {
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    const found = new Set<string>();
    for (const workload of this.#index.selection.workloadsOf(path))
      for (const other of sharersAt(workload, this.#index)) found.add(other);
    const service = this.#index.service(path);
    for (const place of service === undefined ? [] : fixedPlacesOf(service))
      for (const other of servicesAt(place, this.#index)) found.add(other);
    found.delete(path);
    const sharers = [...found];
    this.#known.set(path, sharers);
    return sharers;
  }

  forget(path: string): void {
    this.#known.delete(path);
  }
}

/** Every Service that selects the Workload, or leads to one of its places otherwise. */
export function sharersAt(workload: Item, index: Places): Set<string> {
  const { resource } = workload;
  const found = new Set(index.selection.servicesOf(workload));
  for (const place of resource === undefined ? [] : workloadPlacesOf(resource))
    for (const path of servicesAt(place, index)) found.add(path);
  return found;
}

/** Every Service that leads to the place. */
export function* servicesAt(
  place: string,
  { places, fixed, selection }: Places,
): Generator<string> {
  for (const workload of places.get(place))
    yield* selection.servicesOf(workload);
  for (const { resource } of fixed.get(place))
    if (resource !== undefined) yield pathOf(resource);
}
