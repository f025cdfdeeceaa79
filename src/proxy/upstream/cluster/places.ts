/** Where the connections to an endpoint go, what is spoken there, and by which settings they are pooled. */
import { formatHostPort } from "../../../core/text/host-port.ts";
import type { Proof } from "../../../identity/revoked.ts";
import { MeshError } from "../../../mesh/errors.ts";
import { originatesTls, serverNameOf } from "../../../policy/origination.ts";
import type { Cluster, Endpoint } from "../../../policy/snapshot.ts";
import type { TrafficSettings } from "../../../resources/traffic-policy/settings.ts";
import type { PoolSettings } from "../pool/options.ts";
import type { HostPort } from "../pool/pools.ts";

/** A workload that registered a link is called over the link, always (design: the link). */
export function placeOf(cluster: Cluster, endpoint: Endpoint): HostPort {
  const { address, port, link, identity, reach } = endpoint;
  if (link !== undefined)
    return {
      kind: "link",
      address,
      port: link,
      // Without an identity to expect nothing can be proved: no SPIFFE id equals the empty one.
      identity: identity ?? "",
    };
  const { tls } = cluster.settings;
  if (tls !== undefined && originatesTls(cluster, endpoint))
    return {
      kind: "tls",
      ...{ address, port, protocol: plainProtocolOf(cluster), tls },
      reach,
      serverName: serverNameOf(tls, endpoint),
    };
  return {
    kind: "plain",
    ...{ address, port, protocol: plainProtocolOf(cluster), reach },
    claim: claimOf(endpoint),
  };
}

const claims = new WeakMap<Endpoint, Proof>();

/** What the mesh says of an endpoint that proves nothing. */
function claimOf(endpoint: Endpoint): Proof {
  let claim = claims.get(endpoint);
  if (claim === undefined) {
    const { workload: instance, identity: uri } = endpoint;
    claim = { uri, instance, certificate: undefined };
    claims.set(endpoint, claim);
  }
  return claim;
}

export function spoken(
  place: Exclude<HostPort, { kind: "link" }>,
  tunnel: boolean,
): HostPort {
  if (tunnel) return { ...place, protocol: "tcp" };
  return place.protocol === "tcp" ? { ...place, protocol: "http/1.1" } : place;
}

export function plainProtocolOf({
  appProtocol,
}: Pick<Cluster, "appProtocol">): "http/1.1" | "h2" | "tcp" {
  switch (appProtocol) {
    case "http":
      return "http/1.1";
    case "http2":
    case "grpc":
      return "h2";
    case "tcp":
    case "tls":
      return "tcp";
  }
}

export function poolSettingsOf(settings: TrafficSettings): PoolSettings {
  const { tcp, http } = settings.connectionPool;
  return {
    idleTimeout: http.idleTimeout,
    multiplexedIdleTimeout: tcp.idleTimeout,
    maxRequestsPerConnection: http.maxRequestsPerConnection,
    connectTimeout: tcp.connectTimeout,
  };
}

const hostPorts = new WeakMap<Endpoint, string>();

/** Where connections to it go, "10.0.0.7:15008": the same text each time, which the access log finds again without reading it. */
export function hostPortOf(endpoint: Endpoint): string {
  let text = hostPorts.get(endpoint);
  if (text === undefined) {
    text = formatHostPort(endpoint.address, endpoint.link ?? endpoint.port);
    hostPorts.set(endpoint, text);
  }
  return text;
}

const unready = new WeakMap<Cluster, string>();

/** What the first sidecar says of its application; "" where none says anything. Once for each cluster, since callers go on calling. */
function unreadyText(cluster: Cluster): string {
  let text = unready.get(cluster);
  if (text === undefined) {
    const said = cluster.endpoints.find((each) => each.unready !== undefined);
    text =
      said?.unready === undefined
        ? ""
        : `: ${said.workload} says ${said.unready}`;
    unready.set(cluster, text);
  }
  return text;
}

export function noEndpoint(cluster: Cluster, reason: string): MeshError {
  return new MeshError(
    "NO_ENDPOINT",
    `${cluster.key}: ${reason}${unreadyText(cluster)}`,
    { source: "proxy", unprocessed: true },
  );
}
