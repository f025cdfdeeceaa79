/** The parts of a worker, put together from below: what all share, upstream, the host of relays, downstream. */
import { Deadlines } from "../../core/deadlines.ts";
import type { Lookups } from "../../agent/interest/lookups.ts";
import type { Clock } from "../../core/clock.ts";
import type { SharedState } from "../../core/shared/shared-state.ts";
import type { Logger } from "../../core/log.ts";
import { watchSource, type WatchSource } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { timesOf } from "../../identity/trust.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import {
  MESH_DEFAULTS,
  trustDomainsOf,
  type MeshSettings,
} from "../../resources/mesh/schema.ts";
import { UNSAID } from "../../telemetry/request-rules.ts";
import { formsOf } from "../../telemetry/b3.ts";
import type { AccessLog } from "../../telemetry/access-log.ts";
import type { MetricsRegistry } from "../../telemetry/metrics.ts";
import {
  makeTracing,
  type SpanSink,
  type TracingOptions,
} from "../../telemetry/tracing.ts";
import { Buffers } from "../../wire/buffers.ts";
import { LiveConnections } from "../../wire/tls/live-connections.ts";
import type { TelemetrySinks } from "../../proxy/exchange/request-record.ts";
import {
  makeEviction,
  type Eviction,
} from "../../proxy/downstream/eviction.ts";
import { makeFaults, type Faults } from "../../proxy/filters/faults.ts";
import { watchIdle } from "../../proxy/exchange/time/idle.ts";
import {
  strangersClaims,
  trustedProxies,
} from "../../proxy/exchange/forwarded.ts";
import { makeChecks, type OwnChecks } from "../../proxy/checks/port-checks.ts";
import { TokenVerifier } from "../../proxy/checks/tokens/token-verifier.ts";
import { makeInbound } from "../../proxy/inbound.ts";
import { makeLimiter, type Limiter } from "../../proxy/filters/limiter.ts";
import type { HandedListeners } from "../../proxy/downstream/handed-listeners.ts";
import {
  resolveLimits,
  shareOf,
  type SidecarLimits,
} from "../../proxy/downstream/limits.ts";
import {
  makeListeners,
  type Listeners,
} from "../../proxy/downstream/listeners.ts";
import {
  makeLoadReports,
  type LoadReports,
} from "../../proxy/application/load-reports.ts";
import { makeRefusalLog } from "../../proxy/downstream/refusal-log.ts";
import { watchMemory } from "../../proxy/downstream/memory-pressure.ts";
import { makeMeters, type Meters } from "../../telemetry/meters.ts";
import { makeMirrors } from "../../proxy/filters/mirror.ts";
import { copyOf } from "../../proxy/departure.ts";
import { Departures } from "../../proxy/observation/departures.ts";
import { Observer } from "../../proxy/observation/observer.ts";
import { makeOutbound } from "../../proxy/outbound.ts";
import { refusedTarget } from "../../proxy/exchange/raw-bytes.ts";
import { refuse } from "../../proxy/exchange/refuse.ts";
import type { MeshError } from "../../mesh/errors.ts";
import type { ServerHandler } from "../../wire/exchange.ts";
import { LongLived } from "../../proxy/exchange/long-lived.ts";
import type { RelayHost } from "../../proxy/exchange/relay-host.ts";
import { makeReplayBudget, REPLAY_TOTAL } from "../../proxy/exchange/replay.ts";
import { makeServing, type Serving } from "../../proxy/downstream/serving.ts";
import {
  makeApplication,
  type Application,
} from "../../proxy/application/application.ts";
import {
  makeClusters,
  type Clusters,
} from "../../proxy/upstream/cluster/clusters.ts";
import {
  makeConcurrencyLimiters,
  type ConcurrencyLimiters,
} from "../../proxy/application/concurrency-limiter.ts";
import {
  makePassthrough,
  type Passthrough,
} from "../../proxy/upstream/passthrough.ts";
import { makePools, type Pools } from "../../proxy/upstream/pool/pools.ts";
import {
  isOwnName,
  VirtualAddresses,
} from "../../proxy/dns/virtual-addresses.ts";
import type { SidecarSettings } from "../settings.ts";
import { rulesIn } from "./request-rules.ts";
import { trustIn } from "./trust-in.ts";

export interface WorkerOptions {
  /** What a process before this one listened on; absent: there was none. */
  readonly handed?: HandedListeners | undefined;
  readonly settings: SidecarSettings;
  readonly clock: Clock;
  readonly sharedState: SharedState;
  readonly logger: Logger;
  readonly registry: MetricsRegistry;
  /** Closed by its maker. */
  readonly accessLog: AccessLog;
  readonly tracing?: TracingChoice | undefined;
}

export interface TracingChoice {
  readonly sink: SpanSink;
  /** In place of what the Mesh and each Telemetry say. */
  readonly samplingPercentage?: number | undefined;
}

/** What the other parts count, hold and wait by. */
export interface Base {
  readonly snapshot: WatchSource<Snapshot | undefined>;
  /** Tells what the snapshot lacks; undefined: it lacks nothing. */
  readonly lookups: WatchSource<Lookups | undefined>;
  readonly credentials: WatchSource<Credentials | undefined>;
  /** Connections of the mesh that are open, in both directions. */
  readonly live: LiveConnections;
  readonly ownPorts: Set<number>;
  /** Addresses that stand for names; undefined where none are resolved here. */
  readonly names: VirtualAddresses | undefined;
  readonly limits: SidecarLimits;
  readonly buffers: Buffers;
  /** What exchanges wait for. */
  readonly deadlines: Deadlines;
  /** What connections wait for: far off, and there may be many of them, so it is a list of its own. */
  readonly connections: Deadlines;
  readonly meters: Meters;
  /** What is reported of every request. */
  readonly sinks: TelemetrySinks;
}

export function makeBase(options: WorkerOptions): Base {
  const { settings, clock, sharedState, registry, accessLog } = options;
  const snapshot = watchSource<Snapshot | undefined>(undefined);
  const limits = shareOf(resolveLimits(settings.limits), sharedState.workers);
  const meters = makeMeters(registry);
  const credentials = watchSource<Credentials | undefined>(undefined);
  return {
    snapshot,
    lookups: watchSource<Lookups | undefined>(undefined),
    credentials,
    live: new LiveConnections({
      clock,
      trust: trustIn(credentials, snapshot),
      times: () => timesOf(credentials.value?.meshTime, clock),
    }),
    ownPorts: new Set(),
    names:
      settings.dns === undefined
        ? undefined
        : new VirtualAddresses((host) => isOwnName(host, snapshot.value)),
    limits,
    buffers: new Buffers(limits.bufferedBytes),
    deadlines: new Deadlines(clock),
    connections: new Deadlines(clock),
    meters,
    sinks: {
      clock,
      meters,
      log: accessLog,
      rules: rulesIn(snapshot, process.env, UNSAID),
      tracing: makeTracing({
        clock,
        sink: options.tracing?.sink ?? ignoreSpan,
        samplingPercentage: samplingPercentage(options.tracing),
        forms: () => formsOf(tracingOf(snapshot).propagators),
      }),
    },
  };
}

/** Pools, clusters, what lies outside, and the application. */
export interface Upstream {
  readonly pools: Pools;
  readonly clusters: Clusters;
  readonly loads: LoadReports;
  readonly concurrencyLimiters: ConcurrencyLimiters;
  readonly application: Application;
  readonly passthrough: Passthrough;
}

export function makeUpstream(options: WorkerOptions, base: Base): Upstream {
  const { settings, clock, sharedState, logger } = options;
  const { credentials, ownPorts, buffers, connections, meters } = base;
  const { workers } = sharedState;
  const pools = makePools({
    clock,
    sharedState,
    credentials,
    live: base.live,
    ownPorts,
    refusesBytes: (reached) => refusedTarget(base.snapshot.value, reached),
    linkProtocol: settings.linkProtocol,
    equalDomains: () => trustDomainsOf(base.snapshot.value?.mesh),
    buffers,
    deadlines: connections,
    onLimit: (limit) => meters.limits.with("upstream", limit).add(),
  });
  const loads = makeLoadReports(clock);
  const concurrencyLimiters = makeConcurrencyLimiters(clock, meters);
  return {
    pools,
    clusters: makeClusters({ clock, sharedState, pools, meters, logger }),
    loads,
    concurrencyLimiters,
    application: makeApplication({
      clock,
      workers,
      pools,
      loads,
      concurrencyLimiters,
      address: settings.appAddress,
    }),
    passthrough: makePassthrough(workers, pools),
  };
}

/** What the relays of all exchanges share. */
export function makeHost(
  { clock, sharedState }: WorkerOptions,
  base: Base,
): RelayHost {
  const { deadlines, buffers, limits } = base;
  return {
    clock,
    idle: watchIdle(clock, deadlines),
    deadlines,
    replay: makeReplayBudget(REPLAY_TOTAL / sharedState.workers, buffers),
    buffers,
    limits,
    policy: { changes: 0, current: undefined },
    fallen: new WeakMap(),
    maxActive: limits.requests,
    longLived: new LongLived(limits.requests),
    short: false,
  };
}

/** Listeners, what they hand their requests to, and what watches over them. */
export interface Downstream {
  readonly serving: Serving;
  readonly listeners: Listeners;
  readonly faults: Faults;
  readonly limiter: Limiter;
  readonly observer: Observer;
  readonly departures: Departures;
  readonly tokens: TokenVerifier;
  readonly checks: OwnChecks;
  readonly eviction: Eviction;
  readonly memory: { close(): void };
}

export function makeDownstream(
  options: WorkerOptions,
  base: Base,
  upstream: Upstream,
  host: RelayHost,
): Downstream {
  const { settings, clock, sharedState, logger } = options;
  const { worker, workers } = sharedState;
  const { snapshot, lookups, credentials, ownPorts, names } = base;
  const { limits, buffers, sinks } = base;
  const { clusters, application, passthrough } = upstream;
  const serving = makeServing({
    ...{ clock, meters: base.meters, logger, limits, buffers },
    deadlines: base.connections,
    place: workers > 1 ? { worker, workers } : undefined,
    isProxy: trustedProxies(settings.trustedProxies),
    sharedState,
  });
  const departures = new Departures();
  const mirrors = makeMirrors({
    ...{ clock, host, sinks, clusters },
    onOutside: (...copy) => departures.add(copyOf(...copy)),
  });
  const faults = makeFaults({ clock, sinks, logger, tells: worker === 0 });
  const limiter = makeLimiter(clock, sharedState.rates);
  const outbound = {
    ...{ snapshot, lookups, host, sinks },
    ...{ clusters, passthrough, mirrors, faults, departures },
  };
  const observer = new Observer({
    lines: makeRefusalLog(logger, clock),
    meters: base.meters,
  });
  const tokens = new TokenVerifier({ clock, logger });
  const checks = makeChecks(tokens, { clock, snapshot, meters: base.meters });
  const inbound = {
    ...{ snapshot, host, sinks, application, limiter, checks, ownPorts },
    observer,
  };
  const listeners = makeListeners({
    clock,
    buffers,
    serving,
    snapshot,
    lookups,
    credentials,
    live: base.live,
    fallen: host.fallen,
    refusing: (error) => refusing(sinks, error),
    ownPorts,
    names,
    handed: options.handed,
    shared: workers === 1 ? false : worker === 0 ? "first" : "joined",
    claimsOf: strangersClaims(settings.trustedProxies),
    outbound: (localUpstream) => makeOutbound(outbound, localUpstream),
    inbound: (arrival) => makeInbound(inbound, arrival),
  });
  return {
    serving,
    listeners,
    faults,
    limiter,
    observer,
    departures,
    tokens,
    checks,
    ...watchOver(options, base, host, serving),
  };
}

/** Refuses every request that comes over the link. */
function refusing(sinks: TelemetrySinks, error: MeshError): ServerHandler {
  return {
    request: (stream) =>
      refuse(sinks, "inbound", stream, "unknown", error, true),
  };
}

/** Gives up what stands still, and takes less where memory runs short. */
export function watchOver(
  { clock, logger }: WorkerOptions,
  { meters, limits, buffers }: Base,
  host: RelayHost,
  serving: Serving,
): Pick<Downstream, "eviction" | "memory"> {
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
  return { eviction, memory };
}

function ignoreSpan(): void {
  // Nobody wants the spans.
}

/** 0 where nobody takes the spans: a parent's decision is still passed on. */
function samplingPercentage(
  tracing: TracingChoice | undefined,
): TracingOptions["samplingPercentage"] {
  if (tracing === undefined) return () => 0;
  const { samplingPercentage: fixed } = tracing;
  return (rules) => fixed ?? rules.samplingPercentage;
}

function tracingOf(snapshot: {
  readonly value: Snapshot | undefined;
}): MeshSettings["defaults"]["tracing"] {
  return (snapshot.value?.mesh ?? MESH_DEFAULTS).defaults.tracing;
}
