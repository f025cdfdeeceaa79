/**
 * How a sidecar goes without anyone noticing: readiness off → deregistered → GOAWAY → inbound drained → the application gone →
 * outbound drained → closed (law 12). A stop of a sidecar mostly stops its application, too, and that may make calls until its end.
 */
import { afterArrivals, type Cancel, type Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";

export interface ShutdownSteps {
  /** `/readyz` says no from here on. */
  unready(): void;
  /** The control plane has taken the workload out; at most 5 s. */
  deregister(): Promise<void>;
  /** No new inbound connections; GOAWAY and Connection: close on those that are open. */
  refuseInbound(): void;
  /** Whether the application needs the outbound side no longer. Asked again and again. */
  applicationGone(): Promise<boolean>;
  /** As `refuseInbound`, for what the application calls. */
  refuseOutbound(): void;
  inboundActive(): number;
  outboundActive(): number;
  /** What is in flight hears that it ends now, as far as its protocol has words for that. */
  depart(): void;
  /** Ends everything that is left. */
  end(): Promise<void>;
}

/** Where a stop and a replacement in place differ. */
export type OwnSteps = Omit<
  ShutdownSteps,
  "unready" | "inboundActive" | "outboundActive" | "depart"
>;

export interface ShutdownOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Milliseconds that exchanges in flight, and the application, may still take. */
  readonly drainTimeout: number;
  /** Aborted: the application is not waited for, or no longer. */
  readonly hurry: AbortSignal;
  readonly steps: ShutdownSteps;
}

/** Milliseconds to wait for the deregistration, whatever the agent does. */
const DEREGISTER_TIMEOUT = 5000;
/** Milliseconds before the end in which what is left is ended in its own words; a tenth of the drain time-out, where that is shorter. */
const DEPARTURE = 1000;
/** Milliseconds between two looks at what is still in flight, and at the application. */
const LOOK = 20;
const LOOK_AT_APPLICATION = 100;

export async function shutDown(options: ShutdownOptions): Promise<void> {
  const { clock, logger, steps } = options;
  const { drainTimeout } = options;
  const end = clock.now() + drainTimeout;
  const deadline = end - Math.min(DEPARTURE, drainTimeout / 10);
  logger.info("shutting down");
  steps.unready();
  await withDeadline(clock, DEREGISTER_TIMEOUT, steps.deregister(), logger);
  steps.refuseInbound();
  await until(clock, deadline, () => steps.inboundActive() === 0);
  await untilGone(options, deadline);
  steps.refuseOutbound();
  await until(clock, deadline, () => steps.outboundActive() === 0);
  const active = (): number => steps.inboundActive() + steps.outboundActive();
  const left = active();
  if (left > 0) {
    logger.warn({ left }, "requests were cut off at shutdown");
    steps.depart();
    await until(clock, end, () => active() === 0);
  }
  await steps.end();
  logger.info("shut down");
}

/** The outbound side serves as ever meanwhile. */
async function untilGone(
  { clock, logger, steps, hurry }: ShutdownOptions,
  deadline: number,
): Promise<void> {
  if (hurry.aborted || clock.now() >= deadline) return;
  logger.info("calls of the application are served until it is gone");
  const over = Promise.withResolvers<string>();
  const end = (how: string): void => over.resolve(how);
  const cancelDeadline = clock.after(deadline - clock.now(), () =>
    end("the drain timeout has ended, and the application is still there"),
  );
  const onHurry = (): void => end("the application is not waited for");
  hurry.addEventListener("abort", onHurry);
  let cancelLook: Cancel | undefined;
  let ended = false;
  const look = async (): Promise<void> => {
    const gone = await steps.applicationGone();
    if (gone) end("the application is gone");
    // Connections that came while the event loop stood still are counted first.
    else if (!ended)
      cancelLook = afterArrivals(clock, LOOK_AT_APPLICATION, next);
  };
  const next = (): void => {
    look().catch((thrown: unknown) =>
      end(`the application cannot be looked at: ${messageOf(thrown)}`),
    );
  };
  next();
  const how = await over.promise;
  ended = true;
  hurry.removeEventListener("abort", onHurry);
  cancelDeadline();
  cancelLook?.();
  logger.info(how);
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
