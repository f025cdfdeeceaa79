/** The mesh as Envoy has it: a cluster for each Service, with all routes and some of the endpoints in files that Envoy watches. */
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PORTS } from "./layout.ts";
import {
  endpointsOf,
  hostOf,
  nameOf,
  unusedOf,
  type Shape,
  type Variant,
} from "./mesh.ts";

const TYPE = "type.googleapis.com/envoy.";
const EXTENSION = `${TYPE}extensions.`;

/** Envoy takes a watch of the kernel's for each file, of which a user has 128: so many unused clusters have a file of endpoints too. */
const WATCHED_UNUSED = 10;

/** Unused Services whose endpoints are in files. */
export function watchedUnused(shape: Shape): readonly number[] {
  return unusedOf(shape).slice(0, WATCHED_UNUSED);
}

/** Writes all of it. Resolves with the file that Envoy starts from. */
export async function writeEnvoy(
  folder: string,
  shape: Shape,
): Promise<string> {
  for (const service of [...shape.used, ...watchedUnused(shape)])
    await writeEndpoints(folder, shape, service);
  await writeRoutes(folder, shape);
  const file = join(folder, "envoy.json");
  await writeFile(file, JSON.stringify(startOf(folder, shape)));
  return file;
}

export async function writeEndpoints(
  folder: string,
  shape: Shape,
  service: number,
  variant: Variant = {},
): Promise<void> {
  const type = `${TYPE}config.endpoint.v3.ClusterLoadAssignment`;
  await replace(endpointsFile(folder, service), {
    "@type": type,
    ...assignmentOf(shape, service, variant),
  });
}

function assignmentOf(shape: Shape, service: number, variant: Variant): object {
  return {
    cluster_name: nameOf(service),
    endpoints: [
      {
        lb_endpoints: endpointsOf(shape, service, variant).map(
          ({ address, port, weight }) => ({
            endpoint: { address: addressOf(address, port) },
            load_balancing_weight: weight,
          }),
        ),
      },
    ],
  };
}

/** All routes are one resource: Envoy has one of them for each listener. */
export async function writeRoutes(
  folder: string,
  shape: Shape,
  generationOf: (service: number) => string = () => "0",
): Promise<void> {
  await replace(routesFile(folder), {
    "@type": `${TYPE}config.route.v3.RouteConfiguration`,
    name: "mesh",
    virtual_hosts: Array.from({ length: shape.services }, (_, service) => ({
      name: nameOf(service),
      domains: [hostOf(service), `${hostOf(service)}:80`],
      response_headers_to_add: [
        { header: { key: "x-generation", value: generationOf(service) } },
      ],
      routes: [
        {
          match: { prefix: "/" },
          route: { cluster: nameOf(service), timeout: "10s" },
        },
      ],
    })),
  });
}

function startOf(folder: string, shape: Shape): object {
  const inFiles = new Set([...shape.used, ...watchedUnused(shape)]);
  const manager = {
    "@type": `${EXTENSION}filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "out",
    rds: {
      route_config_name: "mesh",
      config_source: watched(routesFile(folder)),
    },
    http_filters: [
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": `${EXTENSION}filters.http.router.v3.Router` },
      },
    ],
  };
  return {
    // Whoever discovers endpoints has to be somebody.
    node: { id: "caller", cluster: "bench" },
    admin: { address: addressOf("127.0.0.1", PORTS.envoyAdmin) },
    static_resources: {
      listeners: [
        {
          address: addressOf("127.0.0.1", PORTS.envoy),
          filter_chains: [
            {
              filters: [
                {
                  name: "envoy.filters.network.http_connection_manager",
                  typed_config: manager,
                },
              ],
            },
          ],
        },
      ],
      clusters: Array.from({ length: shape.services }, (_, service) => ({
        name: nameOf(service),
        connect_timeout: "5s",
        lb_policy: "LEAST_REQUEST",
        ...(inFiles.has(service)
          ? {
              type: "EDS",
              eds_cluster_config: {
                eds_config: watched(endpointsFile(folder, service)),
              },
            }
          : {
              type: "STATIC",
              load_assignment: assignmentOf(shape, service, {}),
            }),
        outlier_detection: { consecutive_5xx: 5 },
        circuit_breakers: { thresholds: [{ max_connections: 1024 }] },
      })),
    },
  };
}

function watched(path: string): object {
  return { path_config_source: { path }, resource_api_version: "V3" };
}

function endpointsFile(folder: string, service: number): string {
  return join(folder, `endpoints-${service}.json`);
}

function routesFile(folder: string): string {
  return join(folder, "routes.json");
}

/** Envoy looks at a file that is moved into place. */
async function replace(file: string, resource: object): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify({ resources: [resource] }));
  await rename(`${file}.new`, file);
}

function addressOf(address: string, port: number): object {
  return { socket_address: { address, port_value: port } };
}
