/**
 * A whole sidecar: listeners first, so that the agent can register their ports; then config and certificate, with which the proxy is
 * ready; then, once the application answers, the workload; and in the end everything in reverse (law 12).
 */
import type { Agent, AgentState } from "../agent/agent.ts";
import { systemClock, type Clock } from "../core/clock.ts";
import {
  makeSharedState,
  type SharedState,
} from "../core/shared/shared-state.ts";
import { messageOf } from "../core/errors.ts";
import type { LocalToken } from "../core/local/local-token.ts";
import { defectIn, silentLogger, type Logger } from "../core/log.ts";
import { keepAlive } from "../core/keep-alive.ts";
import { DEFECT_DRAIN } from "../runtime/last-resort.ts";
import { watchSource } from "../core/watch.ts";
import { makeMetrics } from "../telemetry/metrics.ts";
import {
  collectGauges,
  openPages,
  type OpenPages,
  type PageState,
} from "./admin/pages.ts";
import type { BoundPorts } from "../proxy/downstream/ports.ts";
import {
  HandedListeners,
  type ListeningSocket,
} from "../proxy/downstream/handed-listeners.ts";
import type { LocalConnections } from "../proxy/downstream/acceptor.ts";
import {
  startApplication,
  type Application,
  type Living,
} from "./application.ts";
import type { ShutdownWish, Sidecar, SidecarOptions } from "./contract.ts";
import { followAgent } from "./follow-agent.ts";
import { takeApart, type Handed } from "./handover/share-out.ts";
import { NamingPlace } from "./naming/place.ts";
import { openAccessLog, type OpenAccessLog } from "./open-access-log.ts";
import type { PortsFound } from "./probe.ts";
import { makeReadiness, type Readiness } from "./readiness.ts";
import { DEFAULT_SETTINGS, type SidecarSettings } from "./settings.ts";
import { shutDown, type OwnSteps } from "./shutdown.ts";
import { threadData } from "./workers/thread-data.ts";
import { startWorkerPool, type WorkerPool } from "./workers/worker-pool.ts";
import {
  MAX_SERIES,
  startWorker,
  type ProxyWorker,
  type Side,
  type TracingChoice,
} from "./workers/worker.ts";

export type { Sidecar, SidecarOptions } from "./contract.ts";
export { DEFAULT_PORTS, type BoundPorts } from "../proxy/downstream/ports.ts";

const NO_AGENT: AgentState = { source: "none", connected: false };

export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const {
    agent,
    handed: sockets = [],
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
  const handed = takeApart(sockets, settings.concurrency);
  const log = openAccessLog(settings, writeAccessLog, clock);
  const worker = await startWorker({
    clock,
    handed: new HandedListeners(handed.workers[0] ?? []),
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
    ...{ tracing, log, worker, onLost, application, handed },
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
  readonly handed: Handed;
}

class RunningSidecar implements Sidecar {
  readonly readiness: Readiness;
  readonly whenReady: Promise<void>;
  readonly #parts: Parts;
  /** The other workers, in threads of their own. */
  readonly #workerPool: WorkerPool | undefined;
  readonly #over = Promise.withResolvers<Error | undefined>();
  readonly #portsFound = watchSource<PortsFound | undefined>(undefined);
  readonly #closers: (() => Promise<void> | void)[] = [];
  #ports: BoundPorts;
  #agent: Agent | undefined;
  #pages: OpenPages | undefined;
  readonly #naming: NamingPlace;
  /** What was handed over for the pages. */
  readonly #handedPages: HandedListeners;
  #leaving = false;
  #lost: Error | undefined;
  #shuttingDown: Promise<void> | undefined;
  /** Aborted: nobody waits for the application's end. */
  readonly #hurry = new AbortController();
  #application: Application | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#handedPages = new HandedListeners(parts.handed.pages);
    this.#ports = {
      ...parts.worker.ports,
      admin: undefined,
      metrics: undefined,
    };
    // The others listen on the same ports, while pages and agent begin.
    this.#workerPool = this.#startWorkerPool();
    this.#naming = new NamingPlace(parts, this.#workerPool);
    this.readiness = makeReadiness({
      clock: parts.clock,
      credentials: parts.worker.credentials,
      ended: () => this.#agent?.newest?.(),
      snapshot: parts.worker.snapshot,
      application: this.#portsFound,
      resolver: this.#naming.state,
      leaving: () => this.#leaving,
    });
    this.whenReady = this.#watchReadiness();
  }

  get ports(): BoundPorts {
    return this.#ports;
  }

  metrics(): Promise<string> {
    return this.#pages?.metricsText() ?? Promise.resolve("");
  }

  reopenAccessLog(): boolean {
    return this.#parts.log.reopen();
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
      await this.#naming.load();
      if (this.#naming.state?.value === undefined) await this.#naming.open();
      this.#agent = await startAgent(this.#ports, this.#workerPool);
      await this.#workerPool?.open;
    } catch (error) {
      // What is open already would keep the process alive.
      await this.#end();
      throw error;
    }
    this.#closers.push(
      ...followAgent(this.#agent, this.#parts, this.#workerPool),
    );
    this.#probeApplication(this.#agent);
  }

  get inFlight(): Readonly<Record<Side, number>> {
    return {
      inbound: this.#active("inbound"),
      outbound: this.#active("outbound"),
    };
  }

  shutDown({ outliveApplication, most }: ShutdownWish = {}): Promise<void> {
    if (outliveApplication !== true) this.#hurry.abort();
    this.#shuttingDown ??= this.#shutDown(most, {
      deregister: () => this.#agent?.deregister() ?? Promise.resolve(),
      refuseInbound: () => this.#refuse("inbound"),
      applicationGone: () => this.#application?.gone() ?? Promise.resolve(true),
      refuseOutbound: () => this.#refuse("outbound"),
      end: () => this.#end(),
    });
    return this.#shuttingDown;
  }

  #beginEnd(wish: ShutdownWish): void {
    this.shutDown(wish).catch(defectIn(this.#parts.logger, "the end"));
  }

  async sockets(): Promise<readonly ListeningSocket[]> {
    // Whoever takes them over starts from the disk.
    await this.#agent?.keep?.();
    return [
      ...this.#parts.worker.sockets,
      ...((await this.#workerPool?.sockets()) ?? []),
      ...(this.#pages?.sockets ?? []),
      ...this.#naming.sockets,
    ];
  }

  async begin(): Promise<void> {
    await this.#naming.learn();
    await Promise.all([
      this.#parts.worker.begin(),
      this.#workerPool?.begin(),
      this.#handedPages.begin(),
      this.#naming.open(),
    ]);
  }

  async handOver(): Promise<void> {
    if (this.#shuttingDown !== undefined)
      throw new Error("it is about to end itself");
    const letGo = keepAlive();
    const retired = Promise.withResolvers<undefined>();
    this.#hurry.abort();
    this.#shuttingDown = this.#shutDown(undefined, {
      // Its lease is the other process's.
      deregister: () => retired.promise,
      refuseInbound: () => undefined,
      applicationGone: () => Promise.resolve(true),
      refuseOutbound: () => undefined,
      end: () => this.#end().finally(letGo),
    });
    this.#pages?.stop();
    this.#naming.retire();
    this.#parts.worker.retire();
    this.#workerPool?.retire();
    try {
      await this.#agent?.letGo?.();
    } finally {
      retired.resolve(undefined);
    }
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
      handed: this.#parts.handed.workers,
      lines: log.sink,
      spans: (span) => tracing?.sink(span),
      onLost: (error) => {
        this.#lost = error;
        this.#parts.onLost?.(error);
        logger.fatal(
          { error: error.message },
          "a worker was lost: this sidecar ends in order, to be started again",
        );
        this.#beginEnd({ most: DEFECT_DRAIN });
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
      certificate: () => worker.credentials.value ?? this.#agent?.newest?.(),
      held: () => this.#agent?.lookups?.held(),
      resolver: () => this.#naming.view(),
      readiness: this.readiness,
      drain: () => this.#beginEnd({ outliveApplication: true }),
      quit: () => this.#beginEnd({}),
    };
    const handed = this.#handedPages;
    const pages = await openPages({ ...settings, adminToken, handed }, state);
    this.#pages = pages;
    this.#closers.push(() => pages.close());
    const { admin, metrics } = pages;
    for (const port of [admin, metrics])
      if (port !== undefined) worker.ownPorts.add(port);
    workerPool?.ownPorts(worker.ownPorts);
    this.#ports = { ...worker.ports, admin, metrics };
    this.#closers.push(collectGauges(worker.meters, state));
  }

  /** A port of the workload is ready only once the application answers on it (law 12). */
  #probeApplication(agent: Agent): void {
    const { clock, logger, settings, worker } = this.#parts;
    const application = startApplication({
      ...{ clock, logger, ownPorts: worker.ownPorts },
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
      application.found.subscribe((found) => {
        this.#portsFound.set(found);
        agent
          .setReady(found?.answers === true, found?.silent)
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

  #shutDown(most: number | undefined, own: OwnSteps): Promise<void> {
    const { clock, logger, settings, worker } = this.#parts;
    return shutDown({
      ...{ clock, logger, hurry: this.#hurry.signal },
      drainTimeout: Math.min(settings.drainTimeout, most ?? Infinity),
      steps: {
        unready: () => this.#leave(),
        inboundActive: () => this.#active("inbound"),
        outboundActive: () => this.#active("outbound") + this.#naming.waiting,
        depart: () => {
          worker.depart();
          this.#workerPool?.depart();
        },
        ...own,
      },
    });
  }

  #active(side: Side): number {
    const others = this.#workerPool?.active(side) ?? 0;
    return this.#parts.worker.active(side) + others;
  }

  #refuse(side: Side): void {
    this.#parts.worker.refuse(side);
    this.#workerPool?.refuse(side);
  }

  async #end(): Promise<void> {
    for (const close of this.#closers.splice(0)) await close();
    this.#naming.close();
    this.#parts.worker.destroy();
    await this.#workerPool?.end();
    await this.#agent?.close();
    this.#parts.log.close();
    this.#over.resolve(this.#lost);
  }
}
