/** The names and ports that all processes of the measurement of faults agree on. */
import type { Clock } from "../../src/core/clock.ts";

/** On each host; a host has one sidecar. */
export const PORTS = {
  outbound: 15_001,
  metrics: 15_020,
  application: 8080,
  /** Where an application is told what to do. */
  orders: 8081,
  api: 7000,
  push: 7001,
} as const;

export const CALLEES = ["callee-1", "callee-2"] as const;
export type Callee = (typeof CALLEES)[number];
export type HostName = "plane" | "caller" | Callee;

export const NAMESPACE = "shop";
export const SERVICE = "callee";
/** Calls a second. */
export const RATE = 200;
/** Milliseconds after which the caller takes a call for lost. */
export const DEADLINE = 15_000;
/** Milliseconds of a call, before there is a fault: on a machine that is busier, calls fail for that. */
export const SLOWEST = 1000;

/** Which methods the calls have. */
export type Mix = "get" | "post" | "mixed";

/** What an application does with a request. */
export type Behaviour = "answers" | "hangs" | "drips";

/** What every row of the measurement has around it. */
export interface Surroundings {
  /** Folder of the run; gone at its end. */
  readonly directory: string;
  /** The built package that is measured. */
  readonly dist: string;
  readonly clock: Clock;
  /** Seconds in place of minutes. */
  readonly short: boolean;
  readonly rounds: number;
  /** What is going on, for whoever watches. */
  readonly progress: (text: string) => void;
}
