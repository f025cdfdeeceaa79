/** Endpoints to which several Services lead, so that an address alone does not say which is meant: found when somebody asks, and kept until what leads there changes. */
import type { Resource } from "../../../resources/envelope.ts";
import type { Item } from "./item.ts";
import {
  fixedPlacesOf,
  pathOf,
  workloadPlacesOf,
} from "../../../resources/cross-checks/relations.ts";
import type { Selection } from "./selection.ts";

interface ByAddress {
  get(address: string): ReadonlySet<Item>;
}

export interface Endpoints {
  readonly selection: Selection;
  /** Workloads by "ADDRESS:PORT". */
  readonly places: ByAddress;
  /** External Services by "ADDRESS:PORT". */
  readonly fixed: ByAddress;
  service(path: string): Resource | undefined;
}

/** "ADDRESS:PORT", or a Workload that has no port. */
export type EndpointKey = string | Item;

/** Services are named by "NAMESPACE/NAME". A Service keeps where others lead too, not which they are: many may share one endpoint. */
export class SharedEndpoints {
  readonly #index: Endpoints;
  readonly #known = new Map<string, readonly EndpointKey[]>();

  constructor(index: Endpoints) {
    this.#index = index;
  }

  /** Those of the Service to which another one leads, too. */
  of(path: string): readonly EndpointKey[] {
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    const shared = [...new Set(endpointsOf(path, this.#index))].filter((key) =>
      this.#isShared(key, path),
    );
    this.#known.set(path, shared);
    return shared;
  }

  forget(path: string): void {
    this.#known.delete(path);
  }

  #isShared(key: EndpointKey, by: string): boolean {
    for (const path of servicesLeadingTo(key, this.#index))
      if (path !== by) return true;
    return false;
  }
}

/** Every Service that selects the Workload, or leads to one of its addresses otherwise. */
export function servicesSharing(
  workload: Item,
  index: Endpoints,
): ReadonlySet<string> {
  const found = new Set<string>();
  for (const key of endpointsAt(workload))
    for (const path of servicesLeadingTo(key, index)) found.add(path);
  return found;
}

/** Every Service that leads to the endpoint; one may come several times. */
export function* servicesLeadingTo(
  key: EndpointKey,
  { places, fixed, selection }: Endpoints,
): Generator<string> {
  if (typeof key !== "string") {
    yield* selection.servicesOf(key);
    return;
  }
  for (const workload of places.get(key)) yield* selection.servicesOf(workload);
  for (const { resource } of fixed.get(key))
    if (resource !== undefined) yield pathOf(resource);
}

function* endpointsOf(path: string, index: Endpoints): Generator<EndpointKey> {
  for (const workload of index.selection.workloadsOf(path))
    yield* endpointsAt(workload);
  const service = index.service(path);
  if (service !== undefined) yield* fixedPlacesOf(service);
}

/** The Workload itself stands for its addresses where it has none. */
function endpointsAt(workload: Item): readonly EndpointKey[] {
  const { resource } = workload;
  const places = resource === undefined ? [] : workloadPlacesOf(resource);
  return places.length > 0 ? places : [workload];
}
