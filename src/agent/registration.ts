/** The lease of this workload, seen from its sidecar: registered once the application is ready, again at each connection, taken out at the end. */
import type { Client } from "@grpc/grpc-js";
import { equalJitter } from "../core/backoff.ts";
import { wait, type Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { defectIn, type Logger } from "../core/log.ts";
import { waitFor, watchSource, type Watch } from "../core/watch.ts";
import { REGISTRATION } from "../push/services.ts";
import {
  LONGEST_REASON,
  type WorkloadSpec,
} from "../resources/workload/schema.ts";
import { call } from "./connection.ts";

export interface RegistrationOptions {
  /** What to register, without what is ready; undefined: this sidecar accepts no calls and registers nothing. */
  readonly workload: () => WorkloadSpec | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RegistrationState {
  /** "NAMESPACE/NAME" while the control plane has it. */
  readonly registered?: string;
  readonly error?: string;
}

const RETRY = { base: 250, max: 5000 } as const;
const TIMEOUT = 5000;
/** Milliseconds that deregistering may take, with the wait for a connection (law 12). */
const DEREGISTER = 5000;

interface Connection {
  readonly client: Client;
  readonly signal: AbortSignal;
}

export class Registration {
  readonly #options: RegistrationOptions;
  readonly #stop = new AbortController();
  readonly #state = watchSource<RegistrationState>({});
  readonly #connection = watchSource<Connection | undefined>(undefined);
  #ready: boolean | undefined;
  /** Why some ports take no connections. */
  #silent: ReadonlyMap<number, string> = new Map();
  #leaving = false;
  /** Ends when newer tries take over. */
  #retries = new AbortController();
  /** One call at a time: the control plane hears of changes in the order in which they happened. */
  #lastCall: Promise<void> = Promise.resolve();

  constructor(options: RegistrationOptions) {
    this.#options = options;
  }

  get state(): Watch<RegistrationState> {
    return this.#state;
  }

  /** Resolves after the first try to report it, or at once while not connected. */
  async setReady(
    ready: boolean,
    silent: ReadonlyMap<number, string> = new Map(),
  ): Promise<void> {
    this.#ready = ready;
    this.#silent = silent;
    const connection = this.#connection.value;
    if (connection !== undefined && !connection.signal.aborted)
      await this.#keepRegistering(connection);
  }

  /** The stream is open: what is to be registered is, over this client, until the signal aborts. */
  connected(client: Client, signal: AbortSignal): void {
    const connection = { client, signal };
    this.#connection.set(connection);
    signal.addEventListener(
      "abort",
      () => {
        if (this.#connection.value === connection)
          this.#connection.set(undefined);
      },
      { once: true },
    );
    this.#keepRegistering(connection).catch(
      defectIn(this.#options.logger, "the registration"),
    );
  }

  /** Resolves when the control plane has acknowledged it, or after 5 s. Nothing is registered afterwards. */
  async deregister(): Promise<void> {
    const { workload, clock, logger } = this.#options;
    this.#leaving = true;
    this.#retries.abort(new Error("the workload is leaving"));
    if (this.#ready === undefined || workload() === undefined) return;
    const limit = new AbortController();
    const cancel = clock.after(DEREGISTER, () =>
      limit.abort(new Error("no response within 5 s")),
    );
    try {
      await this.#keepDeregistering(
        AbortSignal.any([limit.signal, this.#stop.signal]),
      );
    } catch (thrown) {
      logger.warn(
        { reason: messageOf(thrown) },
        "the workload was not deregistered: its lease will run out",
      );
    } finally {
      cancel();
    }
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("the sidecar is stopping"));
    this.#retries.abort(new Error("the sidecar is stopping"));
    await this.#lastCall.catch(() => undefined);
  }

  #inOrder(run: () => Promise<void>): Promise<void> {
    this.#lastCall = this.#lastCall.then(run, run);
    return this.#lastCall;
  }

  /** Tries until it succeeds, the connection ends, or newer tries take over; resolves after the first try. */
  #keepRegistering(connection: Connection): Promise<void> {
    const { clock } = this.#options;
    this.#retries.abort(new Error("superseded"));
    this.#retries = new AbortController();
    const signal = AbortSignal.any([
      this.#retries.signal,
      connection.signal,
      this.#stop.signal,
    ]);
    let done = false;
    const attempt = (): Promise<void> =>
      this.#inOrder(async () => {
        done = signal.aborted || (await this.#register(connection));
      });
    const again = async (): Promise<void> => {
      for (let count = 1; !done; count += 1) {
        await wait(clock, equalJitter(RETRY, count, clock), signal);
        await attempt();
      }
    };
    const first = attempt();
    // The wait ends by rejection when newer tries take over.
    first.then(again).catch(() => undefined);
    return first;
  }

  /** False where it has to be tried again. */
  async #register({ client, signal }: Connection): Promise<boolean> {
    const { clock } = this.#options;
    const workload = this.#options.workload();
    const idle = (): boolean => this.#leaving || signal.aborted;
    if (workload === undefined || this.#ready === undefined || idle())
      return true;
    try {
      const spec = JSON.stringify({
        ...workload,
        ready: this.#ready,
        ...unready(workload, this.#silent),
      });
      const response = await call(
        client,
        REGISTRATION.Register,
        { spec },
        { clock, timeout: TIMEOUT, signal },
      );
      this.#state.set({ registered: response.workload });
      return true;
    } catch (thrown) {
      if (idle()) return true;
      this.#failed(messageOf(thrown));
      return false;
    }
  }

  #failed(reason: string): void {
    const error = `the workload cannot be registered: ${reason}`;
    const { error: known, registered } = this.#state.value;
    if (known !== error)
      this.#options.logger.warn(
        { reason },
        "the workload cannot be registered; trying again",
      );
    this.#state.set(
      registered === undefined ? { error } : { registered, error },
    );
  }

  /** Rejects when the signal aborts. */
  async #keepDeregistering(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    for (;;) {
      const connection = await this.#nextConnection(signal);
      try {
        await this.#inOrder(async () => {
          await call(
            connection.client,
            REGISTRATION.Deregister,
            {},
            {
              clock,
              timeout: TIMEOUT,
              signal: AbortSignal.any([signal, connection.signal]),
            },
          );
        });
        this.#state.set({});
        return;
      } catch (thrown) {
        logger.warn(
          { reason: messageOf(thrown) },
          "the workload cannot be deregistered; trying again",
        );
        await wait(clock, equalJitter(RETRY, 1, clock), signal);
      }
    }
  }

  /** The present one, or the next; rejects when the signal aborts. */
  async #nextConnection(signal: AbortSignal): Promise<Connection> {
    for (;;) {
      const connection = await waitFor(
        this.#connection,
        (value) => value !== undefined,
        signal,
      );
      if (connection !== undefined) return connection;
    }
  }
}

/** By the names of the ports. */
function unready(
  { ports = {} }: WorkloadSpec,
  silent: ReadonlyMap<number, string>,
): Pick<WorkloadSpec, "unreadyPorts"> {
  const unreadyPorts: Record<string, string> = {};
  for (const [name, port] of Object.entries(ports)) {
    const why = silent.get(port);
    // What a Workload may say, whatever an address or a system was called.
    if (why !== undefined)
      unreadyPorts[name] = why
        .replaceAll(/[^ -~]/g, "?")
        .slice(0, LONGEST_REASON);
  }
  return Object.keys(unreadyPorts).length === 0 ? {} : { unreadyPorts };
}
