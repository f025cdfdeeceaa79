/** Short ways to write the resources and requests that the tests of policy need. */
import type { HeaderLines } from "../../../src/mesh/header-readings.ts";
import type { AuthorizationPolicySpec } from "../../../src/resources/authorization-policy/spec.ts";
import type { Metadata, Resource } from "../../../src/resources/envelope.ts";
import type { GRPCRouteSpec } from "../../../src/resources/grpc-route/spec.ts";
import type { HTTPRouteSpec } from "../../../src/resources/http-route/spec.ts";
import type { MeshSpec } from "../../../src/resources/mesh/schema.ts";
import type { PeerAuthenticationSpec } from "../../../src/resources/peer-authentication/schema.ts";
import type { TelemetrySpec } from "../../../src/resources/telemetry/spec.ts";
import type { ServiceSpec } from "../../../src/resources/service/schema.ts";
import type { TrafficPolicySpec } from "../../../src/resources/traffic-policy/settings.ts";
import type { WorkloadSpec } from "../../../src/resources/workload/schema.ts";
import type { RequestFacts } from "../../../src/policy/path.ts";
import type { SelfDescription } from "../../../src/policy/snapshot.ts";

type More = Partial<Omit<Metadata, "name" | "namespace">>;

/** "shop/orders" → metadata. */
function metadata(name: string, more: More = {}): Metadata {
  const [namespace = "", short = ""] = name.split("/");
  return { name: short, namespace, ...more };
}

const OWN = "mesh.wherry.dev/v1alpha1";

export function mesh(spec: Partial<MeshSpec> = {}): Resource<MeshSpec> {
  return {
    apiVersion: OWN,
    kind: "Mesh",
    metadata: { name: "default" },
    spec: { authorization: { defaultAction: "ALLOW" }, ...spec },
  };
}

/** Selects `app: NAME` and has port 80 (http) on 8080, unless told otherwise. */
export function service(
  name: string,
  spec: Partial<ServiceSpec> = {},
  more?: More,
): Resource<ServiceSpec> {
  return {
    apiVersion: OWN,
    kind: "Service",
    metadata: metadata(name, more),
    spec: {
      ports: [{ name: "http", port: 80, targetPort: 8080 }],
      ...(spec.location === "MESH_EXTERNAL"
        ? {}
        : { selector: { app: name.split("/")[1] ?? "" } }),
      ...spec,
    },
  };
}

/** Labelled `app: APP`, with a link and the port 8080 (http), unless told otherwise. */
export function workload(
  name: string,
  app: string,
  spec: Partial<WorkloadSpec> = {},
  more?: More,
): Resource<WorkloadSpec> {
  return {
    apiVersion: OWN,
    kind: "Workload",
    metadata: metadata(name, { labels: { app }, ...more }),
    spec: {
      address: "10.0.0.1",
      ports: { http: 8080 },
      link: { port: 15008 },
      serviceAccount: app,
      ...spec,
    },
  };
}

export function httpRoute(
  name: string,
  spec: HTTPRouteSpec,
  more?: More,
): Resource<HTTPRouteSpec> {
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: metadata(name, more),
    spec,
  };
}

export function grpcRoute(
  name: string,
  spec: GRPCRouteSpec,
  more?: More,
): Resource<GRPCRouteSpec> {
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "GRPCRoute",
    metadata: metadata(name, more),
    spec,
  };
}

export function trafficPolicy(
  name: string,
  spec: TrafficPolicySpec,
  more?: More,
): Resource<TrafficPolicySpec> {
  return {
    apiVersion: OWN,
    kind: "TrafficPolicy",
    metadata: metadata(name, more),
    spec,
  };
}

export function authorizationPolicy(
  name: string,
  spec: AuthorizationPolicySpec,
  more?: More,
): Resource<AuthorizationPolicySpec> {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: metadata(name, more),
    spec,
  };
}

export function peerAuthentication(
  name: string,
  spec: PeerAuthenticationSpec,
  more?: More,
): Resource<PeerAuthenticationSpec> {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata: metadata(name, more),
    spec,
  };
}

export function telemetry(
  name: string,
  spec: TelemetrySpec,
  more?: More,
): Resource<TelemetrySpec> {
  return {
    apiVersion: "telemetry.istio.io/v1",
    kind: "Telemetry",
    metadata: metadata(name, more),
    spec,
  };
}

/** The day of a creation, so that "older" reads as a smaller number. */
export function born(day: number): { creationTimestamp: string } {
  return {
    creationTimestamp: `2026-01-${String(day).padStart(2, "0")}T00:00:00Z`,
  };
}

/** The workload shop/web-1. */
export function self(over: Partial<SelfDescription> = {}): SelfDescription {
  return {
    name: "web-1",
    namespace: "shop",
    serviceAccount: "web",
    labels: { app: "web" },
    identity: "spiffe://cluster.local/ns/shop/sa/web",
    ...over,
  };
}

export const VERSION = { store: "test", revision: 1, digest: "" };

/** The headers of a request as policy reads them: a list has a value for each line. */
export function headersOf(
  headers: Readonly<Record<string, HeaderLines>>,
): Pick<RequestFacts, "header" | "lines"> {
  return {
    header(name) {
      const lines = headers[name];
      return typeof lines === "object" ? lines.join(", ") : lines;
    },
    lines: (name) => headers[name],
  };
}

/** A GET of "/path?query" as policy sees it. */
export function request(
  target: string,
  over: {
    method?: string;
    host?: string;
    headers?: Record<string, HeaderLines>;
  } = {},
): RequestFacts {
  const [path = "", query = ""] = target.split("?");
  const host = over.host ?? "orders.shop";
  return {
    method: over.method ?? "GET",
    scheme: "http",
    host,
    path,
    query,
    ...headersOf({ ...over.headers, host }),
  };
}

/** The ends of the connection that a call came on, from 10.0.0.2 to 10.0.0.1. */
export const CONNECTION = {
  remoteAddress: "10.0.0.2",
  localAddress: "10.0.0.1",
} as const;
