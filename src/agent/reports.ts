/** What this sidecar has seen, as a caller, of endpoints that are marked as unconfirmed: told to the control plane while there are any. */
import { status, type Client } from "@grpc/grpc-js";
import type { Cancel, Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { defectIn, type Logger } from "../core/log.ts";
import { MOST_REPORTED } from "../push/names.ts";
import { REGISTRATION } from "../push/services.ts";
import {
  FRESH_FOR,
  LOOK_AGAIN,
  type SharedReports,
  type Sighting,
} from "./agent.ts";
import { call, CallError } from "./connection.ts";

/** Milliseconds in which what the workers tell goes out together, and callers do not speak all at once. */
const GATHER = 1000;
const TIMEOUT = 5000;

interface Connection {
  readonly client: Client;
  readonly signal: AbortSignal;
  /** The control plane takes no reports. */
  refused: boolean;
}

interface Seen {
  readonly reached: boolean;
  readonly at: number;
}

export interface ReportsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Reports implements SharedReports {
  readonly #options: ReportsOptions;
  /** The newest of each workload that was not told yet. */
  readonly #seen = new Map<string, Seen>();
  #connection: Connection | undefined;
  #cancelFlush: Cancel | undefined;
  #closed = false;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** The stream is open: reports go over this client until the signal aborts. */
  connected(client: Client, signal: AbortSignal): void {
    this.#connection = { client, signal, refused: false };
  }

  watch(look: () => readonly Sighting[]): Cancel {
    return this.#options.clock.every(LOOK_AGAIN, () => this.tell(look()));
  }

  tell(sightings: readonly Sighting[]): void {
    const { clock, logger } = this.#options;
    if (this.#closed) return;
    for (const { workload, reached, age } of sightings) {
      const at = clock.now() - age;
      const known = this.#seen.get(workload);
      if (known === undefined || at > known.at)
        this.#seen.set(workload, { reached, at });
    }
    if (this.#seen.size > 0)
      this.#cancelFlush ??= clock.after(GATHER * clock.random(), () => {
        this.#cancelFlush = undefined;
        this.#flush().catch(defectIn(logger, "the report of endpoints"));
      });
  }

  close(): void {
    this.#closed = true;
    this.#cancelFlush?.();
  }

  /** What cannot be told now is seen again at the next look. */
  async #flush(): Promise<void> {
    const { clock, logger } = this.#options;
    const request = this.#request();
    const connection = this.#connection;
    if (
      connection === undefined ||
      connection.signal.aborted ||
      connection.refused ||
      request.reached.length + request.unreached.length === 0
    )
      return;
    const { client, signal } = connection;
    try {
      await call(client, REGISTRATION.Report, request, {
        ...{ clock, signal },
        timeout: TIMEOUT,
      });
    } catch (thrown) {
      connection.refused =
        thrown instanceof CallError && thrown.code === status.UNIMPLEMENTED;
      logger.debug(
        { reason: messageOf(thrown) },
        "what was seen of unconfirmed endpoints was not reported",
      );
    }
  }

  #request(): {
    readonly reached: readonly string[];
    readonly unreached: readonly string[];
  } {
    const oldest = this.#options.clock.now() - FRESH_FOR;
    const reached: string[] = [];
    const unreached: string[] = [];
    for (const [workload, seen] of this.#seen) {
      const list = seen.reached ? reached : unreached;
      if (seen.at > oldest && list.length < MOST_REPORTED) list.push(workload);
    }
    this.#seen.clear();
    return { reached, unreached };
  }
}
