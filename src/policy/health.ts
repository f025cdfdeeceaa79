/** Active health checks, the part that decides: when an endpoint that was asked is out, and when it is back. */
import { messageOf } from "../core/errors.ts";
import { isOfTheMachine } from "../core/machine/again.ts";

export interface HealthThresholds {
  readonly unhealthyThreshold: number;
  readonly healthyThreshold: number;
}

/** How one check ended. "unknown" says nothing of the endpoint: the caller itself could not ask, or was not let. */
export type CheckResult =
  | { readonly kind: "healthy" }
  | { readonly kind: "unhealthy"; readonly evidence: string }
  | { readonly kind: "unknown"; readonly evidence: string };

/** How a check ended that threw: an error of this machine says nothing of the endpoint. */
export function resultOfError(thrown: unknown): CheckResult {
  const kind = isOfTheMachine(thrown) ? "unknown" : "unhealthy";
  return { kind, evidence: messageOf(thrown) };
}

/** What is known of one endpoint. It is well until it was shown not to be. */
export interface HealthState {
  readonly healthy: boolean;
  /** Results in a row that speak against `healthy`. */
  readonly against: number;
}

export const WELL: HealthState = { healthy: true, against: 0 };

/** The state after one more result; the same object where nothing has changed. */
export function afterCheck(
  state: HealthState,
  result: CheckResult,
  thresholds: HealthThresholds,
): HealthState {
  if (result.kind === "unknown") return state;
  const isHealthy = result.kind === "healthy";
  if (isHealthy === state.healthy)
    return state.against === 0 ? state : { ...state, against: 0 };
  const against = state.against + 1;
  const threshold = state.healthy
    ? thresholds.unhealthyThreshold
    : thresholds.healthyThreshold;
  return against >= threshold
    ? { healthy: isHealthy, against: 0 }
    : { ...state, against };
}

/** Milliseconds to the next check: callers that started together do not ask together. */
export function checkDelay(interval: number, random: () => number): number {
  return interval * (0.8 + 0.4 * random());
}

/** Milliseconds to the first check, anywhere within an interval. */
export function firstCheckDelay(
  interval: number,
  random: () => number,
): number {
  return interval * random();
}
