/** The balancing policies that are compared: the objects that the proxy uses, under the settings that make the difference. */
import type { LoadBalancer } from "../../src/resources/traffic-policy/load-balancing.ts";

export interface PolicyArm {
  readonly name: string;
  readonly loadBalancer: LoadBalancer;
  /** Failures are told to the balancer as `latencyOf` has it; without, as the time that they took. */
  readonly penalty: boolean;
  /** Answers bring the load of who gave them, and reports are pushed. */
  readonly reports: boolean;
}

export const POLICIES: readonly PolicyArm[] = [
  arm("round robin", "ROUND_ROBIN"),
  arm("random", "RANDOM"),
  arm("least request", "LEAST_REQUEST"),
  arm("peak EWMA", "PEAK_EWMA"),
  { ...arm("peak EWMA + penalty", "PEAK_EWMA"), penalty: true },
  { ...arm("load-aware", "LOAD_AWARE"), penalty: true, reports: true },
];

function arm(name: string, loadBalancer: LoadBalancer): PolicyArm {
  return { name, loadBalancer, penalty: false, reports: false };
}
