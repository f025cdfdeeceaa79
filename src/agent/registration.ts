/** The lease of this workload, seen from its sidecar: registered once the application is ready, again at each connection, taken out at the end. */
import type { Client } from "@grpc/grpc-js";
import { equalJitter } from "../core/backoff.ts";
import { wait, type Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { waitFor, watchSource, type Watch } from "../core/watch.ts";
import { REGISTRATION } from "../push/services.ts";
import type { WorkloadSpec } from "../resources/workload/schema.ts";
import { call } from "./connection.ts";

export interface RegistrationOptions {
  /** What to register, without `ready`; undefined: this sidecar takes no calls and registers nothing. */
  readonly workload: () => WorkloadSpec | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RegistrationState {
  /** "NAMESPACE/NAME" while the control plane has it. */
  readonly registered?: string;
  readonly error?: string;
}

export interface Registration {
  readonly state: Watch<RegistrationState>;
  setReady(ready: boolean): Promise<void>;
  deregister(): Promise<void>;
  /** The stream is open: what is to be registered is, over this client, until the signal aborts. */
  connected(client: Client, signal: AbortSignal): void;
  close(): Promise<void>;
}

const RETRY = { base: 250, max: 5000 } as const;
const TIMEOUT = 5000;
/** Milliseconds that deregistering may take, with the wait for a connection (law 12). */
const DEREGISTER = 5000;

interface Connection {
  readonly client: Client;
  readonly signal: AbortSignal;
}

export function makeRegistration(options: RegistrationOptions): Registration {
  const { clock, logger } = options;
  const stop = new AbortController();
  const state = watchSource<RegistrationState>({});
  const connection = watchSource<Connection | undefined>(undefined);
  let ready: boolean | undefined;
  let leaving = false;
  /** One call at a time: the control plane hears of changes in the order in which they happened. */
  let turn: Promise<void> = Promise.resolve();

  const inTurn = (run: () => Promise<void>): Promise<void> => {
    turn = turn.then(run, run);
    return turn;
  };

  /** False where it has to be tried again. */
  const register = async ({ client, signal }: Connection): Promise<boolean> => {
    const workload = options.workload();
    const idle = (): boolean => leaving || signal.aborted;
    if (workload === undefined || ready === undefined || idle()) return true;
    try {
      const spec = JSON.stringify({ ...workload, ready });
      const answer = await call(
        client,
        REGISTRATION.Register,
        { spec },
        { clock, timeout: TIMEOUT, signal },
      );
      state.set({ registered: answer.workload });
      return true;
    } catch (thrown) {
      if (idle()) return true;
      const error = `the workload cannot be registered: ${messageOf(thrown)}`;
      if (state.value.error !== error)
        logger.warn(
          { reason: messageOf(thrown) },
          "the workload cannot be registered; trying again",
        );
      const { registered } = state.value;
      state.set(registered === undefined ? { error } : { registered, error });
      return false;
    }
  };

  let retries = new AbortController();

  /** Tries until it is there, the connection goes, or another try has taken over; resolves after the first try. */
  const keepRegistering = (over: Connection): Promise<void> => {
    retries.abort(new Error("superseded"));
    retries = new AbortController();
    const signal = AbortSignal.any([retries.signal, over.signal, stop.signal]);
    let done = false;
    const attempt = (): Promise<void> =>
      inTurn(async () => {
        done = signal.aborted || (await register(over));
      });
    const again = async (): Promise<void> => {
      for (let count = 1; !done; count += 1) {
        await wait(clock, equalJitter(RETRY, count, clock), signal);
        await attempt();
      }
    };
    const first = attempt();
    // The wait ends by rejection when somebody else takes over.
    void first.then(again).catch(() => undefined);
    return first;
  };

  /** The one there is, or the next; rejects when the signal aborts. */
  const nextConnection = async (signal: AbortSignal): Promise<Connection> => {
    for (;;) {
      const over = await waitFor(
        connection,
        (value) => value !== undefined,
        signal,
      );
      if (over !== undefined) return over;
    }
  };

  const deregister = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      const over = await nextConnection(signal);
      try {
        await inTurn(async () => {
          await call(
            over.client,
            REGISTRATION.Deregister,
            {},
            {
              clock,
              timeout: TIMEOUT,
              signal: AbortSignal.any([signal, over.signal]),
            },
          );
        });
        state.set({});
        return;
      } catch (thrown) {
        logger.warn(
          { reason: messageOf(thrown) },
          "the workload cannot be deregistered; trying again",
        );
        await wait(clock, equalJitter(RETRY, 1, clock), signal);
      }
    }
  };

  return {
    state,
    async setReady(next) {
      ready = next;
      const over = connection.value;
      if (over !== undefined && !over.signal.aborted)
        await keepRegistering(over);
    },
    connected(client, signal) {
      const over = { client, signal };
      connection.set(over);
      signal.addEventListener(
        "abort",
        () => {
          if (connection.value === over) connection.set(undefined);
        },
        { once: true },
      );
      void keepRegistering(over);
    },
    async deregister() {
      leaving = true;
      retries.abort(new Error("the workload is leaving"));
      if (ready === undefined || options.workload() === undefined) return;
      const limit = new AbortController();
      const cancel = clock.after(DEREGISTER, () =>
        limit.abort(new Error("no answer within 5 s")),
      );
      try {
        await deregister(AbortSignal.any([limit.signal, stop.signal]));
      } catch (thrown) {
        logger.warn(
          { reason: messageOf(thrown) },
          "the workload was not deregistered: its lease will run out",
        );
      } finally {
        cancel();
      }
    },
    async close() {
      stop.abort(new Error("the sidecar is stopping"));
      retries.abort(new Error("the sidecar is stopping"));
      await turn.catch(() => undefined);
    },
  };
}
