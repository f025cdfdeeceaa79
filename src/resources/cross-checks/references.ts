/** Whether what a resource refers to can be: a missing Service may still come, a port that an existing one lacks may not be named. */
import { AUTHORIZATION_POLICY } from "../authorization-policy/schema.ts";
import type { AuthorizationPolicyResource } from "../authorization-policy/spec.ts";
import { formatName, type Resource, type ResourceKey } from "../envelope.ts";
import { FAULT_INJECTION } from "../fault-injection/schema.ts";
import type { FaultInjectionResource } from "../fault-injection/spec.ts";
import { GRPC_ROUTE } from "../grpc-route/schema.ts";
import type { GRPCRouteResource } from "../grpc-route/spec.ts";
import { HTTP_ROUTE } from "../http-route/schema.ts";
import type { HTTPRouteResource } from "../http-route/spec.ts";
import { isKind, type Problem } from "../kind.ts";
import { MESH, MESH_NAME } from "../mesh/schema.ts";
import type { Segment } from "../path.ts";
import { error, quote, warning } from "../problems.ts";
import { REQUEST_AUTHENTICATION } from "../request-authentication/schema.ts";
import type { RequestAuthenticationResource } from "../request-authentication/spec.ts";
import {
  appProtocolOf,
  findPort,
  isExportedTo,
  isExternal,
  SERVICE,
  speaksHttp,
  type ServicePort,
  type ServiceResource,
} from "../service/schema.ts";
import { TRAFFIC_POLICY } from "../traffic-policy/schema.ts";
import type { TrafficPolicyResource } from "../traffic-policy/settings.ts";
import { checkWildcardBackends } from "./wildcard-backends.ts";

export type Lookup = (key: ResourceKey) => Resource | undefined;

/** Errors and warnings about references of a validated resource. The order in which resources are applied does not matter. */
export function checkReferences(resource: Resource, lookup: Lookup): Problem[] {
  if (isKind(HTTP_ROUTE, resource) || isKind(GRPC_ROUTE, resource))
    return ofRoute(resource, lookup);
  if (isKind(TRAFFIC_POLICY, resource)) return ofPolicy(resource, lookup);
  if (isKind(FAULT_INJECTION, resource)) return ofFault(resource, lookup);
  if (isKind(AUTHORIZATION_POLICY, resource))
    return [
      ...ofTargets(resource, lookup),
      ...ofAuthorization(resource, lookup),
    ];
  if (isKind(REQUEST_AUTHENTICATION, resource))
    return ofTargets(resource, lookup);
  return [];
}

/** Sidecars stand before the workloads of the mesh's own Services, and no other can be guarded. */
function ofTargets(
  policy: AuthorizationPolicyResource | RequestAuthenticationResource,
  lookup: Lookup,
): Problem[] {
  return (policy.spec.targetRefs ?? []).flatMap((ref, index) => {
    const at = ["spec", "targetRefs", index];
    const service = find(ref, policy, lookup);
    if (service === undefined)
      return [
        missing(
          ref,
          policy,
          at,
          "until there is, the policy acts on nothing by this target, and refuses no call",
        ),
      ];
    if (isExternal(service.spec))
      return [
        error(
          [...at, "name"],
          `Service ${nameOf(service)} is external, and no sidecar stands before it: the policy would act on nothing`,
        ),
      ];
    return service.spec.selector === undefined
      ? [
          warning(
            [...at, "name"],
            `Service ${nameOf(service)} has no selector, so the policy acts on nothing by this target`,
          ),
        ]
      : [];
  });
}

/** A provider that is not there yet may still come: until then its requests are refused. */
function ofAuthorization(
  { spec: { provider } }: AuthorizationPolicyResource,
  lookup: Lookup,
): Problem[] {
  if (provider === undefined) return [];
  const mesh = lookup({ kind: MESH.kind, namespace: "", name: MESH_NAME });
  if (mesh === undefined || !isKind(MESH, mesh)) return [];
  const { providers = [] } = mesh.spec.authorization;
  return providers.some(({ name }) => name === provider.name)
    ? []
    : [
        warning(
          ["spec", "provider", "name"],
          `the Mesh has no provider ${quote(provider.name)} yet; until it has, every request that a rule matches is refused`,
        ),
      ];
}

type Path = readonly Segment[];

interface ServiceRef {
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly port?: number;
  readonly sectionName?: string;
}

type RouteResource = HTTPRouteResource | GRPCRouteResource;

function ofRoute(route: RouteResource, lookup: Lookup): Problem[] {
  const problems = [...referencesOf(route)].flatMap(([ref, at, consequence]) =>
    resolve(ref, route, ["spec", ...at], lookup, consequence),
  );
  return [
    ...problems,
    ...checkWildcardBackends(route, (ref) => find(ref, route, lookup)),
  ];
}

/** Each reference of a route, where it is in the spec, and what follows as long as there is no such Service. */
function* referencesOf({
  spec: { parentRefs, rules },
}: RouteResource): Generator<readonly [ServiceRef, Path, string]> {
  for (const [index, ref] of parentRefs.entries())
    yield [
      ref,
      ["parentRefs", index],
      "until there is, this parent has no effect",
    ];
  for (const [rule, { backendRefs, filters }] of rules.entries()) {
    for (const [index, { requestMirror }] of (filters ?? []).entries())
      if (requestMirror !== undefined)
        yield [
          requestMirror.backendRef,
          ["rules", rule, "filters", index, "requestMirror", "backendRef"],
          "until there is, nothing is copied",
        ];
    for (const [index, ref] of (backendRefs ?? []).entries())
      yield [
        ref,
        ["rules", rule, "backendRefs", index],
        "until there is, its share of the calls gets status 500",
      ];
  }
}

/** Faults are of requests: bytes have none. */
function ofFault(fault: FaultInjectionResource, lookup: Lookup): Problem[] {
  const problems = ofPolicy(fault, lookup);
  for (const [index, ref] of fault.spec.targetRefs.entries()) {
    const service = find(ref, fault, lookup);
    if (service === undefined) continue;
    const ports = portsOf(ref, service);
    if (lackHttp(ports))
      problems.push(
        error(
          ["spec", "targetRefs", index],
          `Service ${nameOf(service)} speaks ${protocolsOf(ports)}, where a FaultInjection cannot act`,
        ),
      );
  }
  return problems;
}

function ofPolicy(
  policy: TrafficPolicyResource | FaultInjectionResource,
  lookup: Lookup,
): Problem[] {
  return policy.spec.targetRefs.flatMap((ref, index) => {
    const at = ["spec", "targetRefs", index];
    const service = find(ref, policy, lookup);
    return service === undefined
      ? [missing(ref, policy, at, "until there is, this target has no effect")]
      : [...undeclared(ref, service, at), ...tlsWithin(policy, service, at)];
  });
}

/** Within the mesh the link has TLS of its own, with identities on both ends. */
function tlsWithin(
  policy: TrafficPolicyResource | FaultInjectionResource,
  service: ServiceResource,
  at: Path,
): Problem[] {
  return isKind(TRAFFIC_POLICY, policy) &&
    policy.spec.tls !== undefined &&
    !isExternal(service.spec)
    ? [
        error(
          at,
          `Service ${nameOf(service)} is in the mesh, where mutual TLS is between sidecars: tls is for a Service with location: MESH_EXTERNAL`,
        ),
      ]
    : [];
}

/** A reference of a route: the Service must be seen from the route's namespace and speak HTTP on that port. */
function resolve(
  ref: ServiceRef,
  route: RouteResource,
  at: Path,
  lookup: Lookup,
  consequence: string,
): Problem[] {
  const service = find(ref, route, lookup);
  if (service === undefined) return [missing(ref, route, at, consequence)];
  const problems = undeclared(ref, service, at);
  if (problems.length > 0) return problems;
  const from = route.metadata.namespace ?? "";
  const home = service.metadata.namespace ?? "";
  if (!isExportedTo(service.spec, home, from))
    problems.push(
      warning(
        [...at, "name"],
        `Service ${nameOf(service)} is not exported to namespace ${from} (exportTo)`,
      ),
    );
  const ports = portsOf(ref, service);
  if (lackHttp(ports))
    problems.push(
      error(
        at,
        `Service ${nameOf(service)} speaks ${protocolsOf(ports)}, where ${route.kind === GRPC_ROUTE.kind ? "a GRPCRoute" : "an HTTPRoute"} cannot act`,
      ),
    );
  else if (
    route.kind === GRPC_ROUTE.kind &&
    ports.some((port) => appProtocolOf(port) === "http")
  )
    problems.push(
      warning(
        at,
        `Service ${nameOf(service)} speaks ${protocolsOf(ports)}; gRPC needs HTTP/2: declare appProtocol grpc`,
      ),
    );
  return problems;
}

function find(
  ref: ServiceRef,
  from: Resource,
  lookup: Lookup,
): ServiceResource | undefined {
  const found = lookup({
    kind: SERVICE.kind,
    namespace: ref.namespace ?? from.metadata.namespace ?? "",
    name: ref.name,
  });
  return found !== undefined && isKind(SERVICE, found) ? found : undefined;
}

function missing(
  ref: ServiceRef,
  from: Resource,
  at: Path,
  consequence: string,
): Problem {
  const namespace = ref.namespace ?? from.metadata.namespace ?? "";
  return warning(
    [...at, "name"],
    `there is no Service ${formatName(namespace, ref.name)} yet; ${consequence}`,
  );
}

/** The port and the section that the Service does not have, or that are not the same port. */
function undeclared(
  ref: ServiceRef,
  service: ServiceResource,
  at: Path,
): Problem[] {
  const declared = service.spec.ports
    .map((port) =>
      port.name === undefined
        ? String(port.port)
        : `${port.name} (${port.port})`,
    )
    .join(", ");
  const problems: Problem[] = [];
  for (const field of ["port", "sectionName"] as const) {
    const wanted = ref[field];
    if (wanted !== undefined && findPort(service.spec, wanted) === undefined)
      problems.push(
        error(
          [...at, field],
          `Service ${nameOf(service)} has no port ${quote(wanted)}; it declares ${declared}`,
        ),
      );
  }
  if (
    problems.length === 0 &&
    ref.port !== undefined &&
    ref.sectionName !== undefined &&
    findPort(service.spec, ref.sectionName)?.port !== ref.port
  )
    problems.push(
      error(
        [...at, "sectionName"],
        `${quote(ref.sectionName)} is not the name of port ${ref.port} of Service ${nameOf(service)}; it declares ${declared}`,
      ),
    );
  return problems;
}

function lackHttp(ports: readonly ServicePort[]): boolean {
  return ports.length > 0 && !ports.some(speaksHttp);
}

/** "tcp on 5432, tls on 443" */
function protocolsOf(ports: readonly ServicePort[]): string {
  return ports
    .map((port) => `${appProtocolOf(port)} on ${port.port}`)
    .join(", ");
}

function portsOf(
  ref: ServiceRef,
  service: ServiceResource,
): readonly ServicePort[] {
  const wanted = ref.port ?? ref.sectionName;
  if (wanted === undefined) return service.spec.ports;
  const port = findPort(service.spec, wanted);
  return port === undefined ? [] : [port];
}

function nameOf(service: ServiceResource): string {
  return formatName(service.metadata.namespace ?? "", service.metadata.name);
}
