/** How the resources of the mesh hang together, kept in step with each change: asked in place of a look at all of them. */
import { isWildcard, wildcardsOver } from "../../../core/text/wildcards.ts";
import { Multimap } from "../../../core/multimap.ts";
import { AUTHORIZATION_POLICY } from "../../../resources/authorization-policy/schema.ts";
import { claimKeysOf } from "../../../resources/cross-checks/conflicts.ts";
import { placesTakenBy } from "../../../resources/cross-checks/unreachable.ts";
import type { Resource } from "../../../resources/envelope.ts";
import { FAULT_INJECTION } from "../../../resources/fault-injection/schema.ts";
import { HTTP_ROUTE } from "../../../resources/http-route/schema.ts";
import { isKind } from "../../../resources/kind.ts";
import {
  MESH,
  meshSettings,
  trustDomainsOf,
  type MeshSettings,
} from "../../../resources/mesh/schema.ts";
import { PEER_AUTHENTICATION } from "../../../resources/peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "../../../resources/request-authentication/schema.ts";
import {
  isExternal,
  SERVICE,
  type ServiceResource,
} from "../../../resources/service/schema.ts";
import { TELEMETRY } from "../../../resources/telemetry/schema.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import type { Item } from "./item.ts";
import {
  fixedPlacesOf,
  hostsOf,
  namespaceOf,
  pathOf,
  servicesNamed,
  workloadPlacesOf,
} from "../../../resources/cross-checks/relations.ts";
import { Selection } from "./selection.ts";
import { SharedEndpoints } from "./shared-endpoints.ts";
import { SortedItems } from "./sorted-items.ts";

/** Items by keys that follow from what is written in them. */
class Keyed {
  readonly #keysOf: (resource: Resource) => readonly string[];
  readonly #items = new Multimap<string, Item>();

  constructor(keysOf: (resource: Resource) => readonly string[]) {
    this.#keysOf = keysOf;
  }

  get(key: string): ReadonlySet<Item> {
    return this.#items.get(key);
  }

  keys(): Iterable<string> {
    return this.#items.keys();
  }

  change(
    item: Item,
    before: Resource | undefined,
    after: Resource | undefined,
  ): void {
    if (before !== undefined)
      for (const key of this.#keysOf(before)) this.#items.delete(key, item);
    if (after !== undefined)
      for (const key of this.#keysOf(after)) this.#items.add(key, item);
  }
}

/** Services are named by "NAMESPACE/NAME" here, whether or not they exist. */
export class MeshIndex {
  readonly selection: Selection = new Selection();
  readonly #items = new Map<string, Item>();
  readonly #sorted = new Map<string, SortedItems>();
  /** By kind. */
  readonly ofKind: Keyed = new Keyed(({ kind }) => [kind]);
  /** Routes, policies and FaultInjections of every namespace, by the Services that they name. */
  readonly beside: Keyed = new Keyed(servicesNamed);
  /** AuthorizationPolicies, PeerAuthentications, RequestAuthentications and Telemetries by namespace. */
  readonly security: Keyed = new Keyed((resource) =>
    isKind(AUTHORIZATION_POLICY, resource) ||
    isKind(PEER_AUTHENTICATION, resource) ||
    isKind(REQUEST_AUTHENTICATION, resource) ||
    isKind(TELEMETRY, resource)
      ? [namespaceOf(resource)]
      : [],
  );
  /** TrafficPolicies and PeerAuthentications by what one alone can have. */
  readonly claimed: Keyed = new Keyed(claimKeysOf);
  /** HTTPRoutes by the places where they take every path. */
  readonly taken: Keyed = new Keyed((resource) =>
    isKind(HTTP_ROUTE, resource) ? placesTakenBy(resource) : [],
  );
  /** Services by `hostsOf`. */
  readonly hosts: Keyed = new Keyed(hostsOf);
  /** External Services by the wildcards that take one of their hosts in. */
  readonly below: Keyed = new Keyed((resource) =>
    isKind(SERVICE, resource)
      ? [...new Set((resource.spec.hosts ?? []).flatMap(wildcardsOver))]
      : [],
  );
  /** External Services by "ADDRESS:PORT". */
  readonly fixed: Keyed = new Keyed(fixedPlacesOf);
  /** Workloads by "ADDRESS:PORT". */
  readonly places: Keyed = new Keyed(workloadPlacesOf);
  /** Workloads, and Services of the mesh itself, by namespace. */
  readonly inhabitants: Keyed = new Keyed((resource) =>
    isKind(WORKLOAD, resource) ||
    (isKind(SERVICE, resource) && !isExternal(resource.spec))
      ? [namespaceOf(resource)]
      : [],
  );
  readonly shared: SharedEndpoints = new SharedEndpoints(this);
  readonly #keyed = [
    this.ofKind,
    this.beside,
    this.security,
    this.claimed,
    this.taken,
    this.hosts,
    this.below,
    this.fixed,
    this.places,
    this.inhabitants,
  ];

  /** Services that claim the host, or something that takes it in, or that it takes in. */
  *claimants(host: string): Generator<Item> {
    yield* this.hosts.get(host);
    for (const wildcard of wildcardsOver(host)) yield* this.hosts.get(wildcard);
    if (isWildcard(host)) yield* this.below.get(host);
  }

  get items(): ReadonlyMap<string, Item> {
    return this.#items;
  }

  service(path: string): ServiceResource | undefined {
    const found = this.#items.get(`${SERVICE.kind}/${path}`)?.resource;
    return found !== undefined && isKind(SERVICE, found) ? found : undefined;
  }

  get trustDomain(): string {
    return this.#settings.trustDomain;
  }

  /** The mesh's own and its aliases. */
  get trustDomains(): readonly string[] {
    return trustDomainsOf(this.#settings);
  }

  get #settings(): MeshSettings {
    for (const { resource } of this.ofKind.get(MESH.kind))
      if (resource !== undefined && isKind(MESH, resource))
        return meshSettings(resource.spec);
    return meshSettings(undefined);
  }

  get faults(): ReadonlySet<Item> {
    return this.ofKind.get(FAULT_INJECTION.kind);
  }

  /** All of a kind by namespace, then name. */
  sorted(kind: string): readonly Item[] {
    return this.#sorted.get(kind)?.list() ?? [];
  }

  /** The item has its new version, `after`; `before` is the one that it had. Undefined: there is none. */
  change(
    item: Item,
    before: Resource | undefined,
    after: Resource | undefined,
  ): void {
    if (after === undefined) this.#items.delete(item.name);
    else this.#items.set(item.name, item);
    if (after !== undefined && before === undefined) this.#sort(item, after);
    this.#select(item, before, after);
    for (const keyed of this.#keyed) keyed.change(item, before, after);
  }

  #sort(item: Item, { kind, metadata }: Resource): void {
    const ofKind = this.#sorted.get(kind) ?? new SortedItems();
    this.#sorted.set(kind, ofKind);
    ofKind.add(metadata.namespace ?? "", metadata.name, item);
  }

  #select(
    item: Item,
    before: Resource | undefined,
    after: Resource | undefined,
  ): void {
    if (after !== undefined) {
      if (isKind(SERVICE, after)) this.selection.putService(after);
      if (isKind(WORKLOAD, after))
        this.selection.putWorkload(item, before, after);
    } else if (before !== undefined) {
      if (isKind(SERVICE, before)) this.selection.removeService(pathOf(before));
      if (isKind(WORKLOAD, before)) this.selection.removeWorkload(item, before);
    }
  }
}
