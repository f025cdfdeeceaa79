/** The metrics that a sidecar or a control plane registers at its start. */
import {
  controlPlaneMetrics,
  proxyMetrics,
} from "../../../src/tools/docs/metrics.ts";

export const METRIC_NAMES: ReadonlySet<string> = new Set(
  [...proxyMetrics(), ...controlPlaneMetrics()].map(({ name }) => name),
);
