/** What a resource says of other resources: pure functions of what is written in it. */
import { formatHostPort } from "../../core/text/host-port.ts";
import { comparableAddress } from "../../core/text/network.ts";
import { serviceHost } from "../../mesh/service-key.ts";
import { AUTHORIZATION_POLICY } from "../authorization-policy/schema.ts";
import type { Resource } from "../envelope.ts";
import { FAULT_INJECTION } from "../fault-injection/schema.ts";
import { GRPC_ROUTE } from "../grpc-route/schema.ts";
import type { GRPCRouteResource } from "../grpc-route/spec.ts";
import { HTTP_ROUTE } from "../http-route/schema.ts";
import type { HTTPRouteResource } from "../http-route/spec.ts";
import { isKind } from "../kind.ts";
import { placesOf } from "../ownership/address-owners.ts";
import { targetsOf } from "../policy-targets.ts";
import { REQUEST_AUTHENTICATION } from "../request-authentication/schema.ts";
import { isExternal, SERVICE } from "../service/schema.ts";
import { TRAFFIC_POLICY } from "../traffic-policy/schema.ts";
import { WORKLOAD } from "../workload/schema.ts";

export type RouteResource = HTTPRouteResource | GRPCRouteResource;

export function namespaceOf(resource: Resource): string {
  return resource.metadata.namespace ?? "";
}

/** "NAMESPACE/NAME" */
export function pathOf(resource: Resource): string {
  return `${namespaceOf(resource)}/${resource.metadata.name}`;
}

export function isRoute(resource: Resource): resource is RouteResource {
  return isKind(HTTP_ROUTE, resource) || isKind(GRPC_ROUTE, resource);
}

/** "NAMESPACE/NAME" of each Service that a route, a policy or a FaultInjection names as what it is for. */
export function servicesNamed(resource: Resource): readonly string[] {
  const namespace = namespaceOf(resource);
  if (isRoute(resource))
    return resource.spec.parentRefs.map(
      (parent) => `${parent.namespace ?? namespace}/${parent.name}`,
    );
  return isKind(TRAFFIC_POLICY, resource) ||
    isKind(FAULT_INJECTION, resource) ||
    isKind(AUTHORIZATION_POLICY, resource) ||
    isKind(REQUEST_AUTHENTICATION, resource)
    ? targetsOf(resource)
    : [];
}

/** "NAMESPACE/NAME" of each Service that the route sends requests, or copies of them, to. */
export function servicesLedTo(route: RouteResource): readonly string[] {
  const namespace = namespaceOf(route);
  return route.spec.rules
    .flatMap(({ backendRefs, filters }) => [
      ...(backendRefs ?? []),
      ...(filters ?? []).flatMap(({ requestMirror }) =>
        requestMirror === undefined ? [] : [requestMirror.backendRef],
      ),
    ])
    .map((ref) => `${ref.namespace ?? namespace}/${ref.name}`);
}

/** The hosts by which callers reach the Service from everywhere, but for those that end in the trust domain. */
export function hostsOf(resource: Resource): readonly string[] {
  if (!isKind(SERVICE, resource)) return [];
  const full = serviceHost(resource.metadata.name, namespaceOf(resource));
  return [full, `${full}.svc`, ...(resource.spec.hosts ?? [])];
}

/** "ADDRESS:PORT" of each fixed endpoint of an external Service. */
export function fixedPlacesOf(resource: Resource): readonly string[] {
  if (!isKind(SERVICE, resource) || !isExternal(resource.spec)) return [];
  const { resolution, endpoints = [], ports } = resource.spec;
  return resolution === "STATIC"
    ? endpoints.flatMap(({ address }) =>
        ports.map(({ port }) =>
          formatHostPort(comparableAddress(address), port),
        ),
      )
    : [];
}

/** "ADDRESS:PORT" of each port of the Workload, its sidecar's among them. */
export function workloadPlacesOf(resource: Resource): readonly string[] {
  return isKind(WORKLOAD, resource) ? placesOf(resource) : [];
}

/** Those of its own namespace: what is for a Service elsewhere concerns the callers of its own namespace alone. */
export function servicesBeside(resource: Resource): readonly string[] {
  const home = `${namespaceOf(resource)}/`;
  return servicesNamed(resource).filter((path) => path.startsWith(home));
}
