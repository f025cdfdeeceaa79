/** How a sidecar goes without anyone noticing: readiness off → deregistered → GOAWAY → drain → closed (law 12). */
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";

export interface ShutdownSteps {
  /** `/readyz` says no from here on. */
  unready(): void;
  /** The control plane has taken the workload out; at most 5 s. */
  deregister(): Promise<void>;
  /** No new inbound connections; GOAWAY and Connection: close on those that are open. */
  refuseInbound(): void;
  /** The same for what the application calls; it still needs it while it answers what is in flight. */
  refuseOutbound(): void;
  inboundActive(): number;
  outboundActive(): number;
  /** Ends everything that is left. */
  end(): Promise<void>;
}

export interface ShutdownOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Milliseconds that exchanges in flight may still take. */
  readonly drainTimeout: number;
  readonly steps: ShutdownSteps;
}

/** Milliseconds to wait for the deregistration, whatever the agent does. */
const DEREGISTER_TIMEOUT = 5000;
/** Milliseconds between two looks at what is still in flight. */
const LOOK = 20;

export async function shutDown(options: ShutdownOptions): Promise<void> {
  const { clock, logger, steps } = options;
  const deadline = clock.now() + options.drainTimeout;
  logger.info("shutting down");
  steps.unready();
  await withDeadline(clock, DEREGISTER_TIMEOUT, steps.deregister(), logger);
  steps.refuseInbound();
  await until(clock, deadline, () => steps.inboundActive() === 0);
  steps.refuseOutbound();
  await until(clock, deadline, () => steps.outboundActive() === 0);
  const left = steps.inboundActive() + steps.outboundActive();
  if (left > 0) logger.warn({ left }, "requests were cut off at shutdown");
  await steps.end();
  logger.info("shut down");
}

function until(
  clock: Clock,
  deadline: number,
  done: () => boolean,
): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (done() || clock.now() >= deadline) resolve();
      else clock.after(LOOK, look);
    };
    look();
  });
}

function withDeadline(
  clock: Clock,
  ms: number,
  work: Promise<void>,
  logger: Logger,
): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(ms, () => {
      logger.warn({ ms }, "deregistration was not acknowledged in time");
      resolve();
    });
    work
      .catch((error: unknown) =>
        logger.warn({ error: messageOf(error) }, "deregistration failed"),
      )
      .finally(() => {
        cancel();
        resolve();
      });
  });
}
