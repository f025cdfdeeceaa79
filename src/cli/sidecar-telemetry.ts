/** Where a sidecar's spans and metrics go, by its options; what sends them is loaded once it is ready. */
import type { Agent } from "../agent/agent.ts";
import { UserError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { TracingChoice } from "../sidecar/workers/worker.ts";
import { makeSpanExporter } from "../telemetry/exporter.ts";
import {
  makeMetricsExporter,
  type MetricsExporter,
} from "../telemetry/metrics-exporter.ts";
import type { CliContext } from "./context.ts";
import { metricsDestination, spanDestination } from "./settings.ts";
import type { SidecarCommandOptions } from "./sidecar-options.ts";
import { durationOption, nameOf } from "./sidecar-settings.ts";

export interface SidecarTelemetry {
  /** For `startSidecar`. */
  readonly tracing: { readonly tracing?: TracingChoice };
  /** Loads what sends them; later calls wait for the first. */
  start(): Promise<void>;
  /** Sends what is left. */
  close(): Promise<void>;
}

export interface Observed {
  readonly agent: () => Agent | undefined;
  /** What `/metrics` shows. */
  readonly metrics: () => Promise<string>;
}

export function sidecarTelemetry(
  context: CliContext,
  options: SidecarCommandOptions,
  logger: Logger,
  observed: Observed,
): SidecarTelemetry {
  const { clock, environment } = context;
  const resource = (): Record<string, string> =>
    resourceOf(options, observed.agent());
  const destination = spanDestination(options, environment);
  const spans =
    destination === undefined
      ? undefined
      : makeSpanExporter({ ...destination, logger, clock, resource });
  const metrics = metricsExporter(context, options, logger, observed);
  const load = async (): Promise<void> => {
    await spans?.start();
    await metrics?.start();
  };
  let started: Promise<void> | undefined;
  return {
    tracing: spans === undefined ? {} : { tracing: { sink: spans.sink } },
    start: () => (started ??= load()),
    async close() {
      await Promise.all([spans?.close(), metrics?.close()]);
    },
  };
}

/** Shorter intervals tell nobody more. */
const SHORTEST = 1000;

function metricsExporter(
  { clock, environment }: CliContext,
  options: SidecarCommandOptions,
  logger: Logger,
  { agent, metrics }: Observed,
): MetricsExporter | undefined {
  const destination = metricsDestination(options, environment);
  if (destination === undefined) return undefined;
  const { otlpMetricsInterval = "" } = options;
  const interval = durationOption(
    "--otlp-metrics-interval",
    otlpMetricsInterval,
  );
  if (interval < SHORTEST)
    throw new UserError(
      `invalid --otlp-metrics-interval ${otlpMetricsInterval}: expected 1s or more`,
    );
  return makeMetricsExporter({
    ...destination,
    interval,
    read: metrics,
    resource: () => resourceOf(options, agent()),
    clock,
    logger,
  });
}

/** The sender, as OpenTelemetry names services. */
function resourceOf(
  options: SidecarCommandOptions,
  agent: Agent | undefined,
): Record<string, string> {
  const self = agent?.snapshot.value?.self;
  return {
    "service.name": self?.labels["app"] ?? self?.serviceAccount ?? "unknown",
    "service.namespace": self?.namespace ?? "",
    "service.instance.id": self?.name ?? nameOf(options),
    ...(self?.labels["version"] === undefined
      ? {}
      : { "service.version": self.labels["version"] }),
  };
}
