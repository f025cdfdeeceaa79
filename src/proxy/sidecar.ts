/**
 * A whole sidecar: listeners first, so that the agent can register their ports; then config and certificate; then, once the
 * application answers, readiness; and in the end everything in reverse (law 12).
 */
import type { Agent, AgentState } from "../agent/agent.ts";
import { systemClock, type Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { cannotListen } from "../core/listening.ts";
import { silentLogger, type Logger } from "../core/log.ts";
import { watchSource } from "../core/watch.ts";
import type { Credentials } from "../identity/credentials.ts";
import type { Snapshot } from "../policy/snapshot.ts";
import { MESH_DEFAULTS } from "../resources/mesh.ts";
import { makeAccessLog, type AccessLogMode } from "../telemetry/access-log.ts";
import { makeMetrics, type MetricsRegistry } from "../telemetry/metrics.ts";
import { makeTracing, type SpanSink } from "../telemetry/tracing.ts";
import type { Protocol } from "../wire/exchange.ts";
import type { Books } from "./account.ts";
import { servePages } from "./admin.ts";
import { watchIdle } from "./idle.ts";
import { makeInbound } from "./inbound.ts";
import { makeListeners } from "./listeners.ts";
import {
  DEFAULT_PORTS,
  openAll,
  type BoundPorts,
  type PublishedPort,
  type SidecarPorts,
  type UpstreamPort,
} from "./ports.ts";
import { makeMeters } from "./meters.ts";
import { makeOutbound } from "./outbound.ts";
import { adminPages, collectGauges, metricsPages } from "./pages.ts";
import { startProbe } from "./probe.ts";
import type { RelayHost } from "./relay.ts";
import { makeReplayBudget } from "./replay.ts";
import { makeServing } from "./serving.ts";
import { shutDown } from "./shutdown.ts";
import { makeApplication } from "./upstream/application.ts";
import { makeClusters } from "./upstream/endpoints.ts";
import { makeOutside } from "./upstream/passthrough.ts";
import { makePools } from "./upstream/pools.ts";

export { DEFAULT_PORTS, type BoundPorts, type SidecarPorts } from "./ports.ts";

export interface SidecarOptions {
  /** Starts the agent, which registers the link's port. Called once the listeners are bound. */
  agent(ports: BoundPorts): Promise<Agent>;
  readonly ports?: SidecarPorts;
  /** For the link, captured and published connections: "::" is every address of both families. */
  readonly host?: string;
  /** For metrics and readiness. */
  readonly metricsHost?: string;
  /** Open doors for callers without a sidecar, under PeerAuthentication. */
  readonly publish?: readonly PublishedPort[];
  readonly upstream?: readonly UpstreamPort[];
  /** The application's ports for the probe; those of its Services where absent. */
  readonly appPorts?: readonly number[];
  readonly appAddress?: string;
  readonly accessLog?: AccessLogMode;
  /** The file that the access log is appended to; standard output where absent. */
  readonly accessLogFile?: string;
  readonly writeAccessLog?: (line: string) => void;
  readonly tracing?: {
    readonly sink: SpanSink;
    /** In place of the Mesh's percentage. */
    readonly samplingPercentage?: number;
  };
  readonly metrics?: MetricsRegistry;
  readonly linkProtocol?: Protocol;
  /** Milliseconds that requests under way may take at shutdown. */
  readonly drainTimeout?: number;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

export interface Sidecar {
  readonly ports: BoundPorts;
  readonly agent: Agent;
  /** Config and certificate are there and the application answers. */
  readonly ready: boolean;
  /** Resolves once `ready` was true for the first time. */
  readonly whenReady: Promise<void>;
  /** In order, without losing a request; the same promise however often it is called. */
  shutDown(): Promise<void>;
  /** At once. */
  destroy(): Promise<void>;
}

const NO_AGENT: AgentState = { source: "none", connected: false };
const MAX_SERIES = 10_000;
const MAX_ACTIVE = 16_384;
const DRAIN_TIMEOUT = 30_000;

export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const clock = options.clock ?? systemClock;
  const logger = options.logger ?? silentLogger;
  const snapshot = watchSource<Snapshot | undefined>(undefined);
  const credentials = watchSource<Credentials | undefined>(undefined);
  const ownPorts = new Set<number>();

  // The books: what is told of every request.
  const registry = options.metrics ?? makeMetrics({ maxSeries: MAX_SERIES });
  const meters = makeMeters(registry);
  const accessLog = makeAccessLog({
    mode: options.accessLog ?? "errors",
    file: options.accessLogFile,
    clock,
    ...(options.writeAccessLog === undefined
      ? {}
      : { write: options.writeAccessLog }),
  });
  const books: Books = {
    clock,
    meters,
    log: accessLog,
    tracing: makeTracing({
      clock,
      sink: options.tracing?.sink ?? ignoreSpan,
      samplingPercentage: samplingPercentage(options, snapshot),
    }),
  };

  // Upstream: pools, clusters, what lies outside, and the application.
  const pools = makePools({
    clock,
    credentials,
    ownPorts,
    linkProtocol: options.linkProtocol ?? "h2",
  });
  const clusters = makeClusters({ clock, pools, meters, logger });
  const address = options.appAddress ?? "127.0.0.1";
  const application = makeApplication({ clock, pools, address });
  const host: RelayHost = {
    clock,
    idle: watchIdle(clock),
    replay: makeReplayBudget(),
    maxActive: MAX_ACTIVE,
  };

  // Listeners, before there is anything to serve from: until then each refuses with its reason.
  const serving = makeServing({ clock, meters, logger });
  const outside = makeOutside(clock, pools);
  const outbound = { snapshot, host, books, clusters, outside };
  const inbound = { snapshot, host, books, application, ownPorts };
  const listeners = makeListeners({
    clock,
    logger,
    serving,
    snapshot,
    credentials,
    ownPorts,
    outbound: (upstream) => makeOutbound(outbound, upstream),
    inbound: (arrival) => makeInbound(inbound, arrival),
  });
  const open = await openAll(listeners, options).catch((thrown: unknown) => {
    clusters.close();
    host.idle.close();
    accessLog.close();
    throw thrown;
  });

  // Pages, then the agent, whose config and certificate go to everyone who watches.
  let unready = false;
  const answering = watchSource(false);
  const isReady = (): boolean =>
    !unready &&
    answering.value &&
    snapshot.value !== undefined &&
    credentials.value !== undefined;
  const closers: (() => Promise<void> | void)[] = [];
  const servers = { admin: -1, metrics: -1 };
  let shuttingDown: Promise<void> | undefined;
  const running: { agent?: Agent } = {};
  const pageState = {
    clock,
    logger,
    registry,
    clusters,
    pools,
    snapshot,
    credentials,
    agentState: () => running.agent?.state.value ?? NO_AGENT,
    isReady,
    drain: () => void stop(),
  };
  const wanted = options.ports ?? DEFAULT_PORTS;
  for (const kind of ["admin", "metrics"] as const) {
    const port = wanted[kind];
    if (port === undefined) continue;
    const pagesHost =
      kind === "admin" ? "127.0.0.1" : (options.metricsHost ?? "::");
    const server = await servePages({
      host: pagesHost,
      port,
      logger,
      localOnly: kind === "admin",
      pages: kind === "admin" ? adminPages(pageState) : metricsPages(pageState),
    }).catch(async (thrown: unknown) => {
      // What is open already would keep the process alive.
      await end();
      throw cannotListen(
        {
          what: `the ${kind} pages`,
          host: pagesHost,
          port,
          option: `--${kind}-port`,
        },
        thrown,
      );
    });
    ownPorts.add(server.port);
    servers[kind] = server.port;
    closers.push(() => server.close());
  }
  const ports: BoundPorts = {
    ...open.ports,
    admin: servers.admin < 0 ? undefined : servers.admin,
    metrics: servers.metrics < 0 ? undefined : servers.metrics,
  };
  closers.push(collectGauges(meters, pageState));
  let started: Agent;
  try {
    started = await options.agent(ports);
  } catch (error) {
    await end();
    throw error;
  }
  running.agent = started;
  closers.push(
    follow(started.credentials, (value) => credentials.set(value)),
    follow(started.snapshot, (value) => {
      if (value !== undefined) clusters.apply(value);
      snapshot.set(value);
    }),
  );

  // The application: ready only once it answers (law 12).
  const probe = startProbe({
    clock,
    address,
    ports: () =>
      options.appPorts ??
      snapshot.value?.inbound.ports.map(({ targetPort }) => targetPort) ??
      [],
  });
  closers.push(
    () => probe.close(),
    probe.answers.subscribe((answers) => {
      answering.set(answers);
      started
        .setReady(answers)
        .catch((error: unknown) =>
          logger.warn({ error: messageOf(error) }, "readiness was not told"),
        );
    }),
  );
  const whenReady = new Promise<void>((resolve) => {
    const look = (): void => {
      if (isReady()) resolve();
    };
    for (const watch of [answering, snapshot, credentials])
      closers.push(watch.subscribe(look));
    look();
  });

  async function end(): Promise<void> {
    open.closeInbound();
    open.closeOutbound();
    for (const close of closers.splice(0)) await close();
    serving.destroy();
    pools.destroy();
    clusters.close();
    host.idle.close();
    await running.agent?.close();
    accessLog.close();
  }

  function stop(): Promise<void> {
    shuttingDown ??= shutDown({
      clock,
      logger,
      drainTimeout: options.drainTimeout ?? DRAIN_TIMEOUT,
      steps: {
        unready: () => (unready = true),
        deregister: () => started.deregister(),
        refuseInbound() {
          open.stopInbound();
          serving.drain(isInbound);
        },
        refuseOutbound() {
          open.closeOutbound();
          serving.drain(isOutbound);
        },
        // A connection that was told to drain may still bring a request that was sent before its peer had heard of it.
        inboundActive: () =>
          meters.active.inbound.value + serving.open(isInbound) + open.arriving,
        outboundActive: () => meters.active.outbound.value,
        end,
      },
    });
    return shuttingDown;
  }

  return {
    ports,
    agent: started,
    get ready() {
      return isReady();
    },
    whenReady,
    shutDown: stop,
    async destroy() {
      unready = true;
      await end();
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
  { tracing }: SidecarOptions,
  snapshot: { readonly value: Snapshot | undefined },
): () => number {
  if (tracing === undefined) return () => 0;
  const { samplingPercentage: fixed } = tracing;
  if (fixed !== undefined) return () => fixed;
  return () =>
    (snapshot.value?.mesh ?? MESH_DEFAULTS).defaults.tracing
      .randomSamplingPercentage;
}

/** The present value and every later one. */
function follow<T>(
  watch: { readonly value: T; subscribe(run: (value: T) => void): () => void },
  run: (value: T) => void,
): () => void {
  const stop = watch.subscribe(run);
  run(watch.value);
  return stop;
}
