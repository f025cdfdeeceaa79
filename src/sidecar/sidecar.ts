/**
 * A whole sidecar: listeners first, so that the agent can register their ports; then config and certificate; then, once the
 * application answers, readiness; and in the end everything in reverse (law 12).
 */
import type { Agent, AgentState, Peers } from "../agent/agent.ts";
import { systemClock, type Clock } from "../core/clock.ts";
import {
  makeSharedState,
  type SharedState,
  type SharedStateData,
} from "../core/shared/shared-state.ts";
import { messageOf } from "../core/errors.ts";
import type { LocalToken } from "../core/local/local-token.ts";
import { silentLogger, type Logger } from "../core/log.ts";
import { watchSource } from "../core/watch.ts";
import {
  makeAccessLog,
  openAccessFile,
  type AccessLog,
} from "../telemetry/access-log.ts";
import type { LineSink } from "../telemetry/line-file.ts";
import { makeMetrics, type MetricsRegistry } from "../telemetry/metrics.ts";
import { collectGauges, openPages, type PageState } from "./admin/pages.ts";
import type { BoundPorts, SidecarPorts } from "../proxy/downstream/ports.ts";
import { startProbe } from "./probe.ts";
import { DEFAULT_SETTINGS, type SidecarSettings } from "./settings.ts";
import { shutDown } from "./shutdown.ts";
import { startWorkerPool } from "./workers/worker-pool.ts";
import {
  MAX_SERIES,
  startWorker,
  type ProxyWorker,
  type Side,
  type TracingChoice,
} from "./workers/worker.ts";

export { DEFAULT_PORTS, type BoundPorts } from "../proxy/downstream/ports.ts";

/** Settings that are left out are the defaults. */
export interface SidecarOptions extends Partial<SidecarSettings> {
  /** Starts the agent, which registers the link's port. Called once the listeners are bound. `peers`: the other workers. */
  readonly agent: (ports: BoundPorts, peers?: Peers) => Promise<Agent>;
  /** What whoever changes something by the admin port must bring; where absent, nobody does. */
  readonly adminToken?: LocalToken | undefined;
  /** Takes the lines of the first worker in place of a file. */
  readonly writeAccessLog?: (line: string) => void;
  readonly tracing?: TracingChoice;
  readonly metrics?: MetricsRegistry;
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
  /** Resolves when it has ended, whoever wished it; with the error where a worker was lost, and it ended for that. */
  readonly over: Promise<Error | undefined>;
}

const NO_AGENT: AgentState = { source: "none", connected: false };

export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const {
    agent: startAgent,
    adminToken,
    writeAccessLog,
    tracing,
    metrics = makeMetrics({ maxSeries: MAX_SERIES }),
    clock = systemClock,
    logger = silentLogger,
    ...given
  } = options;
  const settings = { ...DEFAULT_SETTINGS, ...given };
  const sharedState = makeSharedState(settings.concurrency);

  // The first worker is this thread's: it opens the listeners, which refuse with their reason until there is anything to serve by.
  const log = openAccessLog(settings, writeAccessLog, clock);
  const worker = await startWorker({
    clock,
    sharedState,
    logger,
    registry: metrics,
    accessLog: log.accessLog,
    tracing,
    settings,
  }).catch((thrown: unknown) => {
    log.close();
    throw thrown;
  });
  const { snapshot, credentials, ownPorts } = worker;
  const over = Promise.withResolvers<Error | undefined>();
  let lost: Error | undefined;

  // The others listen on the same ports, while pages and agent begin.
  const data = threadData(sharedState);
  const workerPool =
    data === undefined
      ? undefined
      : startWorkerPool({
          clock,
          threads: data.workers - 1,
          data: {
            sharedState: data,
            settings: {
              ...settings,
              ports: portsOf(worker.ports),
              ...worker.doors,
            },
            tracing: percentageOf(tracing),
            log: { level: logger.level, bindings: logger.bindings() },
          },
          lines: log.sink,
          spans: (span) => tracing?.sink(span),
          onLost(error) {
            lost = error;
            logger.fatal(
              { error: error.message },
              "a worker was lost: this sidecar ends in order, to be started again",
            );
            void stop();
          },
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
  let shuttingDown: Promise<void> | undefined;
  const running: { agent?: Agent } = {};
  const pageState: PageState = {
    clock,
    logger,
    worker,
    workerPool,
    agentState: () => running.agent?.state.value ?? NO_AGENT,
    isReady,
    drain: () => void stop(),
  };
  let started: Agent;
  let ports: BoundPorts;
  try {
    const pages = await openPages({ ...settings, adminToken }, pageState);
    closers.push(() => pages.close());
    for (const port of [pages.admin, pages.metrics])
      if (port !== undefined) ownPorts.add(port);
    workerPool?.ownPorts(ownPorts);
    ports = { ...worker.ports, admin: pages.admin, metrics: pages.metrics };
    closers.push(collectGauges(worker.meters, pageState));
    started = await startAgent(ports, workerPool);
    running.agent = started;
    await workerPool?.open;
  } catch (error) {
    // What is open already would keep the process alive.
    await end();
    throw error;
  }
  closers.push(
    follow(started.credentials, (value) => {
      credentials.set(value);
      if (value !== undefined) workerPool?.credentials(value);
    }),
    follow(started.snapshot, (value) => {
      if (value !== undefined) worker.apply(value);
    }),
  );

  // The application: ready only once it answers (law 12).
  const probe = startProbe({
    clock,
    address: settings.appAddress,
    ports: () =>
      settings.appPorts ??
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
    for (const close of closers.splice(0)) await close();
    worker.destroy();
    await workerPool?.end();
    await running.agent?.close();
    log.close();
    over.resolve(lost);
  }

  function stop(): Promise<void> {
    const sides = (side: Side): number =>
      worker.active(side) + (workerPool?.active(side) ?? 0);
    const refuse = (side: Side): void => {
      worker.refuse(side);
      workerPool?.refuse(side);
    };
    shuttingDown ??= shutDown({
      clock,
      logger,
      drainTimeout: settings.drainTimeout,
      steps: {
        unready: () => (unready = true),
        deregister: () => running.agent?.deregister() ?? Promise.resolve(),
        refuseInbound: () => refuse("inbound"),
        refuseOutbound: () => refuse("outbound"),
        inboundActive: () => sides("inbound"),
        outboundActive: () => sides("outbound"),
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
    over: over.promise,
  };
}

/** The access log of the first worker, and the file that those of all go to. */
function openAccessLog(
  { accessLog: mode, accessLogFile, concurrency }: SidecarSettings,
  writeAccessLog: SidecarOptions["writeAccessLog"],
  clock: Clock,
): {
  readonly accessLog: AccessLog;
  readonly sink: LineSink;
  close(): void;
} {
  const sink =
    mode === "none" || writeAccessLog !== undefined
      ? NOWHERE
      : openAccessFile(accessLogFile, clock);
  const accessLog = makeAccessLog({
    mode,
    clock,
    sink,
    share: 1 / concurrency,
    ...(writeAccessLog === undefined ? {} : { write: writeAccessLog }),
  });
  return {
    accessLog,
    sink,
    close() {
      accessLog.close();
      sink.close();
    },
  };
}

/** For a test that reads the first worker's lines as they come. */
const NOWHERE: LineSink = {
  take: (block, _length, done) => done(block),
  last: nothing,
  close: nothing,
};

function nothing(): void {
  // There is no file.
}

function threadData({
  workers,
  memory,
  rates,
}: SharedState): SharedStateData | undefined {
  if (memory === undefined || rates === undefined) return undefined;
  return { workers, memory: memory.buffer, rates };
}

/** The same ports again, of what listens. */
function portsOf({
  outbound,
  inbound,
  link,
}: ProxyWorker["ports"]): SidecarPorts {
  return {
    ...(outbound === undefined ? {} : { outbound }),
    ...(inbound === undefined ? {} : { inbound }),
    ...(link === undefined ? {} : { link }),
  };
}

function percentageOf(
  tracing: TracingChoice | undefined,
): { readonly samplingPercentage?: number } | undefined {
  if (tracing === undefined) return undefined;
  const { samplingPercentage } = tracing;
  return samplingPercentage === undefined ? {} : { samplingPercentage };
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
