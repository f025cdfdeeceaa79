/** `config/reference/metrics.md`: every metric, as its registration describes it. */
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
    body: `A sidecar serves these in Prometheus' text format at \`:15020/metrics\`.
It keeps ${count(MAX_SERIES)} series at most. Further label values are counted together under \`_other\`.
The control plane serves no metrics: \`wherry status\` and its API show the state of the mesh.

${table(
  ["metric", "type", "unit", "labels", "meaning"],
  proxyMetrics().map((metric) => [
    code(metric.name),
    metric.type,
    unitOf(metric),
    codes(metric.labels),
    metric.help,
  ]),
)}`,
  };
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
