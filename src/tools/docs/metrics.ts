/** `config/reference/metrics.md`: every metric, as its registration describes it. */
import {
  makeControlPlaneMeters,
  MAX_SERIES as CONTROL_PLANE_SERIES,
} from "../../control-plane/meters.ts";
import { makeMeters } from "../../telemetry/meters.ts";
import {
  makeMetrics,
  type MetricDescription,
} from "../../telemetry/metrics.ts";
import { MAX_SERIES } from "../../sidecar/workers/worker.ts";
import { code, codes, count, table, type Page } from "./markdown.ts";

export function metricsPage(): Page {
  return {
    file: "metrics.md",
    title: "Metrics",
    body: `Sidecar and control plane serve Prometheus' text format.
Label values past the cap on series are counted together under \`_other\`.

## Sidecar

At \`:15020/metrics\`, ${count(MAX_SERIES)} series at most.

${tableOf(proxyMetrics())}
## Control plane

At \`/metrics\` of the API, ${count(CONTROL_PLANE_SERIES)} series at most. It needs no token, as \`/readyz\` needs none: no label names a Service, a workload or a token.

${tableOf(controlPlaneMetrics())}`,
  };
}

function tableOf(metrics: readonly MetricDescription[]): string {
  return table(
    ["metric", "type", "unit", "labels", "meaning"],
    metrics.map((metric) => [
      code(metric.name),
      metric.type,
      unitOf(metric),
      codes(metric.labels),
      metric.help,
    ]),
  );
}

/** What a control plane registers at its start. */
export function controlPlaneMetrics(): readonly MetricDescription[] {
  const registry = makeMetrics({ maxSeries: CONTROL_PLANE_SERIES });
  makeControlPlaneMeters(registry);
  return registry.describe();
}

/** What a sidecar registers at its start. */
export function proxyMetrics(): readonly MetricDescription[] {
  const registry = makeMetrics({ maxSeries: MAX_SERIES });
  makeMeters(registry);
  return registry.describe();
}

/** By the convention for names of metrics: the unit is the last word, before "total". */
function unitOf({ name }: MetricDescription): string {
  const [, unit = ""] = /_(seconds|bytes)(?:_total)?$/.exec(name) ?? [];
  return unit;
}
