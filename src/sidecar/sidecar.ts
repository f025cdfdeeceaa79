/**
 * A whole sidecar: listeners first, so that the agent can register their ports; then config and certificate, with which the proxy is
 * ready; then, once the application answers, the workload; and in the end everything in reverse (law 12).
 */
import type { Agent, AgentState, Peers } from "../agent/agent.ts";
import { systemClock, type Clock } from "../core/clock.ts";
import {
  makeSharedState,
  type SharedState,
} from "../core/shared/shared-state.ts";
import { messageOf } from "../core/errors.ts";
import type { LocalToken } from "../core/local/local-token.ts";
import { silentLogger, type Logger } from "../core/log.ts";
import { followJumps } from "../core/machine/clock-jumps.ts";
import { DEFECT_DRAIN } from "../runtime/last-resort.ts";
import { watchSource } from "../core/watch.ts";
import { makeMetrics, type MetricsRegistry } from "../telemetry/metrics.ts";
import { collectGauges, openPages, type PageState } from "./admin/pages.ts";
import type { BoundPorts } from "../proxy/downstream/ports.ts";
import type { LocalConnections } from "../proxy/downstream/acceptor.ts";
import {
  startApplication,
  type Application,
  type Living,
} from "./application.ts";
import { openAccessLog, type OpenAccessLog } from "./open-access-log.ts";
import { makeReadiness, type Readiness } from "./readiness.ts";
import { DEFAULT_SETTINGS, type SidecarSettings } from "./settings.ts";
import { shutDown } from "./shutdown.ts";
import { threadData } from "./workers/thread-data.ts";
import { startWorkerPool, type WorkerPool } from "./workers/worker-pool.ts";
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
  /** The token that is needed to change something by the admin port; where absent, nobody does. */
  readonly adminToken?: LocalToken | undefined;
  /** The application's process, where it is known: with it the sidecar knows when the application is gone. */
  readonly application?: Living | undefined;
  /** Takes the lines of the first worker in place of a file. */
  readonly writeAccessLog?: (line: string) => void;
  readonly tracing?: TracingChoice;
  readonly metrics?: MetricsRegistry;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** A worker was lost, by a defect: the sidecar ends in order. */
  readonly onLost?: (error: Error) => void;
}

export interface ShutdownWish {
  /** Serves what the application calls until that is gone. A later wish without it ends this wait. */
  readonly outliveApplication?: boolean;
  /** Milliseconds that all of it may take, in place of a setting that is longer. */
  readonly most?: number | undefined;
}

export interface Sidecar {
  readonly ports: BoundPorts;
  readonly agent: Agent;
  readonly readiness: Readiness;
  /** Resolves once the proxy was ready for the first time. */
  readonly whenReady: Promise<void>;
  readonly inFlight: Readonly<Record<Side, number>>;
  /** In order, without losing a request; the same promise however often it is called. */
  shutDown(how?: ShutdownWish): Promise<void>;
  /** At once. */
  destroy(): Promise<void>;
  /** Resolves when it has ended, for whatever reason; with the error where a worker was lost, and it ended for that. */
  readonly over: Promise<Error | undefined>;
}

const NO_AGENT: AgentState = { source: "none", connected: false };

export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const {
    agent,
    adminToken,
    application,
    writeAccessLog,
    tracing,
    metrics = makeMetrics({ maxSeries: MAX_SERIES }),
    clock = systemClock,
    logger = silentLogger,
    onLost,
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
  const parts = {
    ...{ clock, logger, settings, sharedState },
    ...{ tracing, log, worker, onLost, application },
  };
  const sidecar = new RunningSidecar(parts);
  await sidecar.start(agent, adminToken);
  return sidecar;
}

interface Parts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: SidecarSettings;
  readonly sharedState: SharedState;
  readonly tracing: TracingChoice | undefined;
  readonly log: OpenAccessLog;
  readonly worker: ProxyWorker;
  readonly onLost: SidecarOptions["onLost"];
  readonly application: Living | undefined;
}

class RunningSidecar implements Sidecar {
  readonly readiness: Readiness;
  readonly whenReady: Promise<void>;
  readonly #parts: Parts;
  /** The other workers, in threads of their own. */
  readonly #workerPool: WorkerPool | undefined;
  readonly #over = Promise.withResolvers<Error | undefined>();
  /** The application answers. */
  readonly #answering = watchSource(false);
  readonly #closers: (() => Promise<void> | void)[] = [];
  #ports: BoundPorts;
  #agent: Agent | undefined;
  /** On its way out. */
  #leaving = false;
  #lost: Error | undefined;
  #shuttingDown: Promise<void> | undefined;
  /** Aborted: nobody waits for the application's end. */
  readonly #hurry = new AbortController();
  #application: Application | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#ports = {
      ...parts.worker.ports,
      admin: undefined,
      metrics: undefined,
    };
    // The others listen on the same ports, while pages and agent begin.
    this.#workerPool = this.#startWorkerPool();
    this.readiness = makeReadiness({
      clock: parts.clock,
      credentials: parts.worker.credentials,
      snapshot: parts.worker.snapshot,
      answering: this.#answering,
      leaving: () => this.#leaving,
    });
    this.whenReady = this.#watchReadiness();
  }

  get ports(): BoundPorts {
    return this.#ports;
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new TypeError("start() comes first");
    return this.#agent;
  }

  get over(): Promise<Error | undefined> {
    return this.#over.promise;
  }

  /** Pages, then the agent, whose config and certificate go to all that watch; and the probe of the application. */
  async start(
    startAgent: SidecarOptions["agent"],
    adminToken: LocalToken | undefined,
  ): Promise<void> {
    try {
      await this.#openPages(adminToken);
      this.#agent = await startAgent(this.#ports, this.#workerPool);
      await this.#workerPool?.open;
    } catch (error) {
      // What is open already would keep the process alive.
      await this.#end();
      throw error;
    }
    this.#follow(this.#agent);
    this.#probeApplication(this.#agent);
  }

  get inFlight(): Readonly<Record<Side, number>> {
    return {
      inbound: this.#active("inbound"),
      outbound: this.#active("outbound"),
    };
  }

  shutDown({ outliveApplication, most }: ShutdownWish = {}): Promise<void> {
    const { clock, logger, settings } = this.#parts;
    if (outliveApplication !== true) this.#hurry.abort();
    this.#shuttingDown ??= shutDown({
      clock,
      logger,
      drainTimeout: Math.min(settings.drainTimeout, most ?? Infinity),
      hurry: this.#hurry.signal,
      steps: {
        unready: () => this.#leave(),
        deregister: () => this.#agent?.deregister() ?? Promise.resolve(),
        refuseInbound: () => this.#refuse("inbound"),
        applicationGone: () =>
          this.#application?.gone() ?? Promise.resolve(true),
        refuseOutbound: () => this.#refuse("outbound"),
        inboundActive: () => this.#active("inbound"),
        outboundActive: () => this.#active("outbound"),
        end: () => this.#end(),
      },
    });
    return this.#shuttingDown;
  }

  async destroy(): Promise<void> {
    this.#leaving = true;
    await this.#end();
  }

  #startWorkerPool(): WorkerPool | undefined {
    const { clock, logger, sharedState, tracing, log } = this.#parts;
    const data = threadData(this.#parts);
    if (data === undefined) return undefined;
    return startWorkerPool({
      clock,
      threads: sharedState.workers - 1,
      data,
      lines: log.sink,
      spans: (span) => tracing?.sink(span),
      onLost: (error) => {
        this.#lost = error;
        this.#parts.onLost?.(error);
        logger.fatal(
          { error: error.message },
          "a worker was lost: this sidecar ends in order, to be started again",
        );
        void this.shutDown({ most: DEFECT_DRAIN });
      },
    });
  }

  #watchReadiness(): Promise<void> {
    return new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.readiness.proxy) resolve();
      };
      this.#closers.push(this.readiness.subscribe(look));
    });
  }

  async #openPages(adminToken: LocalToken | undefined): Promise<void> {
    const { clock, logger, settings, worker } = this.#parts;
    const workerPool = this.#workerPool;
    const state: PageState = {
      clock,
      logger,
      worker,
      workerPool,
      agentState: () => this.#agent?.state.value ?? NO_AGENT,
      held: () => this.#agent?.lookups?.held(),
      readiness: this.readiness,
      drain: () => void this.shutDown({ outliveApplication: true }),
      quit: () => void this.shutDown(),
    };
    const pages = await openPages({ ...settings, adminToken }, state);
    this.#closers.push(() => pages.close());
    for (const port of [pages.admin, pages.metrics])
      if (port !== undefined) worker.ownPorts.add(port);
    workerPool?.ownPorts(worker.ownPorts);
    this.#ports = {
      ...worker.ports,
      admin: pages.admin,
      metrics: pages.metrics,
    };
    this.#closers.push(collectGauges(worker.meters, state));
  }

  #follow(agent: Agent): void {
    const { worker } = this.#parts;
    const { lookups } = agent;
    if (lookups !== undefined) {
      worker.lookups = lookups;
      this.#workerPool?.lookups(lookups);
      this.#closers.push(lookups.watchExchanges(() => worker.servicesInUse()));
    }
    if (agent.reports !== undefined) {
      this.#workerPool?.reports(agent.reports);
      this.#closers.push(agent.reports.watch(() => worker.sightings()));
    }
    this.#closers.push(
      followJumps({
        ...this.#parts,
        count: (direction) => worker.meters.clockJumps.with(direction).add(1),
        onJump: () => agent.clockJumped(),
      }),
      follow(agent.credentials, (value) => {
        worker.credentials.set(value);
        if (value !== undefined) this.#workerPool?.credentials(value);
      }),
      follow(agent.snapshot, (value) => {
        if (value !== undefined) worker.apply(value);
      }),
    );
  }

  /** The workload is ready only once the application answers (law 12). */
  #probeApplication(agent: Agent): void {
    const { clock, logger, settings, worker } = this.#parts;
    const application = startApplication({
      clock,
      address: settings.appAddress,
      ports: () =>
        settings.appPorts ??
        worker.snapshot.value?.inbound.ports.map(
          ({ targetPort }) => targetPort,
        ) ??
        [],
      connections: () => this.#localConnections(),
      process: this.#parts.application,
    });
    this.#application = application;
    this.#closers.push(
      () => application.close(),
      application.answers.subscribe((answers) => {
        this.#answering.set(answers);
        agent
          .setReady(answers)
          .catch((error: unknown) =>
            logger.warn({ error: messageOf(error) }, "readiness was not told"),
          );
      }),
    );
  }

  #leave(): void {
    this.#leaving = true;
    this.#application?.leave();
  }

  async #localConnections(): Promise<readonly LocalConnections[]> {
    const others = (await this.#workerPool?.localConnections()) ?? [];
    return [this.#parts.worker.localConnections(), ...others];
  }

  #active(side: Side): number {
    return (
      this.#parts.worker.active(side) + (this.#workerPool?.active(side) ?? 0)
    );
  }

  #refuse(side: Side): void {
    this.#parts.worker.refuse(side);
    this.#workerPool?.refuse(side);
  }

  async #end(): Promise<void> {
    for (const close of this.#closers.splice(0)) await close();
    this.#parts.worker.destroy();
    await this.#workerPool?.end();
    await this.#agent?.close();
    this.#parts.log.close();
    this.#over.resolve(this.#lost);
  }
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
