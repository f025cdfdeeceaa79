/** What is compared: our sidecars and Envoys as the callers' proxies, each under the settings that make the difference. */
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { SIDECAR_FLAGS } from "../../src/runtime/node-flags.ts";
import type { LoadBalancer } from "../../src/resources/traffic-policy/load-balancing.ts";
import { TRUST_DOMAIN } from "../certificates.ts";
import type { Certificates } from "../peer.ts";
import type { Command } from "../processes.ts";
import { program } from "../tools.ts";
import {
  APP_PORTS,
  CLIENT_ADMIN_PORTS,
  CLIENT_LINK_PORTS,
  CLIENT_PORTS,
  LINK_PORTS,
  NAMESPACE,
  SERVICE,
} from "./layout.ts";

export interface Arm {
  readonly name: string;
  readonly proxy: "Wherry" | "Envoy";
  /** A TrafficPolicy's spec without its target, or fields of an Envoy cluster. */
  readonly settings: Readonly<Record<string, unknown>>;
}

const NO_EJECTION = {
  consecutive5xxErrors: 0,
  consecutiveLocalOriginFailures: 0,
  successRate: { thresholdPercent: 0 },
};

/** The tuned arm of balancing comparisons; Envoy's own defaults eject for 30 s and more, and one of ten at most. */
const OUTLIER_DETECTION = {
  consecutive_5xx: 5,
  interval: "1s",
  base_ejection_time: "5s",
  max_ejection_percent: 30,
  success_rate_minimum_hosts: 3,
  success_rate_request_volume: 20,
  max_ejection_time_jitter: "1s",
};

const EJECTING = {
  lb_policy: "LEAST_REQUEST",
  outlier_detection: OUTLIER_DETECTION,
  common_lb_config: { healthy_panic_threshold: { value: 50 } },
};

export const ARMS: readonly Arm[] = [
  wherry("Wherry round robin without ejection", "ROUND_ROBIN", false),
  wherry("Wherry least request without ejection", "LEAST_REQUEST", false),
  wherry("Wherry peak EWMA", "PEAK_EWMA", true),
  wherry("Wherry load-aware", "LOAD_AWARE", true),
  envoy("Envoy round robin", { lb_policy: "ROUND_ROBIN" }),
  envoy("Envoy least request", { lb_policy: "LEAST_REQUEST" }),
  envoy("Envoy least request with outlier detection", EJECTING),
  envoy("Envoy least request with outlier detection and slow start", {
    ...EJECTING,
    least_request_lb_config: {
      slow_start_config: { slow_start_window: "30s" },
    },
  }),
];

function wherry(name: string, simple: LoadBalancer, ejects: boolean): Arm {
  return {
    name,
    proxy: "Wherry",
    settings: {
      loadBalancer: { simple },
      // One breaker for the whole service would answer in place of the balancer that is compared.
      circuitBreaker: {
        errorThresholdPercent: 100,
        volumeThreshold: 1_000_000,
      },
      ...(ejects ? {} : { outlierDetection: NO_EJECTION }),
    },
  };
}

function envoy(name: string, settings: Arm["settings"]): Arm {
  return { name, proxy: "Envoy", settings };
}

const OWN = "mesh.wherry.dev/v1alpha1";

/** What sidecars read, with the first so many replicas; those that read it already see the change. */
export async function writeResources(
  file: string,
  settings: Arm["settings"],
  replicas: number,
): Promise<void> {
  const object = (kind: string, name: string, spec: unknown): object => ({
    apiVersion: OWN,
    kind,
    metadata: {
      name,
      ...(kind === "Mesh" ? {} : { namespace: NAMESPACE }),
      ...(kind === "Workload" ? { labels: { app: "callee" } } : {}),
    },
    spec,
  });
  const resources = [
    object("Mesh", "default", {
      trustDomain: TRUST_DOMAIN,
      authorization: { defaultAction: "ALLOW" },
      defaults: { tracing: { randomSamplingPercentage: 0 } },
    }),
    object("Service", SERVICE, {
      ports: [{ name: "http", port: 80, appProtocol: "http" }],
      selector: { app: "callee" },
    }),
    ...APP_PORTS.slice(0, replicas).map((port, index) =>
      object("Workload", `replica-${index}`, {
        address: "127.0.0.1",
        ports: { http: port },
        link: { port: LINK_PORTS[index] },
        serviceAccount: "callee",
      }),
    ),
    object("TrafficPolicy", SERVICE, {
      targetRefs: [{ kind: "Service", name: SERVICE }],
      ...settings,
    }),
  ];
  await replaceFile(
    file,
    resources.map((resource) => stringify(resource)).join("---\n"),
  );
}

/** The same for Envoy: a file of its endpoint discovery, which it watches for being replaced. */
export async function writeEndpoints(
  file: string,
  replicas: number,
): Promise<void> {
  const assignment = {
    "@type":
      "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    cluster_name: SERVICE,
    endpoints: [
      {
        lb_endpoints: APP_PORTS.slice(0, replicas).map((port) => ({
          endpoint: { address: addressOf(port) },
        })),
      },
    ],
  };
  await replaceFile(file, JSON.stringify({ resources: [assignment] }));
}

/** At once: nobody reads half of it. */
async function replaceFile(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

function addressOf(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

export interface ArmFiles {
  readonly directory: string;
  /** What the callers' sidecars read, and their Envoys. */
  readonly resources: string;
  readonly endpoints: string;
  /** What the sidecars beside the replicas read, of which none is left out. */
  readonly calleeResources: string;
  readonly certificates: Certificates;
}

/** The proxy of caller `index`. */
export async function clientCommand(
  arm: Arm,
  index: number,
  files: ArmFiles,
): Promise<Command> {
  const port = CLIENT_PORTS[index] ?? 0;
  const name = `${arm.proxy} ${index}`;
  if (arm.proxy === "Envoy") {
    const file = join(files.directory, `envoy-${index}.json`);
    await writeFile(
      file,
      JSON.stringify(envoyConfig(arm, port, files.endpoints)),
    );
    return {
      name,
      command: program("envoy"),
      args: [
        ...["-c", file, "--base-id", String(81 + index)],
        ...["--concurrency", "1", "--log-level", "error"],
      ],
      port,
    };
  }
  const { caller, root } = files.certificates;
  return {
    name,
    command: process.execPath,
    args: [
      "--disable-warning=ExperimentalWarning",
      ...SIDECAR_FLAGS,
      ...[join(import.meta.dirname, "../../src/main.ts"), "sidecar"],
      ...["--resources", files.resources, "--trust-bundle", root],
      ...["--certificate", caller.certificate, "--private-key", caller.key],
      ...["--state", join(files.directory, `client-${index}`)],
      ...["--access-log", "none", "--log-level", "error", "--no-capture"],
      ...["--host", "127.0.0.1", "--outbound-port", String(port)],
      ...["--link-port", String(CLIENT_LINK_PORTS[index])],
      ...["--admin-port", String(CLIENT_ADMIN_PORTS[2 * index])],
      ...["--metrics-port", String(CLIENT_ADMIN_PORTS[2 * index + 1])],
    ],
    port,
  };
}

const TYPE = "type.googleapis.com/envoy.extensions.filters";

/** Straight to the replicas, in plaintext: what Envoy knows of load it measures itself, and it is spared the second proxy. */
function envoyConfig(
  { settings }: Arm,
  port: number,
  endpoints: string,
): object {
  const manager = {
    "@type": `${TYPE}.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "out",
    route_config: {
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [
            {
              match: { prefix: "/" },
              route: { cluster: SERVICE, timeout: "0s" },
            },
          ],
        },
      ],
    },
    http_filters: [
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": `${TYPE}.http.router.v3.Router` },
      },
    ],
  };
  return {
    // Whoever discovers endpoints has to be somebody.
    node: { id: `caller-${port}`, cluster: "bench" },
    static_resources: {
      listeners: [
        {
          address: addressOf(port),
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
      clusters: [
        {
          name: SERVICE,
          connect_timeout: "1s",
          type: "EDS",
          eds_cluster_config: {
            eds_config: {
              path_config_source: { path: endpoints },
              resource_api_version: "V3",
            },
          },
          circuit_breakers: {
            thresholds: [
              {
                max_connections: 10_000,
                max_pending_requests: 10_000,
                max_requests: 10_000,
              },
            ],
          },
          ...settings,
        },
      ],
    },
  };
}
