/** The sidecars that may hear of a change: found by the indexes as they were before it and as they are after it. */
import { AUTHORIZATION_POLICY } from "../../../resources/authorization-policy/schema.ts";
import { ROOT_NAMESPACE, type Resource } from "../../../resources/envelope.ts";
import { FAULT_INJECTION } from "../../../resources/fault-injection/schema.ts";
import { isKind } from "../../../resources/kind.ts";
import { MESH } from "../../../resources/mesh/schema.ts";
import { PEER_AUTHENTICATION } from "../../../resources/peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "../../../resources/request-authentication/schema.ts";
import {
  SERVICE,
  visibilityOf,
  type ServiceResource,
} from "../../../resources/service/schema.ts";
import { REVOCATION } from "../../../resources/revocation/schema.ts";
import { TELEMETRY } from "../../../resources/telemetry/schema.ts";
import { TRAFFIC_POLICY } from "../../../resources/traffic-policy/schema.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import type { Item } from "./item.ts";
import type { MeshIndex } from "./mesh-index.ts";
import {
  fixedPlacesOf,
  hostsOf,
  isRoute,
  namespaceOf,
  pathOf,
  servicesBeside,
  servicesNamed,
  workloadPlacesOf,
} from "../../../resources/cross-checks/relations.ts";
import { servicesLeadingTo, servicesSharing } from "./shared-endpoints.ts";

export class Impact {
  /** Whose place in somebody's set may be another now. */
  readonly touched: Set<Item> = new Set();
  /** Sidecars there that ask for everything hear of it. */
  readonly namespaces: Set<string> = new Set();
  /** All sidecars that ask for everything hear of it. */
  everybody = false;
  /** All sidecars do, whatever they ask for. */
  all = false;
  /** Sidecars there that ask for some things alone hear of it, for it may act on themselves. */
  readonly homes: Set<string> = new Set();
  /** "NAMESPACE/NAME" of Services: those that look for one of them hear of it. */
  readonly services: Set<string> = new Set();
  /** `keysOfQuestion` of the questions that may have another result now. */
  readonly questions: Set<string> = new Set();
  /** All questions may. */
  allQuestions = false;
  /** Which Services lead to which others may have changed. */
  structural = false;

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
    if (isKind(MESH, resource)) {
      this.all = true;
      // With another trust domain.
      this.allQuestions = true;
    } else if (isKind(REVOCATION, resource)) this.all = true;
    else if (isKind(SERVICE, resource)) this.#ofService(resource, other, index);
    else if (isKind(WORKLOAD, resource)) {
      this.#calledBy(index.selection.servicesOf(item), index);
      this.#ofPlaces(item, index);
    } else if (isRoute(resource) || isKind(TRAFFIC_POLICY, resource)) {
      this.namespaces.add(namespace);
      this.#calledBy(servicesBeside(resource), index);
      for (const path of servicesNamed(resource)) this.services.add(path);
      if (isRoute(resource)) this.structural = true;
      else this.homes.add(namespace);
    } else if (isKind(FAULT_INJECTION, resource))
      this.#calledBy(servicesBeside(resource), index);
    else if (
      isKind(AUTHORIZATION_POLICY, resource) ||
      isKind(PEER_AUTHENTICATION, resource) ||
      isKind(REQUEST_AUTHENTICATION, resource) ||
      isKind(TELEMETRY, resource)
    )
      if (namespace === ROOT_NAMESPACE) this.all = true;
      else {
        this.namespaces.add(namespace);
        this.homes.add(namespace);
      }
  }

  #ofService(
    service: ServiceResource,
    other: Resource | undefined,
    index: MeshIndex,
  ): void {
    const path = pathOf(service);
    this.structural = true;
    this.#seenBy(service);
    this.homes.add(namespaceOf(service));
    this.services.add(path);
    this.questions.add(service.metadata.name);
    for (const host of hostsOf(service)) {
      this.questions.add(host);
      // Another's host may be lost to it, or won.
      for (const { resource } of index.claimants(host))
        if (resource !== undefined) this.services.add(pathOf(resource));
    }
    for (const place of fixedPlacesOf(service)) {
      this.questions.add(place);
      for (const sharer of servicesLeadingTo(place, index))
        this.services.add(sharer);
    }
    const reaches = hasSameReach(service, other);
    if (reaches && hasSamePorts(service, other)) return;
    for (const item of index.selection.workloadsOf(path)) {
      this.#ofPlaces(item, index);
      if (!reaches) this.touched.add(item);
    }
    if (!reaches)
      for (const item of index.beside.get(path)) this.touched.add(item);
  }

  #seenBy(service: ServiceResource): void {
    const visibility = visibilityOf(service);
    this.namespaces.add(namespaceOf(service));
    if (visibility.includes("*")) this.everybody = true;
    else for (const namespace of visibility) this.namespaces.add(namespace);
  }

  #calledBy(paths: Iterable<string>, index: MeshIndex): void {
    for (const path of paths) {
      this.services.add(path);
      const service = index.service(path);
      if (service !== undefined) this.#seenBy(service);
    }
  }

  /** Where a Workload is, and what else leads there. */
  #ofPlaces(workload: Item, index: MeshIndex): void {
    const { resource } = workload;
    for (const place of resource === undefined
      ? []
      : workloadPlacesOf(resource))
      this.questions.add(place);
    const sharers = servicesSharing(workload, index);
    if (sharers.size < 2) return;
    this.structural = true;
    for (const path of sharers) this.services.add(path);
  }
}

function hasSamePorts(
  service: ServiceResource,
  other: Resource | undefined,
): boolean {
  return (
    other !== undefined &&
    isKind(SERVICE, other) &&
    JSON.stringify(service.spec.ports) === JSON.stringify(other.spec.ports)
  );
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
