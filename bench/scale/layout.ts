/** The ports and names that all processes of the measurement of scale agree on. */
import type { Clock } from "../../src/core/clock.ts";

export { TRUST_DOMAIN } from "../certificates.ts";

/** Free of the ranges that other benchmarks use. */
export const PORTS = {
  outbound: 18_501,
  link: 18_502,
  admin: 18_503,
  metrics: 18_504,
  api: 18_511,
  push: 18_512,
  fleet: 18_521,
  /** Of its first process; the others have the ports behind it. */
  crowd: 18_522,
  application: 18_530,
  /** The place that an endpoint moves to and back from. */
  elsewhere: 18_531,
  envoy: 18_541,
  envoyAdmin: 18_542,
} as const;

/** Where the sidecars that are measured live; it has no Services of its own. */
export const CALLERS = "callers";
/** Bytes: a mesh of 10,000 Services is near the default. */
export const MOST_CONFIG: number = 512 * 1024 * 1024;
/** Milliseconds that a process has until it is ready. */
export const READY_WITHIN = 300_000;
export const WORKLOADS_A_SERVICE = 10;

export interface Cores {
  /** Of what is measured. */
  readonly proxies: string | undefined;
  /** Of the control plane, the fleet, the load and the application. */
  readonly load: string | undefined;
}

/** What every line of the measurement has around it. */
export interface Surroundings {
  /** Folder of the run; gone at its end. */
  readonly directory: string;
  /** The built package that is measured. */
  readonly dist: string;
  readonly cores: Cores;
  /** Arguments of Node for what is measured, besides its own. */
  readonly nodeArguments: readonly string[];
  readonly clock: Clock;
  readonly say: (text: string) => void;
  /** Folders that are to be gone when the run is called off. */
  readonly temporary: string[];
}
