/** The ports and figures that backend, sidecars and load of the loopback comparison agree on. */
import { REPLICAS } from "../simulate/scenarios.ts";

export const CLIENTS = 3;
/** One more than callers are told of from the start: it joins where the scenario says so. */
export const ALL_REPLICAS: number = REPLICAS + 1;
/** Of one replica. */
export const SLOTS = 2;
/** Milliseconds of work of a request, in the mean: long enough that two cores are not what is measured. */
export const MEAN_DEMAND = 20;
/** Milliseconds after which a caller gives up; a failure counts as this long. */
export const DEADLINE = 1000;

/** Free of the ranges that other benchmarks and systems use. */
const BASE = 18_300;

export const APP_PORTS: readonly number[] = ports(0);
export const LINK_PORTS: readonly number[] = ports(20);
export const CONTROL_PORT: number = BASE + 40;
/** Of the sidecars beside the replicas; for their pages. */
export const CALLEE_PORTS: readonly number[] = ports(100, 2 * ALL_REPLICAS);
export const CLIENT_PORTS: readonly number[] = ports(60, CLIENTS);
export const CLIENT_ADMIN_PORTS: readonly number[] = ports(70, 2 * CLIENTS);
export const CLIENT_LINK_PORTS: readonly number[] = ports(80, CLIENTS);

export const SERVICE = "replicas";
export const NAMESPACE = "bench";
export const HOST: string = `${SERVICE}.${NAMESPACE}`;

function ports(from: number, count: number = ALL_REPLICAS): number[] {
  return Array.from({ length: count }, (_, index) => BASE + from + index);
}

/** Requests a second in all, at that share of what the replicas can do. */
export function rateAt(load: number): number {
  return (load * REPLICAS * SLOTS * 1000) / MEAN_DEMAND;
}
