/** A mesh of so many Services with a route each and ten times as many Workloads; some of them have endpoints that answer. */
import type { Resource } from "../../src/resources/envelope.ts";
import { PORTS, TRUST_DOMAIN, WORKLOADS_A_SERVICE } from "./layout.ts";

const OWN = "mesh.wherry.dev/v1alpha1";
const SERVICES_A_NAMESPACE = 20;
const MOST_USED = 10;
/** Of what nobody calls. */
const SILENT_PORT = 8080;
/** Services with endpoints that answer, beside each that is used. */
const FRESH_BESIDE_USED = 4;

/** Which Services of the mesh are what, by index. */
export interface Shape {
  readonly services: number;
  /** The measured sidecar calls them all the time. The first has one Workload that moves. */
  readonly used: readonly number[];
  /** They could be called, and are not until a first call is measured. */
  readonly fresh: readonly number[];
}

export function shapeOf(services: number): Shape {
  const used = Math.max(1, Math.min(MOST_USED, Math.floor(services / 2)));
  const stride = Math.floor(services / used);
  const beside = Math.min(FRESH_BESIDE_USED, stride - 1);
  const starts = Array.from({ length: used }, (_, index) => index * stride);
  return {
    services,
    used: starts,
    fresh: starts.flatMap((start) =>
      Array.from({ length: beside }, (_, index) => start + 1 + index),
    ),
  };
}

/** The Services that a sidecar of the fleet uses: the first, as all of them do, and nine that are spread over the mesh. */
export function usedBy(
  { services, used }: Shape,
  index: number,
): readonly number[] {
  const [first = 0] = used;
  const count = Math.min(MOST_USED, services);
  const uses = new Set([first]);
  for (let next = index * (MOST_USED - 1); uses.size < count; next += 1)
    uses.add(next % services);
  return [...uses];
}

/** Nobody calls them; in a small mesh, those that somebody could. */
export function unusedOf({ services, used, fresh }: Shape): readonly number[] {
  const known = new Set([...used, ...fresh]);
  const others = Array.from(
    { length: services },
    (_, service) => service,
  ).filter((service) => !known.has(service));
  return others.length > 0 ? others : fresh;
}

export function namespaceOf(service: number): string {
  return `team-${Math.floor(service / SERVICES_A_NAMESPACE)}`;
}

export function nameOf(service: number): string {
  return `service-${service}`;
}

/** As callers say it. */
export function hostOf(service: number): string {
  return `${nameOf(service)}.${namespaceOf(service)}`;
}

/** What may differ from one version of the mesh to the next. */
export interface Variant {
  /** In a response header that the route sets. */
  readonly generation?: string;
  readonly weight?: number;
  readonly ready?: boolean;
  readonly port?: number;
  /** Of a TrafficPolicy: consecutive errors until an endpoint is ejected. */
  readonly errors?: number;
}

/** All of the mesh, but its Mesh. */
export function* resourcesOf(shape: Shape): Generator<Resource> {
  for (let service = 0; service < shape.services; service += 1)
    yield* bundleOf(shape, service);
}

/** A Service with what belongs to it. */
export function* bundleOf(
  shape: Shape,
  service: number,
  variant: Variant = {},
): Generator<Resource> {
  yield serviceOf(service);
  yield routeOf(service, variant);
  for (let index = 0; index < workloadsOf(shape, service); index += 1)
    yield workloadOf(shape, service, index, variant);
}

export function workloadsOf({ used }: Shape, service: number): number {
  return service === used[0] ? 1 : WORKLOADS_A_SERVICE;
}

function serviceOf(service: number): Resource {
  return resource(OWN, "Service", service, nameOf(service), {
    ports: [{ name: "http", port: 80, targetPort: 8080, appProtocol: "http" }],
    selector: { app: nameOf(service) },
  });
}

export function routeOf(
  service: number,
  { generation = "0" }: Variant = {},
): Resource {
  const set = [{ name: "x-generation", value: generation }];
  return resource(
    "gateway.networking.k8s.io/v1",
    "HTTPRoute",
    service,
    nameOf(service),
    {
      parentRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: nameOf(service) },
      ],
      rules: [
        {
          matches: [{ path: { type: "PathPrefix", value: "/" } }],
          filters: [
            { type: "ResponseHeaderModifier", responseHeaderModifier: { set } },
          ],
          backendRefs: [{ name: nameOf(service), port: 80 }],
          timeouts: { request: "10s" },
        },
      ],
    },
  );
}

export function policyOf(
  service: number,
  { errors = 5 }: Variant = {},
): Resource {
  return resource(OWN, "TrafficPolicy", service, nameOf(service), {
    targetRefs: [{ kind: "Service", name: nameOf(service) }],
    outlierDetection: { consecutive5xxErrors: errors },
  });
}

export function workloadOf(
  shape: Shape,
  service: number,
  index: number,
  { weight = 1, ready = true, port = PORTS.application }: Variant = {},
): Resource {
  const name = `${nameOf(service)}-${index}`;
  const answering = answeringAddress(shape, service, index);
  return resource(
    OWN,
    "Workload",
    service,
    name,
    {
      ...(answering === undefined
        ? {
            address: silentAddress(service, index),
            ports: { http: SILENT_PORT },
            link: { port: 15_008 },
          }
        : { address: answering, ports: { http: port } }),
      serviceAccount: nameOf(service),
      weight,
      ready,
    },
    { app: nameOf(service) },
  );
}

/** The same, for a proxy that knows no Workloads. */
export function endpointsOf(
  shape: Shape,
  service: number,
  { weight = 1, port = PORTS.application }: Variant,
): {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
}[] {
  return Array.from({ length: workloadsOf(shape, service) }, (_, index) => {
    const answering = answeringAddress(shape, service, index);
    return answering === undefined
      ? { address: silentAddress(service, index), port: SILENT_PORT, weight }
      : { address: answering, port, weight };
  });
}

/** Undefined for an endpoint behind which there is nothing. */
export function answeringAddress(
  { used, fresh }: Shape,
  service: number,
  index: number,
): string | undefined {
  const place = [...used, ...fresh].indexOf(service);
  return place < 0 ? undefined : `127.1.${place}.${index + 1}`;
}

function silentAddress(service: number, index: number): string {
  const number = service * WORKLOADS_A_SERVICE + index;
  return `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
}

function resource(
  apiVersion: string,
  kind: string,
  service: number,
  name: string,
  spec: unknown,
  labels?: Readonly<Record<string, string>>,
): Resource {
  const metadata = {
    name,
    namespace: namespaceOf(service),
    ...(labels === undefined ? {} : { labels }),
  };
  return { apiVersion, kind, metadata, spec };
}

/** Calls are allowed without a policy that says so, and nothing is traced. */
export function meshResource(): Resource {
  return {
    apiVersion: OWN,
    kind: "Mesh",
    metadata: { name: "default" },
    spec: {
      trustDomain: TRUST_DOMAIN,
      authorization: { defaultAction: "ALLOW" },
      defaults: { tracing: { randomSamplingPercentage: 0 } },
    },
  };
}
