/** How the resources of the mesh hang together, kept in step with each change: asked in place of a look at all of them. */
import { Multimap } from "../../../core/multimap.ts";
import { AUTHORIZATION_POLICY } from "../../../resources/authorization-policy/schema.ts";
import type { Resource } from "../../../resources/envelope.ts";
import { FAULT_INJECTION } from "../../../resources/fault-injection/schema.ts";
import { isKind } from "../../../resources/kind.ts";
import { PEER_AUTHENTICATION } from "../../../resources/peer-authentication/schema.ts";
import {
  SERVICE,
  type ServiceResource,
} from "../../../resources/service/schema.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import type { Item } from "./item.ts";
import { namespaceOf, pathOf, servicesNamed } from "./relations.ts";
import { Selection } from "./selection.ts";

/** Services are named by "NAMESPACE/NAME" here, whether or not they exist. */
export class MeshIndex {
  readonly selection: Selection = new Selection();
  readonly #items = new Map<string, Item>();
  readonly #beside = new Multimap<string, Item>();
  readonly #security = new Multimap<string, Item>();
  readonly #faults = new Set<Item>();

  get items(): ReadonlyMap<string, Item> {
    return this.#items;
  }

  service(path: string): ServiceResource | undefined {
    const found = this.#items.get(`${SERVICE.kind}/${path}`)?.resource;
    return found !== undefined && isKind(SERVICE, found) ? found : undefined;
  }

  /** The routes, TrafficPolicies and FaultInjections that name the Service, of every namespace. */
  beside(path: string): ReadonlySet<Item> {
    return this.#beside.get(path);
  }

  /** AuthorizationPolicies and PeerAuthentications of the namespace. */
  security(namespace: string): ReadonlySet<Item> {
    return this.#security.get(namespace);
  }

  get faults(): ReadonlySet<Item> {
    return this.#faults;
  }

  /** The item has its new version, `after`; `before` is the one that it had. Undefined: there is none. */
  change(
    item: Item,
    before: Resource | undefined,
    after: Resource | undefined,
  ): void {
    if (after === undefined) this.#items.delete(item.name);
    else this.#items.set(item.name, item);
    this.#select(item, before, after);
    if (before !== undefined) this.#unlink(item, before);
    if (after !== undefined) this.#link(item, after);
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

  #link(item: Item, resource: Resource): void {
    for (const path of servicesNamed(resource)) this.#beside.add(path, item);
    if (isSecurity(resource)) this.#security.add(namespaceOf(resource), item);
    if (isKind(FAULT_INJECTION, resource)) this.#faults.add(item);
  }

  #unlink(item: Item, resource: Resource): void {
    for (const path of servicesNamed(resource)) this.#beside.delete(path, item);
    if (isSecurity(resource))
      this.#security.delete(namespaceOf(resource), item);
    if (isKind(FAULT_INJECTION, resource)) this.#faults.delete(item);
  }
}

function isSecurity(resource: Resource): boolean {
  return (
    isKind(AUTHORIZATION_POLICY, resource) ||
    isKind(PEER_AUTHENTICATION, resource)
  );
}
