/** What one sidecar needs to know of the mesh, found by a look at all of it: what the indexes of the control plane must come to. */
import { AUTHORIZATION_POLICY } from "../../../src/resources/authorization-policy/schema.ts";
import {
  ROOT_NAMESPACE,
  selects,
  type Resource,
} from "../../../src/resources/envelope.ts";
import { FAULT_INJECTION } from "../../../src/resources/fault-injection/schema.ts";
import { isFaultCaller } from "../../../src/resources/fault-injection/spec.ts";
import { GRPC_ROUTE } from "../../../src/resources/grpc-route/schema.ts";
import { HTTP_ROUTE } from "../../../src/resources/http-route/schema.ts";
import { isKind } from "../../../src/resources/kind.ts";
import { MESH } from "../../../src/resources/mesh/schema.ts";
import { PEER_AUTHENTICATION } from "../../../src/resources/peer-authentication/schema.ts";
import { REVOCATION } from "../../../src/resources/revocation/schema.ts";
import type { Selector } from "../../../src/resources/schema-parts.ts";
import {
  isExportedTo,
  SERVICE,
  type ServiceResource,
} from "../../../src/resources/service/schema.ts";
import { TELEMETRY } from "../../../src/resources/telemetry/schema.ts";
import { TRAFFIC_POLICY } from "../../../src/resources/traffic-policy/schema.ts";
import { WORKLOAD } from "../../../src/resources/workload/schema.ts";

/** Bound by the certificate (trap 16), never taken from what the sidecar says. */
export interface ScopeOf {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * The resources that act on a workload of that namespace and labels, or on what it may call:
 * Mesh; what is revoked; Services of its namespace or exported to it, and the Workloads that they select; routes of its own namespace (consumer),
 * and those beside a visible Service (producer); the TrafficPolicies of visible Services, and the faults in its calls to them; the security policies of its namespace
 * and of the root namespace that select it or select nothing in particular.
 */
export function scope(
  self: ScopeOf,
  resources: Iterable<Resource>,
): Resource[] {
  const all = [...resources];
  const visible = visibleServices(self, all);
  return all.filter((resource) => isInScope(self, resource, visible));
}

/** Selectors of the Services that the workload sees, by "NAMESPACE/NAME" and by namespace. */
interface Visible {
  /** Those that select the workload itself. */
  readonly serving: ReadonlySet<string>;
  readonly names: ReadonlySet<string>;
  readonly selectors: ReadonlyMap<
    string,
    readonly Readonly<Record<string, string>>[]
  >;
}

function visibleServices(
  self: ScopeOf,
  resources: readonly Resource[],
): Visible {
  const names = new Set<string>();
  const serving = new Set<string>();
  const selectors = new Map<string, Readonly<Record<string, string>>[]>();
  for (const resource of resources) {
    if (!isKind(SERVICE, resource) || !sees(self, resource)) continue;
    const namespace = namespaceOf(resource);
    names.add(`${namespace}/${resource.metadata.name}`);
    if (resource.spec.selector === undefined) continue;
    if (
      namespace === self.namespace &&
      selects(resource.spec.selector, self.labels)
    )
      serving.add(`${namespace}/${resource.metadata.name}`);
    const inNamespace = selectors.get(namespace) ?? [];
    selectors.set(namespace, inNamespace);
    inNamespace.push(resource.spec.selector);
  }
  return { names, serving, selectors };
}

/** A Service of its own namespace it may serve itself, whomever it is exported to. */
function sees(self: ScopeOf, service: ServiceResource): boolean {
  const namespace = namespaceOf(service);
  return (
    namespace === self.namespace ||
    isExportedTo(service.spec, namespace, self.namespace)
  );
}

function isInScope(
  self: ScopeOf,
  resource: Resource,
  visible: Visible,
): boolean {
  const namespace = namespaceOf(resource);
  const besideVisible = (names: readonly string[]): boolean =>
    names.some((name) => visible.names.has(`${namespace}/${name}`));
  if (isKind(MESH, resource) || isKind(REVOCATION, resource)) return true;
  if (isKind(SERVICE, resource))
    return visible.names.has(`${namespace}/${resource.metadata.name}`);
  if (isKind(WORKLOAD, resource))
    return (visible.selectors.get(namespace) ?? []).some((selector) =>
      selects(selector, resource.metadata.labels),
    );
  if (isKind(HTTP_ROUTE, resource) || isKind(GRPC_ROUTE, resource))
    return (
      namespace === self.namespace ||
      besideVisible(
        resource.spec.parentRefs
          .filter((parent) => (parent.namespace ?? namespace) === namespace)
          .map((parent) => parent.name),
      )
    );
  if (isKind(FAULT_INJECTION, resource))
    return (
      isFaultCaller(resource.spec, self) &&
      besideVisible(resource.spec.targetRefs.map((target) => target.name))
    );
  if (isKind(TRAFFIC_POLICY, resource))
    return (
      namespace === self.namespace ||
      besideVisible(resource.spec.targetRefs.map((target) => target.name))
    );
  if (
    isKind(AUTHORIZATION_POLICY, resource) &&
    resource.spec.targetRefs !== undefined
  )
    return resource.spec.targetRefs.some(({ name }) =>
      visible.serving.has(`${namespace}/${name}`),
    );
  if (
    isKind(AUTHORIZATION_POLICY, resource) ||
    isKind(PEER_AUTHENTICATION, resource) ||
    isKind(TELEMETRY, resource)
  )
    return actsOn(self, namespace, resource.spec.selector);
  return false;
}

function actsOn(
  self: ScopeOf,
  namespace: string,
  selector: Selector | undefined,
): boolean {
  return (
    (namespace === self.namespace || namespace === ROOT_NAMESPACE) &&
    (selector === undefined || selects(selector.matchLabels, self.labels))
  );
}

function namespaceOf(resource: Resource): string {
  return resource.metadata.namespace ?? "";
}
