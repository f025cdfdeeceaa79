/** What the admin pages show of the proxy's state, as plain data. */
import { timestamp, type Clock } from "../core/clock.ts";
import type { Credentials } from "../identity/credentials.ts";
import type { AgentState } from "../agent/agent.ts";
import type { Snapshot } from "../policy/snapshot.ts";
import type { Clusters, ClusterState } from "./upstream/endpoints.ts";
import type { Pools } from "./upstream/pools.ts";

/** `/config`: what is in force, and since when. */
export function configView(
  snapshot: Snapshot | undefined,
  state: AgentState,
  clock: Clock,
): unknown {
  const { configReceivedAt } = state;
  return {
    version: snapshot?.version,
    source: state.source,
    connected: state.connected,
    receivedAt:
      configReceivedAt === undefined ? undefined : timestamp(configReceivedAt),
    ageSeconds: ageSeconds(state, clock),
    refused:
      state.refused === undefined
        ? undefined
        : { ...state.refused, at: timestamp(state.refused.at) },
    lastError: state.lastError,
    certificateAlarm: state.certificateAlarm,
    self: snapshot?.self,
    mesh: snapshot?.mesh,
    warnings: snapshot?.warnings,
    destinations: snapshot?.destinations.map(({ key, port, cluster }) => ({
      key,
      appProtocol: port.appProtocol,
      external: cluster.external,
      trafficPolicy: cluster.policy,
      endpoints: cluster.endpoints.length,
    })),
    inbound: snapshot?.inbound.ports.map(
      ({ key, targetPort, appProtocol, mtls }) => ({
        key,
        targetPort,
        appProtocol,
        mtls,
      }),
    ),
  };
}

/** Seconds since the config in force was received or confirmed; undefined where there is none. */
export function ageSeconds(
  state: AgentState,
  clock: Clock,
): number | undefined {
  return state.configReceivedAt === undefined
    ? undefined
    : Math.max(0, (clock.wall() - state.configReceivedAt) / 1000);
}

/** `/clusters`: each cluster that has been called, its endpoints, ejections, breaker and load. */
export function clustersView(
  clusters: Clusters,
  pools: Pools,
  clock: Clock,
): unknown {
  return {
    clusters: [...clusters.all()].map((state) => clusterView(state, clock)),
    pools: [...pools.entries()].map(([place, pool]) => ({
      place,
      connections: pool.connections,
      dialling: pool.dialling,
      active: pool.active,
      waiting: pool.waiting,
    })),
  };
}

function clusterView(state: ClusterState, clock: Clock): unknown {
  const now = clock.now();
  const { breaker, admission, cluster, detector, balancer } = state;
  return {
    key: state.key,
    trafficPolicy: cluster.policy,
    settings: cluster.settings,
    active: admission.active,
    pending: admission.pending,
    breaker: {
      state: breaker.state,
      ...breaker.window,
      retryAfterMs: Math.round(breaker.retryAfter),
    },
    retryBudget: state.budget.usage(now),
    panic: balancer.panic,
    endpoints: cluster.endpoints.map((endpoint) => ({
      key: endpoint.key,
      workload: endpoint.workload,
      address: endpoint.address,
      port: endpoint.port,
      link: endpoint.link,
      identity: endpoint.identity,
      ready: endpoint.ready,
      weight: endpoint.weight,
      locality: endpoint.locality,
      ejectedForMs: Math.max(0, Math.round(detector.until(endpoint.key) - now)),
      active: balancer.loadOf(endpoint.key)?.inflight ?? 0,
      latencyMs: balancer.loadOf(endpoint.key)?.latency,
    })),
    ejections: detector.ledger.map(
      ({ endpoint, reason, evidence, at, until, times }) => ({
        endpoint,
        reason,
        evidence,
        at: timestamp(clock.wall() - (now - at)),
        forMs: Math.round(until - at),
        times,
      }),
    ),
  };
}

/** `/certs`: the certificate in use; never its key. */
export function certsView(
  credentials: Credentials | undefined,
  clock: Clock,
): unknown {
  if (credentials === undefined) return { certificate: null };
  return {
    id: credentials.id,
    notBefore: timestamp(credentials.notBefore),
    notAfter: timestamp(credentials.notAfter),
    expiresInSeconds: Math.round((credentials.notAfter - clock.wall()) / 1000),
    certificateChain: credentials.certificateChain,
    trustBundle: credentials.trustBundle,
  };
}
