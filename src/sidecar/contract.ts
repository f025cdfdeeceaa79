/** What a sidecar is given, and what can be done with one that runs. */
import type { Agent, Peers } from "../agent/agent.ts";
import type { Clock } from "../core/clock.ts";
import type { LocalToken } from "../core/local/local-token.ts";
import type { Logger } from "../core/log.ts";
import type { ListeningSocket } from "../proxy/downstream/handed-listeners.ts";
import type { BoundPorts } from "../proxy/downstream/ports.ts";
import type { MetricsRegistry } from "../telemetry/metrics.ts";
import type { Living } from "./application.ts";
import type { Readiness } from "./readiness.ts";
import type { SidecarSettings } from "./settings.ts";
import type { Side, TracingChoice } from "./workers/worker.ts";

/** Settings that are left out are the defaults. */
export interface SidecarOptions extends Partial<SidecarSettings> {
  /** Starts the agent, which registers the link's port. Called once the listeners are bound. `peers`: the other workers. */
  readonly agent: (ports: BoundPorts, peers?: Peers) => Promise<Agent>;
  /** What a process before this one listened on: nothing is accepted there until `begin`. */
  readonly handed?: readonly ListeningSocket[] | undefined;
  /** The token that is needed to change something by the admin port; where absent, nobody does. */
  readonly adminToken?: LocalToken | undefined;
  /** The application's process, where it is known: with it the sidecar knows when the application is gone. */
  readonly application?: Living | undefined;
  /** Takes the lines of the first worker in place of a file. */
  readonly writeAccessLog?: (line: string) => void;
  readonly tracing?: TracingChoice;
  readonly metrics?: MetricsRegistry;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** A worker was lost, by a defect: the sidecar ends in order. */
  readonly onLost?: (error: Error) => void;
}

export interface ShutdownWish {
  /** Serves what the application calls until that is gone. A later wish without it ends this wait. */
  readonly outliveApplication?: boolean;
  /** Milliseconds that all of it may take, in place of a setting that is longer. */
  readonly most?: number | undefined;
}

export interface Sidecar {
  readonly ports: BoundPorts;
  readonly agent: Agent;
  readonly readiness: Readiness;
  /** Resolves once the proxy was ready for the first time. */
  readonly whenReady: Promise<void>;
  readonly inFlight: Readonly<Record<Side, number>>;
  /** What `/metrics` shows, of all workers; "" before that is open. */
  metrics(): Promise<string>;
  /** Goes on in the file that has the access log's path now. False where the log has no file. Throws where that cannot be opened, and the one before stays. */
  reopenAccessLog(): boolean;
  /** All that it listens on. */
  sockets(): Promise<readonly ListeningSocket[]>;
  /** Accepts connections on what was handed over. */
  begin(): Promise<void>;
  /**
   * Another process listens on the same sockets, and is ready: this one lets go of what they share, and resolves. It accepts nothing
   * more, and ends once nothing is lost by it, or the drain time-out has passed. Rejects where it is on its way out already.
   */
  handOver(): Promise<void>;
  /** In order, without losing a request; the same promise however often it is called. */
  shutDown(how?: ShutdownWish): Promise<void>;
  /** At once. */
  destroy(): Promise<void>;
  /** Resolves when it has ended, for whatever reason; with the error where a worker was lost, and it ended for that. */
  readonly over: Promise<Error | undefined>;
}
