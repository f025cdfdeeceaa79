/** What a scenario is: what it asks of the proxies, how it measures them, which figures it gives and which are aimed at. */
import type { Clock } from "../src/core/clock.ts";
import type { Application } from "./application.ts";
import type { Collector } from "./collector.ts";
import type { FigureName } from "./figures.ts";
import type { Feature, Peer, PeerName, PeerSettings, Setup } from "./peer.ts";

export const FAMILIES = {
  hop: "what a hop costs: the figures that the project holds itself to",
  calls:
    "every kind of call at every load, traced and untraced, the link in HTTP/2",
  link: "the same with our link in HTTP/1.1, beside both of Envoy's",
  life: "connections, memory, start and workers",
  long: "what takes its time: not in a run without names",
} as const;

export type Family = keyof typeof FAMILIES;

/** One proxy pair that takes part. */
export interface Contender {
  readonly peer: PeerName;
  /** Added to the peer's name, such as "2 workers". */
  readonly label?: string;
  /** Other than the scenario's setup. */
  readonly setup?: Partial<Setup>;
  /** Another built package than the one that is measured. */
  readonly dist?: string;
}

/** What is aimed at: a ratio to the reference, or a bound on the figure itself. */
export interface Goal {
  /** Whose, by name with the label; Wherry's where it is not said. */
  readonly contender?: string;
  readonly figure: FigureName;
  readonly of: "ratio" | "value";
  readonly atMost: number;
}

/** Figures of one run of one contender. */
export type Run = Readonly<Partial<Record<FigureName, number>>>;

export interface Scenario {
  /** Short, for the command line. */
  readonly name: string;
  readonly families: readonly Family[];
  /** What the figures pass through, in one line. */
  readonly title: string;
  readonly setup: Setup;
  readonly contenders: readonly Contender[];
  /** The contender, by its name with the label, that the others are set beside. */
  readonly reference: string;
  /** A feature whose difference is the scenario's question, and no reason against a ratio. */
  readonly varies?: Feature;
  /** Proxies and load on cores of their own, or all on all cores; "apart" where it is not said. */
  readonly cores?: "apart" | "shared";
  readonly columns: readonly FigureName[];
  readonly goals: readonly Goal[];
  run(stage: Stage): Promise<Run>;
}

/** What a run has around it. */
export interface Stage {
  readonly peer: Peer;
  readonly settings: PeerSettings;
  readonly clock: Clock;
  readonly collector: Collector;
  readonly application: Application;
  readonly seconds: number;
  /** Seconds. */
  readonly warmUp: number;
  readonly minutes: number;
  readonly connections: number;
  /** Where the load runs. */
  readonly loadCore: string | undefined;
}

export const PLAIN: Setup = {
  apps: "http/1.1",
  link: "h2",
  tracing: 1,
  workers: 1,
};

export const EVERYONE: readonly Contender[] = [
  { peer: "Wherry" },
  { peer: "Envoy" },
  { peer: "HAProxy" },
  { peer: "nginx" },
  { peer: "http-proxy" },
  { peer: "undici" },
];

export function nameOf({ peer, label }: Contender): string {
  return label === undefined ? peer : `${peer}, ${label}`;
}
