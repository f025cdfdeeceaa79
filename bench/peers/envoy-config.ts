/** Envoy's configuration with the features of a mesh's sidecar: what one side of a hop needs. */
import {
  INBOUND_PORT,
  isCalls,
  OTLP_PORT,
  OUTBOUND_PORT,
  overHttp2,
  SERVER_PORT,
  type KeyPair,
  type PeerSettings,
} from "../peer.ts";
import { ACCESS_LOG, bytesFrom, bytesTo, EXTENSION } from "./envoy-bytes.ts";
import { tokenFilter } from "./envoy-token.ts";

const TYPE = "type.googleapis.com/";
export const INBOUND_ADMIN = 8241;

export function outboundConfig(settings: PeerSettings): object {
  const retry = {
    retry_on: "connect-failure,refused-stream,unavailable,cancelled,5xx",
    num_retries: 2,
    ...(isCalls(settings.apps) ? { per_try_timeout: "2s" } : {}),
  };
  const { certificates } = settings;
  const tls = {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": `${EXTENSION}transport_sockets.tls.v3.UpstreamTlsContext`,
      common_tls_context: tlsContext(
        settings,
        certificates.caller,
        certificates.callee.id,
      ),
    },
  };
  const peer = {
    ...cluster("peer", INBOUND_PORT, settings.link === "h2"),
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
      settings.apps === "tcp"
        ? bytesTo("peer", settings.link)
        : [
            manager(
              "out",
              "peer",
              settings,
              { codec_type: overHttp2(settings.apps) ? "HTTP2" : "HTTP1" },
              [],
              retry,
            ),
          ],
    ),
    [peer, cluster("otlp", OTLP_PORT, false)],
  );
}

export function inboundConfig(settings: PeerSettings): object {
  const { certificates } = settings;
  const rules = (permission: object): object => ({
    action: "ALLOW",
    policies: {
      callers: {
        permissions: [permission],
        principals: [
          {
            authenticated: {
              principal_name: { exact: certificates.caller.id },
            },
          },
        ],
      },
    },
  });
  const rbac = {
    name: "envoy.filters.http.rbac",
    typed_config: {
      "@type": `${EXTENSION}filters.http.rbac.v3.RBAC`,
      rules: rules(
        settings.apps === "tcp"
          ? { any: true }
          : { url_path: { path: { prefix: "/" } } },
      ),
    },
  };
  const filters = settings.token === true ? [tokenFilter(), rbac] : [rbac];
  const tls = {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": `${EXTENSION}transport_sockets.tls.v3.DownstreamTlsContext`,
      require_client_certificate: true,
      common_tls_context: tlsContext(settings, certificates.callee, undefined),
    },
  };
  const more = {
    codec_type: settings.link === "h2" ? "HTTP2" : "HTTP1",
    forward_client_cert_details: "SANITIZE_SET",
    set_current_client_cert_details: { uri: true },
  };
  return staticResources(
    listener(
      INBOUND_PORT,
      settings.apps === "tcp" && settings.link !== "h2"
        ? bytesFrom("app", rules({ any: true }))
        : [manager("in", "app", settings, more, filters, undefined)],
      tls,
    ),
    [
      cluster("app", SERVER_PORT, overHttp2(settings.apps)),
      cluster("otlp", OTLP_PORT, false),
    ],
    INBOUND_ADMIN,
  );
}

function staticResources(
  only: object,
  clusters: readonly object[],
  admin?: number,
): object {
  return {
    static_resources: { listeners: [only], clusters },
    ...(admin === undefined ? {} : { admin: { address: loopback(admin) } }),
  };
}

function loopback(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

function listener(
  port: number,
  filters: readonly object[],
  tls?: object,
): object {
  const chain = {
    filters,
    ...(tls === undefined ? {} : { transport_socket: tls }),
  };
  return {
    address: loopback(port),
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
  const config = {
    "@type": `${EXTENSION}filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: prefix,
    route_config: {
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [
            {
              match:
                settings.apps === "tcp"
                  ? { connect_matcher: {} }
                  : { prefix: "/" },
              route: { cluster: target, ...kept(settings) },
            },
          ],
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
    access_log: ACCESS_LOG,
    ...upgrades(settings),
    ...more,
  };
  return {
    name: "envoy.filters.network.http_connection_manager",
    typed_config: config,
  };
}

/** What stays open has no time-out, and a tunnel ends here. */
function kept({ apps }: PeerSettings): object {
  if (isCalls(apps)) return {};
  const tunnel = { upgrade_type: "CONNECT", connect_config: {} };
  return {
    timeout: "0s",
    ...(apps === "tcp" ? { upgrade_configs: [tunnel] } : {}),
  };
}

/** An Upgrade crosses the link as an extended CONNECT. */
function upgrades({ apps }: PeerSettings): object {
  if (apps !== "websocket" && apps !== "tcp") return {};
  const type = apps === "tcp" ? "CONNECT" : "websocket";
  return {
    upgrade_configs: [{ upgrade_type: type }],
    http2_protocol_options: { allow_connect: true },
  };
}

function cluster(name: string, port: number, http2: boolean): object {
  const endpoint = { endpoint: { address: loopback(port) } };
  const options = {
    "@type": `${EXTENSION}upstreams.http.v3.HttpProtocolOptions`,
    explicit_http_config: { http2_protocol_options: { allow_connect: true } },
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
  settings: PeerSettings,
  own: KeyPair,
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
    alpn_protocols: [settings.link],
    tls_certificates: [
      {
        certificate_chain: { filename: own.certificate },
        private_key: { filename: own.key },
      },
    ],
    validation_context: {
      trusted_ca: { filename: settings.certificates.root },
      ...names,
    },
  };
}
