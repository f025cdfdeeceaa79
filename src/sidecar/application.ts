/** The application beside the sidecar: which of its ports answer, and, while the sidecar leaves, whether it is gone. */
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type { Watch } from "../core/watch.ts";
import type { LocalConnections } from "../proxy/downstream/acceptor.ts";
import { startProbe, type PortsFound, type Probe } from "./probe.ts";

/** A process that may end. */
export interface Living {
  readonly alive: boolean;
}

export interface ApplicationOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly address: string;
  /** Its ports as they are now. */
  readonly ports: () => readonly number[];
  readonly ownPorts: ReadonlySet<number>;
  /** What it has open to all workers. */
  readonly connections: () => Promise<readonly LocalConnections[]>;
  /** Where it is known, its end alone counts. */
  readonly process: Living | undefined;
}

export interface Application {
  /** Undefined until one of its ports took a connection, or it is late. */
  readonly found: Watch<PortsFound | undefined>;
  /** The sidecar is about to leave: the end of the application is looked for from now on. */
  leave(): void;
  /** Whether it needs its sidecar no longer. Asked every 100 ms, after `leave`. */
  gone(): Promise<boolean>;
  close(): void;
}

/**
 * Looks in a row without a connection after which an application is taken to have made its last call: 2 s, so that one that makes them
 * one by one, a connection each, is not cut off between two. Looks and not time, for a machine that is too busy for the application is
 * as busy for its sidecar.
 */
export const QUIET = 20;

export function startApplication(options: ApplicationOptions): Application {
  return new ProbedApplication(options);
}

class ProbedApplication implements Application {
  readonly #options: ApplicationOptions;
  readonly #probe: Probe;
  /** Its ports when the sidecar was asked to leave: once that is deregistered, its config may know of none. */
  #ports: readonly number[] | undefined;
  #made: number | undefined;
  #quiet = 0;

  constructor(options: ApplicationOptions) {
    this.#options = options;
    const { ports } = options;
    this.#probe = startProbe({
      ...options,
      ports: () => this.#ports ?? ports(),
    });
  }

  get found(): Watch<PortsFound | undefined> {
    return this.#probe.found;
  }

  leave(): void {
    this.#ports = this.#options.ports();
    this.#probe.hurry();
  }

  async gone(): Promise<boolean> {
    const { process, connections } = this.#options;
    if (process !== undefined) return !process.alive;
    let open = 0;
    let made = 0;
    for (const each of await connections()) {
      open += each.open;
      made += each.made;
    }
    this.#quiet = open > 0 || made !== this.#made ? 0 : this.#quiet + 1;
    this.#made = made;
    const listens =
      this.#ports?.length !== 0 && this.found.value?.answers === true;
    return !listens && this.#quiet >= QUIET;
  }

  close(): void {
    this.#probe.close();
  }
}
