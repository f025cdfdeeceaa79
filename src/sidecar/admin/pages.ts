/** The pages of a sidecar: admin (config, clusters, stats, certs, logging, drain), and metrics with readiness. */
import type { AgentState } from "../../agent/agent.ts";
import type { HeldView } from "../../agent/interest/held-view.ts";
import type { Clock } from "../../core/clock.ts";
import type { LocalToken } from "../../core/local/local-token.ts";
import { cannotListen } from "../../core/listening.ts";
import type { Logger } from "../../core/log.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type {
  HandedListeners,
  ListeningSocket,
} from "../../proxy/downstream/handed-listeners.ts";
import {
  refusedPage,
  servePages,
  type Page,
  type Pages,
  type PageServer,
} from "./server.ts";
import { HIGHEST, type Meters } from "../../telemetry/meters.ts";
import { sparing } from "./sparing.ts";
import type { SidecarPorts } from "../../proxy/downstream/ports.ts";
import { CHECKS, type Readiness } from "../readiness.ts";
import {
  ageSeconds,
  certsView,
  clustersView,
  configView,
  overloadView,
  workerView,
} from "../workers/views.ts";
import type { WorkerPool } from "../workers/worker-pool.ts";
import {
  mergeClusters,
  mergeMetrics,
  mergeOverload,
} from "../workers/merge.ts";
import type { ProxyWorker } from "../workers/worker.ts";

export interface PageState {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The first worker: config and certificate are the same in all. */
  readonly worker: ProxyWorker;
  /** The other workers; undefined where there are none. */
  readonly workerPool: WorkerPool | undefined;
  agentState(): AgentState;
  /** The one that is in use, or that ended last. */
  certificate(): Credentials | undefined;
  /** What it holds of the mesh, and why; undefined: all that it may use. */
  held(): HeldView | undefined;
  /** What the resolver does; undefined where there is none. */
  resolver(): unknown;
  readonly readiness: Readiness;
  /** Starts the shutdown and returns: the application may have calls to make, or has not. */
  drain(): void;
  quit(): void;
}

export interface OpenPages {
  readonly admin: number | undefined;
  readonly metrics: number | undefined;
  /** What `/metrics` shows. */
  metricsText(): Promise<string>;
  /** What they listen on. */
  readonly sockets: readonly ListeningSocket[];
  /** Accept no more: another process listens there. */
  stop(): void;
  close(): Promise<void>;
}

/** Serves those of the two that have a port. Throws UserError, with none of them open, where one cannot listen. */
export async function openPages(
  options: {
    readonly ports: SidecarPorts;
    readonly metricsHost: string;
    readonly adminToken: LocalToken | undefined;
    readonly handed: HandedListeners;
  },
  state: PageState,
): Promise<OpenPages> {
  const { ports: wanted, metricsHost, handed } = options;
  const servers: PageServer[] = [];
  const close = async (): Promise<void> => {
    for (const each of servers) await each.close();
  };
  const open = async (
    kind: "admin" | "metrics",
    host: string,
    pages: Pages,
  ): Promise<number | undefined> => {
    const port = wanted[kind];
    if (port === undefined) return undefined;
    try {
      const server = await servePages({
        ...{ key: kind, host, port, handed, pages },
        clock: state.clock,
        logger: state.logger,
        audience:
          kind === "admin"
            ? { kind: "local", token: options.adminToken }
            : { kind: "everybody" },
      });
      servers.push(server);
      return server.port;
    } catch (thrown) {
      await close();
      const what = `the ${kind} pages`;
      throw cannotListen(
        { what, host, port, option: `--${kind}-port` },
        thrown,
      );
    }
  };
  return {
    admin: await open("admin", "127.0.0.1", adminPages(state)),
    metrics: await open("metrics", metricsHost, metricsPages(state)),
    metricsText: () => metricsOf(state),
    get sockets() {
      return servers.flatMap(({ sockets }) => sockets);
    },
    stop() {
      for (const server of servers) server.stop();
    },
    close,
  };
}

/** The version of the Prometheus text format that `render` writes. */
const PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8";

function adminPages(state: PageState): Pages {
  const { clock, logger, worker, workerPool } = state;
  const sparingly = (make: () => Page | Promise<Page>): (() => Promise<Page>) =>
    sparing(clock, make);
  return {
    "GET /config": sparingly(() =>
      ok({
        ...configView(
          worker.snapshot.value,
          state.agentState(),
          state.held(),
          clock,
        ),
        dns: state.resolver(),
      }),
    ),
    "GET /clusters": sparingly(() => clusters(state)),
    "GET /overload": () => overload(state),
    "GET /stats": sparingly(() => metrics(state)),
    "GET /workers": sparingly(() => workers(state)),
    "GET /certs": () => ok(certsView(state.certificate(), clock)),
    "GET /logging": () => ok({ level: logger.level }),
    "POST /logging": (query) => {
      const level = query.get("level") ?? "";
      if (!Object.hasOwn(logger.levels.values, level) && level !== "silent")
        return refusedPage(
          "BAD_QUESTION",
          `?level= must be one of ${Object.keys(logger.levels.values).join(", ")}, silent`,
        );
      logger.level = level;
      workerPool?.level(level);
      return ok({ level });
    },
    "POST /drain": () => {
      state.drain();
      return { status: 202, body: "draining; the process ends after it\n" };
    },
    "POST /quit": () => {
      state.quit();
      return {
        status: 202,
        body: "the process ends after what is in flight\n",
      };
    },
    ...health(state),
  };
}

function metricsPages(state: PageState): Pages {
  return {
    "GET /metrics": sparing(state.clock, () => metrics(state)),
    ...health(state),
  };
}

/** Sets the gauges that are computed when asked for. Returns the way to stop. */
export function collectGauges(meters: Meters, state: PageState): () => void {
  const { clock, worker } = state;
  return worker.registry.collect(() => {
    const certificate = state.certificate();
    if (certificate !== undefined)
      meters.certificateExpiry.set(
        (certificate.notAfter - clock.wall()) / 1000,
      );
    const agent = state.agentState();
    meters.configAge.set(ageSeconds(agent, clock) ?? -1);
    meters.configRefused.set(agent.refused === undefined ? 0 : 1);
  });
}

function health({ readiness }: PageState): Pages {
  return {
    "GET /livez": () => ({ status: 200, body: "ok\n" }),
    "GET /readyz": (query) => readyPage(readiness, query.has("application")),
  };
}

/** Each check with what it found: the body tells what is waited for. */
function readyPage(readiness: Readiness, application: boolean): Page {
  const checks = readiness.checks();
  const asked = checks.filter(
    ({ name }) => application || name !== "application",
  );
  const lines = checks.map((check) => {
    const verdict = check.ok ? "ok" : "no";
    const unasked = asked.includes(check) ? "" : " (/readyz?application asks)";
    return `${check.name.padEnd(NAME_WIDTH)} ${verdict}  ${check.detail}${unasked}\n`;
  });
  const missing = asked.filter(({ ok }) => !ok).map(({ name }) => name);
  if (missing.length === 0)
    return { status: 200, body: `ok\n${lines.join("")}` };
  const refused = refusedPage("NOT_READY", missing.join(", "));
  return { ...refused, body: `${String(refused.body)}${lines.join("")}` };
}

const NAME_WIDTH = Math.max(...CHECKS.map(({ length }) => length));

async function metrics(state: PageState): Promise<Page> {
  return { status: 200, body: await metricsOf(state), type: PROMETHEUS };
}

async function metricsOf({ worker, workerPool }: PageState): Promise<string> {
  const own = worker.registry.render();
  if (workerPool === undefined) return own;
  return mergeMetrics([own, ...(await workerPool.metrics())], HIGHEST);
}

async function workers({ worker, workerPool }: PageState): Promise<Page> {
  const others = (await workerPool?.workers()) ?? [];
  return ok([workerView(0, worker.meters, worker.pools), ...others]);
}

function clusters({
  worker,
  workerPool,
  clock,
}: PageState): Page | Promise<Page> {
  const own = clustersView(worker.clusters, worker.pools, clock);
  if (workerPool === undefined) return ok(own);
  return workerPool
    .clusters()
    .then((others) => ok(mergeClusters([own, ...others])));
}

function overload({ worker, workerPool }: PageState): Page | Promise<Page> {
  const own = overloadView(worker.concurrencyLimiters.all());
  if (workerPool === undefined) return ok(own);
  return workerPool
    .overload()
    .then((others) => ok(mergeOverload([own, ...others])));
}

function ok(body: unknown): Page {
  return { status: 200, body };
}
