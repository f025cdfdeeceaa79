/** Takes the resources of a push apart by kind, as copies of its own, and says what cannot be used. */
import { parseTimestamp } from "../../core/clock.ts";
import { AUTHORIZATION_POLICY } from "../../resources/authorization-policy/schema.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import {
  formatKey,
  formatName,
  keyOf,
  type Resource,
} from "../../resources/envelope.ts";
import { FAULT_INJECTION } from "../../resources/fault-injection/schema.ts";
import type { FaultInjectionResource } from "../../resources/fault-injection/spec.ts";
import { GRPC_ROUTE } from "../../resources/grpc-route/schema.ts";
import type { GRPCRouteResource } from "../../resources/grpc-route/spec.ts";
import { HTTP_ROUTE } from "../../resources/http-route/schema.ts";
import type { HTTPRouteResource } from "../../resources/http-route/spec.ts";
import { isKind } from "../../resources/kind.ts";
import {
  MESH,
  MESH_NAME,
  type MeshResource,
} from "../../resources/mesh/schema.ts";
import {
  PEER_AUTHENTICATION,
  type PeerAuthenticationResource,
} from "../../resources/peer-authentication/schema.ts";
import {
  SERVICE,
  type ServiceResource,
} from "../../resources/service/schema.ts";
import { TRAFFIC_POLICY } from "../../resources/traffic-policy/schema.ts";
import type { TrafficPolicyResource } from "../../resources/traffic-policy/settings.ts";
import { validate } from "../../resources/validate.ts";
import {
  WORKLOAD,
  type WorkloadResource,
} from "../../resources/workload/schema.ts";

/** Each list with the oldest first: where two want the same thing it wins (traps 13 and 18). */
export interface Sorted {
  readonly mesh: MeshResource | undefined;
  readonly services: readonly ServiceResource[];
  readonly workloads: readonly WorkloadResource[];
  readonly routes: readonly HTTPRouteResource[];
  readonly grpcRoutes: readonly GRPCRouteResource[];
  readonly trafficPolicies: readonly TrafficPolicyResource[];
  readonly faults: readonly FaultInjectionResource[];
  readonly authorizationPolicies: readonly AuthorizationPolicyResource[];
  readonly peerAuthentications: readonly PeerAuthenticationResource[];
}

/** Adds to `problems` what stands in the way of using `resources` as a whole. `validated`: each by itself has been found good. */
export function sortResources(
  resources: readonly Resource[],
  validated: boolean,
  problems: string[],
): Sorted {
  const mesh: MeshResource[] = [];
  const services: ServiceResource[] = [];
  const workloads: WorkloadResource[] = [];
  const routes: HTTPRouteResource[] = [];
  const grpcRoutes: GRPCRouteResource[] = [];
  const trafficPolicies: TrafficPolicyResource[] = [];
  const faults: FaultInjectionResource[] = [];
  const authorizationPolicies: AuthorizationPolicyResource[] = [];
  const peerAuthentications: PeerAuthenticationResource[] = [];

  const seen = new Set<string>();
  // The caller may go on editing what it passed; a snapshot never changes.
  for (const given of structuredClone(resources)) {
    const key = formatKey(keyOf(given));
    if (seen.has(key)) problems.push(`${key}: stands there twice`);
    seen.add(key);
    const validation = validated
      ? ({ ok: true, resource: given } as const)
      : validate(given);
    if (!validation.ok) {
      for (const { path, message } of validation.problems)
        problems.push(`${key}: ${path === "" ? "" : `${path} `}${message}`);
      continue;
    }
    const { resource } = validation;
    if (isKind(MESH, resource)) mesh.push(resource);
    else if (isKind(SERVICE, resource)) services.push(resource);
    else if (isKind(WORKLOAD, resource)) workloads.push(resource);
    else if (isKind(HTTP_ROUTE, resource)) routes.push(resource);
    else if (isKind(GRPC_ROUTE, resource)) grpcRoutes.push(resource);
    else if (isKind(TRAFFIC_POLICY, resource)) trafficPolicies.push(resource);
    else if (isKind(FAULT_INJECTION, resource)) faults.push(resource);
    else if (isKind(AUTHORIZATION_POLICY, resource))
      authorizationPolicies.push(resource);
    else if (isKind(PEER_AUTHENTICATION, resource))
      peerAuthentications.push(resource);
    else problems.push(`${key}: no policy of this version acts on the kind`);
  }
  return {
    mesh: mesh.find((resource) => resource.metadata.name === MESH_NAME),
    services: services.sort(byAge),
    workloads: workloads.sort(byAge),
    routes: routes.sort(byAge),
    grpcRoutes: grpcRoutes.sort(byAge),
    trafficPolicies: trafficPolicies.sort(byAge),
    faults: faults.sort(byAge),
    authorizationPolicies: authorizationPolicies.sort(byAge),
    peerAuthentications: peerAuthentications.sort(byAge),
  };
}

/** Milliseconds since the epoch, by the store; without a time (resources from files) younger than all, so that names decide. */
export function createdAt(resource: Resource): number {
  const { creationTimestamp } = resource.metadata;
  const time =
    creationTimestamp === undefined
      ? Number.NaN
      : parseTimestamp(creationTimestamp);
  return Number.isNaN(time) ? Number.MAX_SAFE_INTEGER : time;
}

/** "NAMESPACE/NAME" */
export function nameOf(resource: Resource): string {
  const { namespace, name } = keyOf(resource);
  return formatName(namespace, name);
}

function byAge(left: Resource, right: Resource): number {
  return (
    createdAt(left) - createdAt(right) ||
    (nameOf(left) < nameOf(right) ? -1 : 1)
  );
}
