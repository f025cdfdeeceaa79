/** What one worker does: its books, its upstream, its listeners. A process has one, or one more in each of its threads. */
import { Deadlines } from "../../core/deadlines.ts";
import type { Clock } from "../../core/clock.ts";
import type { SharedState } from "../../core/shared/shared-state.ts";
import type { Logger } from "../../core/log.ts";
import { watchSource, type WatchSource } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import { MESH_DEFAULTS } from "../../resources/mesh/schema.ts";
import type { AccessLog } from "../../telemetry/access-log.ts";
import type { MetricsRegistry } from "../../telemetry/metrics.ts";
import { makeTracing, type SpanSink } from "../../telemetry/tracing.ts";
import { Buffers } from "../../wire/buffers.ts";
import type { TelemetrySinks } from "../../proxy/exchange/request-record.ts";
import { makeEviction } from "../../proxy/downstream/eviction.ts";
import { makeFaults } from "../../proxy/filters/faults.ts";
import { watchIdle } from "../../proxy/exchange/idle.ts";
import { strangersClaims } from "../../proxy/exchange/forwarded.ts";
import { makeInbound } from "../../proxy/inbound.ts";
import { makeLimiter } from "../../proxy/filters/limiter.ts";
import { resolveLimits, shareOf } from "../../proxy/downstream/limits.ts";
import { makeListeners } from "../../proxy/downstream/listeners.ts";
import { makeLoadReports } from "../../proxy/application/load-reports.ts";
import { watchMemory } from "../../proxy/downstream/memory-pressure.ts";
import { makeMeters, type Meters } from "../../telemetry/meters.ts";
import { makeMirrors } from "../../proxy/filters/mirror.ts";
import { makeOutbound } from "../../proxy/outbound.ts";
import { judgeOpenEnds } from "../../proxy/exchange/open-ended.ts";
import { openAll, type Open } from "../../proxy/downstream/ports.ts";
import type { RelayHost } from "../../proxy/exchange/relay-host.ts";
import { makeReplayBudget, REPLAY_TOTAL } from "../../proxy/exchange/replay.ts";
import { makeServing } from "../../proxy/downstream/serving.ts";
import type { BreakerState } from "../../proxy/upstream/cluster/breaker.ts";
import { makeApplication } from "../../proxy/application/application.ts";
import {
  makeClusters,
  type Clusters,
} from "../../proxy/upstream/cluster/clusters.ts";
import {
  makeConcurrencyLimiters,
  type ConcurrencyLimiters,
} from "../../proxy/application/concurrency-limiter.ts";
import { makePassthrough } from "../../proxy/upstream/passthrough.ts";
import { makePools, type Pools } from "../../proxy/upstream/pool/pools.ts";
import { inTurn } from "../../proxy/downstream/port-lock.ts";
import type { SidecarSettings } from "../settings.ts";

export interface WorkerOptions {
  readonly settings: SidecarSettings;
  readonly clock: Clock;
  readonly sharedState: SharedState;
  readonly logger: Logger;
  readonly registry: MetricsRegistry;
  /** Closed by whoever made it. */
  readonly accessLog: AccessLog;
  readonly tracing?: TracingChoice | undefined;
}

export interface TracingChoice {
  readonly sink: SpanSink;
  /** In place of the Mesh's percentage. */
  readonly samplingPercentage?: number | undefined;
}

/** Of the proxy: what others call here, and what the application calls. */
export type Side = "inbound" | "outbound";

export interface ProxyWorker {
  readonly ports: Open["ports"];
  /** What `publish` and `upstream` became: with the ports that the system chose. */
  readonly doors: Open["doors"];
  readonly ownPorts: Set<number>;
  readonly meters: Meters;
  readonly registry: MetricsRegistry;
  readonly clusters: Clusters;
  readonly pools: Pools;
  readonly concurrencyLimiters: ConcurrencyLimiters;
  readonly credentials: WatchSource<Credentials | undefined>;
  readonly snapshot: WatchSource<Snapshot | undefined>;
  /** Goes over to a snapshot: requests under way end with the one that they started with (law 1). */
  apply(snapshot: Snapshot): void;
  /** No new connections on this side; GOAWAY and Connection: close on those that are open. */
  refuse(side: Side): void;
  /** What is still under way on this side. */
  active(side: Side): number;
  destroy(): void;
}

/** Of metrics, in one worker. */
export const MAX_SERIES = 10_000;

/** By their value in the metric. */
const STATES: readonly BreakerState[] = ["closed", "half-open", "open"];

/** Opens the listeners: until there is a snapshot each refuses with its reason. */
export async function startWorker(
  options: WorkerOptions,
): Promise<ProxyWorker> {
  const { settings, clock, sharedState, logger, registry, accessLog } = options;
  const { worker, workers } = sharedState;
  const snapshot = watchSource<Snapshot | undefined>(undefined);
  const credentials = watchSource<Credentials | undefined>(undefined);
  const ownPorts = new Set<number>();
  const limits = shareOf(resolveLimits(settings.limits), workers);
  const buffers = new Buffers(limits.bufferedBytes);
  // What connections are due for is far off, and there may be many of them: a list of its own.
  const connections = new Deadlines(clock);

  // The books: what is reported of every request.
  const meters = makeMeters(registry);
  const sinks: TelemetrySinks = {
    clock,
    meters,
    log: accessLog,
    tracing: makeTracing({
      clock,
      sink: options.tracing?.sink ?? ignoreSpan,
      samplingPercentage: samplingPercentage(options.tracing, snapshot),
    }),
  };

  // Upstream: pools, clusters, what lies outside, and the application.
  const pools = makePools({
    clock,
    sharedState,
    credentials,
    ownPorts,
    linkProtocol: settings.linkProtocol,
    buffers,
    deadlines: connections,
    onLimit: (limit) => meters.limits.with("upstream", limit).add(),
  });
  const clusters = makeClusters({ clock, sharedState, pools, meters, logger });
  const loads = makeLoadReports(clock);
  const concurrencyLimiters = makeConcurrencyLimiters(clock, meters);
  const application = makeApplication({
    clock,
    workers,
    pools,
    loads,
    concurrencyLimiters,
    address: settings.appAddress,
  });
  const deadlines = new Deadlines(clock);
  const host: RelayHost = {
    clock,
    idle: watchIdle(clock, deadlines),
    deadlines,
    replay: makeReplayBudget(REPLAY_TOTAL / workers, buffers),
    buffers,
    limits,
    policy: { changes: 0, current: undefined },
    maxActive: limits.requests,
    short: false,
  };
  const stopJudging = judgeOpenEnds(clock, snapshot, host.idle, host.policy);

  // Listeners, and what watches over them.
  const serving = makeServing({
    clock,
    meters,
    logger,
    limits,
    buffers,
    deadlines: connections,
    place: workers > 1 ? { worker, workers } : undefined,
    sharedState,
  });
  const passthrough = makePassthrough(workers, pools);
  const mirrors = makeMirrors({ clock, host, sinks, clusters });
  const faults = makeFaults({ clock, sinks, logger, tells: worker === 0 });
  const outbound = {
    snapshot,
    host,
    sinks,
    clusters,
    passthrough,
    mirrors,
    faults,
  };
  const limiter = makeLimiter(clock, sharedState.rates);
  const inbound = { snapshot, host, sinks, application, limiter, ownPorts };
  const eviction = makeEviction({
    clock,
    logger,
    buffers,
    idle: host.idle,
    requests: limits.requests,
    shed: (ms, most) => serving.shed(ms, most),
  });
  const memory = watchMemory({
    clock,
    logger,
    meters,
    limits,
    buffered: () => buffers.held,
    onLook: () => eviction.look(),
    onLevel(level) {
      serving.overloaded(level);
      host.short = level > 0;
      host.maxActive = level === 3 ? 0 : limits.requests;
    },
  });
  const listeners = makeListeners({
    clock,
    buffers,
    serving,
    snapshot,
    credentials,
    ownPorts,
    shared: workers === 1 ? false : worker === 0 ? "first" : "joined",
    claimsOf: strangersClaims(settings.trustedProxies),
    outbound: (upstream) => makeOutbound(outbound, upstream),
    inbound: (arrival) => makeInbound(inbound, arrival),
  });
  const stopCollecting = registry.collect(() => {
    meters.connections.with("upstream").set(pools.connections);
    for (const { key, breaker } of clusters.all())
      meters.breakerState.with(key).set(STATES.indexOf(breaker.state));
  });
  const close = (): void => {
    stopCollecting();
    stopJudging();
    memory.close();
    eviction.close();
    serving.destroy();
    pools.destroy();
    clusters.close();
    loads.close();
    faults.close();
    concurrencyLimiters.close();
    host.idle.close();
    deadlines.close();
    connections.close();
  };
  let open: Open;
  try {
    open =
      workers > 1 && worker === 0
        ? await inTurn(clock, options.logger, () =>
            openAll(listeners, settings),
          )
        : await openAll(listeners, settings);
  } catch (thrown) {
    close();
    throw thrown;
  }

  return {
    ports: open.ports,
    doors: open.doors,
    ownPorts,
    meters,
    registry,
    clusters,
    pools,
    concurrencyLimiters,
    credentials,
    snapshot,
    apply(next) {
      clusters.apply(next);
      limiter.apply(next);
      faults.apply(next);
      snapshot.set(next);
    },
    refuse(side) {
      if (side === "inbound") {
        open.stopInbound();
        serving.drain(isInbound);
      } else {
        open.closeOutbound();
        serving.drain(isOutbound);
      }
    },
    // A connection that was told to drain may still bring a request that was sent before its peer had heard of it.
    active: (side) =>
      side === "inbound"
        ? meters.active.inbound.value + serving.open(isInbound) + open.arriving
        : meters.active.outbound.value,
    destroy() {
      open.closeInbound();
      open.closeOutbound();
      close();
    },
  };
}

function isOutbound(listener: string): boolean {
  return listener === "outbound" || listener === "upstream";
}

function isInbound(listener: string): boolean {
  return !isOutbound(listener);
}

function ignoreSpan(): void {
  // Nobody wants the spans.
}

/** 0 where nobody takes the spans: a parent's decision is still passed on. */
function samplingPercentage(
  tracing: TracingChoice | undefined,
  snapshot: { readonly value: Snapshot | undefined },
): () => number {
  if (tracing === undefined) return () => 0;
  const { samplingPercentage: fixed } = tracing;
  if (fixed !== undefined) return () => fixed;
  return () =>
    (snapshot.value?.mesh ?? MESH_DEFAULTS).defaults.tracing
      .randomSamplingPercentage;
}
