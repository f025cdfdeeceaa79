/** Who may hear of a change: found by the indexes as they were before it and as they are after it. */
import { AUTHORIZATION_POLICY } from "../../../resources/authorization-policy/schema.ts";
import { ROOT_NAMESPACE, type Resource } from "../../../resources/envelope.ts";
import { FAULT_INJECTION } from "../../../resources/fault-injection/schema.ts";
import { isKind } from "../../../resources/kind.ts";
import { MESH } from "../../../resources/mesh/schema.ts";
import { PEER_AUTHENTICATION } from "../../../resources/peer-authentication/schema.ts";
import {
  SERVICE,
  visibilityOf,
  type ServiceResource,
} from "../../../resources/service/schema.ts";
import { TRAFFIC_POLICY } from "../../../resources/traffic-policy/schema.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import type { Item } from "./item.ts";
import type { MeshIndex } from "./mesh-index.ts";
import { isRoute, namespaceOf, pathOf, servicesBeside } from "./relations.ts";

export class Impact {
  /** Whose place in somebody's set may be another now. */
  readonly touched: Set<Item> = new Set();
  /** Their sidecars hear of it. */
  readonly namespaces: Set<string> = new Set();
  everybody = false;

  /** Adds what the resource, as the indexes have it now, means to others. `other`: the version before or after it. */
  add(
    item: Item,
    resource: Resource | undefined,
    other: Resource | undefined,
    index: MeshIndex,
  ): void {
    if (resource === undefined) return;
    const namespace = namespaceOf(resource);
    this.touched.add(item);
    if (isKind(MESH, resource)) this.everybody = true;
    else if (isKind(SERVICE, resource)) {
      this.#seenBy(resource);
      if (!hasSameReach(resource, other)) this.#dependents(resource, index);
    } else if (isKind(WORKLOAD, resource))
      this.#calledBy(index.selection.servicesOf(item), index);
    else if (isRoute(resource) || isKind(TRAFFIC_POLICY, resource)) {
      this.namespaces.add(namespace);
      this.#calledBy(servicesBeside(resource), index);
    } else if (isKind(FAULT_INJECTION, resource))
      this.#calledBy(servicesBeside(resource), index);
    else if (
      isKind(AUTHORIZATION_POLICY, resource) ||
      isKind(PEER_AUTHENTICATION, resource)
    )
      if (namespace === ROOT_NAMESPACE) this.everybody = true;
      else this.namespaces.add(namespace);
  }

  #seenBy(service: ServiceResource): void {
    const visibility = visibilityOf(service);
    this.namespaces.add(namespaceOf(service));
    if (visibility.includes("*")) this.everybody = true;
    else for (const namespace of visibility) this.namespaces.add(namespace);
  }

  #calledBy(paths: Iterable<string>, index: MeshIndex): void {
    for (const path of paths) {
      const service = index.service(path);
      if (service !== undefined) this.#seenBy(service);
    }
  }

  /** What is in a scope because the Service is. */
  #dependents(service: ServiceResource, index: MeshIndex): void {
    const path = pathOf(service);
    for (const item of index.selection.workloadsOf(path))
      this.touched.add(item);
    for (const item of index.beside.get(path)) this.touched.add(item);
  }
}

/** The Service has the same callers and the same Workloads in both versions. */
function hasSameReach(
  service: ServiceResource,
  other: Resource | undefined,
): boolean {
  if (other === undefined || !isKind(SERVICE, other)) return false;
  return (
    JSON.stringify([service.spec.exportTo, service.spec.selector]) ===
    JSON.stringify([other.spec.exportTo, other.spec.selector])
  );
}
