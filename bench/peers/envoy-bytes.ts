/** Envoy's configuration for bytes: from a listener to the link, and from the link to the application. */
import { HOST, type Protocol } from "../peer.ts";

export const EXTENSION = "type.googleapis.com/envoy.extensions.";

const FORMAT = {
  method: "%REQ(:METHOD)%",
  path: "%REQ(:PATH)%",
  status: "%RESPONSE_CODE%",
  flags: "%RESPONSE_FLAGS%",
  duration: "%DURATION%",
  bytes: "%BYTES_SENT%",
  upstream: "%UPSTREAM_HOST%",
};

export const ACCESS_LOG: readonly object[] = [
  {
    name: "envoy.access_loggers.file",
    typed_config: {
      "@type": `${EXTENSION}access_loggers.file.v3.FileAccessLog`,
      path: "/dev/null",
      log_format: { json_format: FORMAT },
    },
  },
];

/** Through the link: a tunnel where that is HTTP/2, else the bytes by themselves. */
export function bytesTo(cluster: string, link: Protocol): readonly object[] {
  const tunnel =
    link === "h2" ? { tunneling_config: { hostname: `${HOST}:80` } } : {};
  return [proxy("out", cluster, tunnel)];
}

/** From a link that is the bytes by themselves. */
export function bytesFrom(cluster: string, rules: object): readonly object[] {
  const rbac = {
    name: "envoy.filters.network.rbac",
    typed_config: {
      "@type": `${EXTENSION}filters.network.rbac.v3.RBAC`,
      stat_prefix: "in",
      rules,
    },
  };
  return [rbac, proxy("in", cluster, {})];
}

function proxy(prefix: string, cluster: string, more: object): object {
  return {
    name: "envoy.filters.network.tcp_proxy",
    typed_config: {
      "@type": `${EXTENSION}filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: prefix,
      cluster,
      access_log: ACCESS_LOG,
      ...more,
    },
  };
}
