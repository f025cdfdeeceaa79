/** The pages of a sidecar: admin (config, clusters, stats, certs, logging, drain), and metrics with readiness. */
import type { AgentState } from "../agent/agent.ts";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type { Watch } from "../core/watch.ts";
import type { Credentials } from "../identity/credentials.ts";
import type { Snapshot } from "../policy/snapshot.ts";
import type { MetricsRegistry } from "../telemetry/metrics.ts";
import type { Page, Pages } from "./admin.ts";
import type { Meters } from "./meters.ts";
import type { Clusters } from "./upstream/endpoints.ts";
import type { Pools } from "./upstream/pools.ts";
import { ageSeconds, certsView, clustersView, configView } from "./views.ts";

export interface PageState {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: MetricsRegistry;
  readonly clusters: Clusters;
  readonly pools: Pools;
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly credentials: Watch<Credentials | undefined>;
  agentState(): AgentState;
  isReady(): boolean;
  /** Starts the shutdown and returns. */
  drain(): void;
}

/** The version of the Prometheus text format that `render` writes. */
const PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8";

export function adminPages(state: PageState): Pages {
  const { clock, logger } = state;
  return {
    "GET /config": () =>
      ok(configView(state.snapshot.value, state.agentState(), clock)),
    "GET /clusters": () => ok(clustersView(state.clusters, state.pools, clock)),
    "GET /stats": () => metrics(state),
    "GET /certs": () => ok(certsView(state.credentials.value, clock)),
    "GET /logging": () => ok({ level: logger.level }),
    "POST /logging": (query) => {
      const level = query.get("level") ?? "";
      if (!Object.hasOwn(logger.levels.values, level) && level !== "silent")
        return {
          status: 400,
          body: `?level= must be one of ${Object.keys(logger.levels.values).join(", ")}, silent\n`,
        };
      logger.level = level;
      return ok({ level });
    },
    "POST /drain": () => {
      state.drain();
      return { status: 202, body: "draining; the process ends after it\n" };
    },
    ...health(state),
  };
}

export function metricsPages(state: PageState): Pages {
  return { "GET /metrics": () => metrics(state), ...health(state) };
}

/** Sets the gauges that are computed when asked for. Returns the way to stop. */
export function collectGauges(meters: Meters, state: PageState): () => void {
  const { clock } = state;
  return state.registry.collect(() => {
    const credentials = state.credentials.value;
    if (credentials !== undefined)
      meters.certificateExpiry.set(
        (credentials.notAfter - clock.wall()) / 1000,
      );
    meters.configAge.set(ageSeconds(state.agentState(), clock) ?? -1);
    meters.connections.with("upstream").set(state.pools.connections);
  });
}

function health(state: PageState): Pages {
  return {
    "GET /livez": () => ({ status: 200, body: "ok\n" }),
    "GET /readyz": () =>
      state.isReady()
        ? { status: 200, body: "ok\n" }
        : {
            status: 503,
            body: "not ready: config, certificate or application is missing, or the sidecar is shutting down; see /config and /certs\n",
          },
  };
}

function metrics(state: PageState): Page {
  return { status: 200, body: state.registry.render(), type: PROMETHEUS };
}

function ok(body: unknown): Page {
  return { status: 200, body };
}
