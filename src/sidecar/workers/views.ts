/** What the admin pages show of the proxy's state, as plain data. */
import { timestamp, type Clock } from "../../core/clock.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type { AgentState } from "../../agent/agent.ts";
import type { HeldView } from "../../agent/interest/held-view.ts";
import {
  failingNow,
  Report,
  type Load,
} from "../../policy/balance/algorithm.ts";
import { reports } from "../../policy/balance/load-aware.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import type { Meters } from "../../telemetry/meters.ts";
import type { BreakerState } from "../../proxy/upstream/cluster/breaker.ts";
import type { Clusters } from "../../proxy/upstream/cluster/clusters.ts";
import type { ClusterState } from "../../proxy/upstream/cluster/cluster-state.ts";
import type { ConcurrencyLimiter } from "../../proxy/application/concurrency-limiter.ts";
import type { EjectionHistoryEntry } from "../../proxy/upstream/cluster/ejection-history.ts";
import type { Pools } from "../../proxy/upstream/pool/pools.ts";

/** `/config`: what is in force, and since when. */
export function configView(
  snapshot: Snapshot | undefined,
  state: AgentState,
  held: HeldView | undefined,
  clock: Clock,
): object {
  const { configReceivedAt } = state;
  return {
    version: state.version ?? snapshot?.version,
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
    scope: held === undefined ? "all" : "used",
    held,
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

/** What several workers' views have to be put together by; the rest is the same in each, or one's own. */
export interface ClustersView {
  readonly clusters: readonly ClusterView[];
  readonly pools: readonly PoolView[];
}

export interface ClusterView {
  readonly key: string;
  readonly breaker: BreakerView;
  readonly retryBudget: { readonly requests: number; readonly retries: number };
  readonly endpoints: readonly EndpointView[];
  readonly ejections: readonly EjectionHistoryView[];
  readonly breaks: readonly EjectionHistoryView[];
  readonly [more: string]: unknown;
}

export interface BreakerView {
  readonly state: BreakerState;
  /** Within the window. */
  readonly calls: number;
  readonly failures: number;
  /** Milliseconds. */
  readonly retryAfterMs: number;
  /** Each worker's own, where there are several: the state above is that of the one that is most open. */
  readonly workers?: readonly (BreakerView & { readonly worker: number })[];
}

export interface EjectionHistoryView {
  /** Wall time, RFC 3339. */
  readonly at: string;
  readonly [more: string]: unknown;
}

export interface EndpointView {
  readonly key: string;
  readonly active: number;
  readonly ejectedForMs: number;
  readonly [more: string]: unknown;
}

export interface PoolView {
  readonly place: string;
  readonly connections: number;
  readonly dialling: number;
  readonly active: number;
  readonly waiting: number;
}

/** `/clusters`: each cluster that has been called, its endpoints, ejections, breaker and load. */
export function clustersView(
  clusters: Clusters,
  pools: Pools,
  clock: Clock,
): ClustersView {
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

function clusterView(state: ClusterState, clock: Clock): ClusterView {
  const now = clock.now();
  const { breaker, poolLimits, cluster, detector, balancer, health } = state;
  const { entries } = state.ejectionHistory;
  return {
    key: state.key,
    trafficPolicy: cluster.policy,
    settings: cluster.settings,
    active: poolLimits.active,
    pending: poolLimits.pending,
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
      unconfirmed: endpoint.unconfirmed,
      weight: endpoint.weight,
      locality: endpoint.locality,
      ejectedForMs: Math.max(0, Math.round(detector.until(endpoint.key) - now)),
      held: detector.isHeld(endpoint.key),
      onProbation: detector.onProbation(endpoint.key),
      healthy: health.isHealthy(endpoint.key),
      ...loadView(balancer.loadOf(endpoint.key), now),
    })),
    ejections: entries
      .filter(({ kind }) => kind === "ejection")
      .map((entry) => ledgerView(entry, clock)),
    breaks: entries
      .filter(({ kind }) => kind === "break")
      .map((entry) => ledgerView(entry, clock)),
  };
}

function ledgerView(
  { endpoint, reason, evidence, at, until, times }: EjectionHistoryEntry,
  clock: Clock,
): EjectionHistoryView {
  return {
    endpoint,
    reason,
    evidence,
    at: timestamp(clock.wall() - (clock.now() - at)),
    // Absent: until its health checks succeed.
    forMs: Number.isFinite(until) ? Math.round(until - at) : undefined,
    times,
  };
}

/** What this caller knows of an endpoint's load, and what its sidecar says of it where that is asked for. */
function loadView(
  load: Readonly<Load> | undefined,
  now: number,
): { readonly active: number; readonly [more: string]: unknown } {
  if (load === undefined) return { active: 0 };
  const { inflight, latency, report } = load;
  return {
    active: inflight,
    latencyMs: latency,
    failing: failingNow(load, now),
    reported: reports(load, now)
      ? {
          inFlight: report[Report.RIF],
          latencyMs: report[Report.LATENCY],
          limit: report[Report.LIMIT],
          ageMs: Math.round(now - (report[Report.AT] ?? now)),
        }
      : undefined,
  };
}

export interface OverloadView {
  readonly ports: readonly ConcurrencyView[];
}

export interface ConcurrencyView {
  readonly port: number;
  /** Requests that may be in flight, are, and wait. */
  readonly limit: number;
  readonly inFlight: number;
  readonly waiting: number;
  readonly usualMs: number;
  readonly latestMs: number;
  readonly refused: number;
  readonly wouldRefuse: number;
  readonly lowestPriorityLetIn: number;
  /** Each worker's own, where there are several. */
  readonly workers?: readonly (ConcurrencyView & { readonly worker: number })[];
}

/** `/overload`: what each port of the application can serve at once, and what was or would have been turned away. */
export function overloadView(
  concurrencyLimiters: Iterable<ConcurrencyLimiter>,
): OverloadView {
  return {
    ports: [...concurrencyLimiters].map((limiter) => ({
      port: limiter.port,
      limit: limiter.limit.limit,
      inFlight: limiter.inFlight,
      waiting: limiter.waiting,
      usualMs: limiter.limit.usual,
      latestMs: limiter.limit.latest,
      refused: limiter.refused,
      wouldRefuse: limiter.wouldRefuse,
      lowestPriorityLetIn: limiter.threshold.value,
    })),
  };
}

export interface WorkerView {
  readonly worker: number;
  /** Requests that ended. */
  readonly requests: { readonly inbound: number; readonly outbound: number };
  /** Open ones, by listener or "upstream". */
  readonly connections: Readonly<Record<string, number>>;
}

/** `/workers`: what one worker carries. */
export function workerView(
  worker: number,
  meters: Meters,
  pools: Pick<Pools, "connections">,
): WorkerView {
  const requests = { inbound: 0, outbound: 0 };
  for (const [[direction], { value }] of meters.requests.series())
    if (direction === "inbound" || direction === "outbound")
      requests[direction] += value;
  const connections: Record<string, number> = {};
  for (const [[kind = ""], { value }] of meters.connections.series())
    connections[kind] = value;
  connections["upstream"] = pools.connections;
  return { worker, requests, connections };
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
