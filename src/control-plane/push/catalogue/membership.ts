/** Whether a resource is in a sidecar's scope, by what is indexed: a pure function of its certificate's binding and the mesh as it is. */
import { AUTHORIZATION_POLICY } from "../../../resources/authorization-policy/schema.ts";
import type { AuthorizationPolicyResource } from "../../../resources/authorization-policy/spec.ts";
import { selects, type Resource } from "../../../resources/envelope.ts";
import { FAULT_INJECTION } from "../../../resources/fault-injection/schema.ts";
import { isFaultCaller } from "../../../resources/fault-injection/spec.ts";
import { isKind, type KindDefinition } from "../../../resources/kind.ts";
import { MESH } from "../../../resources/mesh/schema.ts";
import {
  PEER_AUTHENTICATION,
  type PeerAuthenticationResource,
} from "../../../resources/peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "../../../resources/request-authentication/schema.ts";
import type { RequestAuthenticationResource } from "../../../resources/request-authentication/spec.ts";
import { isForWorkload, targetsOf } from "../../../resources/policy-targets.ts";
import {
  isExportedTo,
  SERVICE,
  type ServiceResource,
} from "../../../resources/service/schema.ts";
import { REVOCATION } from "../../../resources/revocation/schema.ts";
import { TELEMETRY } from "../../../resources/telemetry/schema.ts";
import type { TelemetryResource } from "../../../resources/telemetry/spec.ts";
import { TRAFFIC_POLICY } from "../../../resources/traffic-policy/schema.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import type { Item } from "./item.ts";
import type { MeshIndex } from "./mesh-index.ts";
import {
  isRoute,
  namespaceOf,
  pathOf,
  servicesBeside,
  servicesNamed,
} from "../../../resources/cross-checks/relations.ts";

/** Bound by the certificate (trap 16), never taken from what the sidecar says. */
export interface ScopeOf {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A Service of its own namespace it may serve itself, whomever it is exported to. */
export function sees(
  self: Pick<ScopeOf, "namespace">,
  service: ServiceResource,
): boolean {
  const namespace = namespaceOf(service);
  return (
    namespace === self.namespace ||
    isExportedTo(service.spec, namespace, self.namespace)
  );
}

/** Kinds that every sidecar has all of, whatever it asks for. */
export const FOR_ALL: readonly KindDefinition[] = [MESH, REVOCATION];

function isForAll(resource: Resource): boolean {
  return FOR_ALL.some((kind) => isKind(kind, resource));
}

/**
 * The resources that act on a workload of that namespace and labels, or on what it may call:
 * Mesh; what is revoked, for every peer may call; Services of its namespace or exported to it, and the Workloads that they select; routes of its own namespace (consumer),
 * and those beside a visible Service (producer); the TrafficPolicies of visible Services, and the faults in its calls to them; the security policies of its namespace
 * and of the root namespace that select it or nothing in particular, or name a Service that selects it.
 */
export function isInScope(
  self: ScopeOf,
  item: Item,
  resource: Resource,
  index: MeshIndex,
): boolean {
  const namespace = namespaceOf(resource);
  const visible = (path: string): boolean => {
    const service = index.service(path);
    return service !== undefined && sees(self, service);
  };
  const besideVisible = (): boolean => servicesBeside(resource).some(visible);
  if (isForAll(resource)) return true;
  if (isKind(SERVICE, resource)) return sees(self, resource);
  if (isKind(WORKLOAD, resource))
    return [...index.selection.servicesOf(item)].some(visible);
  if (isRoute(resource) || isKind(TRAFFIC_POLICY, resource))
    return namespace === self.namespace || besideVisible();
  if (isKind(FAULT_INJECTION, resource))
    return isFaultCaller(resource.spec, self) && besideVisible();
  if (actsAtWorkloads(resource)) return actsOn(self, resource, index);
  return false;
}

/** What a sidecar that asks for some things alone needs to know. */
export interface Needed {
  /** "NAMESPACE/NAME" of the Services that calls may lead to. */
  readonly services: ReadonlySet<string>;
  /** Those that the workload itself serves; empty where nothing of itself is asked for. */
  readonly served: ReadonlySet<string>;
  /** Whether what acts on the workload itself is asked for. */
  readonly self: boolean;
}

/** Whether the resource is in the scope of the sidecar and in what it needs of that. */
export function isNeeded(
  self: ScopeOf,
  needs: Needed,
  item: Item,
  resource: Resource,
  index: MeshIndex,
): boolean {
  const { services, served } = needs;
  const namespace = namespaceOf(resource);
  const called = (path: string): boolean => services.has(path);
  if (isForAll(resource)) return true;
  if (isKind(SERVICE, resource)) {
    const path = pathOf(resource);
    return services.has(path) || served.has(path);
  }
  if (isKind(WORKLOAD, resource))
    return [...index.selection.servicesOf(item)].some(called);
  if (isRoute(resource))
    return (
      namespace === self.namespace
        ? servicesNamed(resource)
        : servicesBeside(resource)
    ).some(called);
  if (isKind(TRAFFIC_POLICY, resource))
    return servicesBeside(resource).some(
      (path) => services.has(path) || served.has(path),
    );
  if (isKind(FAULT_INJECTION, resource))
    return (
      isFaultCaller(resource.spec, self) &&
      servicesBeside(resource).some(called)
    );
  if (actsAtWorkloads(resource))
    return needs.self && actsOn(self, resource, index);
  return false;
}

type WorkloadPolicy =
  | AuthorizationPolicyResource
  | PeerAuthenticationResource
  | RequestAuthenticationResource
  | TelemetryResource;

function actsAtWorkloads(resource: Resource): resource is WorkloadPolicy {
  return (
    isKind(AUTHORIZATION_POLICY, resource) ||
    isKind(PEER_AUTHENTICATION, resource) ||
    isKind(REQUEST_AUTHENTICATION, resource) ||
    isKind(TELEMETRY, resource)
  );
}

/** The sidecar itself finds out to which of its ports the Services lead. */
function actsOn(
  { namespace, labels }: ScopeOf,
  policy: WorkloadPolicy,
  index: MeshIndex,
): boolean {
  const services = new Set(
    targetsOf(policy)
      .flatMap((path) => index.service(path) ?? [])
      .filter(({ spec }) => selects(spec.selector ?? {}, labels))
      .map(({ metadata }) => metadata.name),
  );
  return isForWorkload(policy, { namespace, labels, services });
}
