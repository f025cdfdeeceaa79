/** The wish to stop: what a command hears of it, and what becomes of asking again. */
import type { Clock } from "../core/clock.ts";
import { EXIT, UserError } from "../core/errors.ts";

/** Milliseconds in which a second wish is the first once more: a terminal and a parent may both pass it on. */
export const SAME_WISH = 500;

/** Why a command ends that runs until it is asked to stop. */
export class StopRequest extends UserError {
  /** Undefined: the parent is gone. */
  readonly signal: NodeJS.Signals | undefined;

  constructor(signal: NodeJS.Signals | undefined) {
    super("stopped");
    this.signal = signal;
  }
}

/** Whether it was asked by SIGTERM: so a supervisor stops a whole instance, and the application gets the same. */
export function isOfSupervisor({ reason }: AbortSignal): boolean {
  return reason instanceof StopRequest && reason.signal === "SIGTERM";
}

export interface StopOptions {
  readonly clock: Clock;
  readonly stop: AbortController;
  /** Ends the process at once. */
  readonly exit: (code: number) => void;
  /** `process`, whose signals they are. */
  readonly signals: {
    on(signal: NodeJS.Signals, run: () => void): unknown;
  };
}

/** The first one asks for an end in order. Asking again ends the process at once. */
export function listenForSignals(options: StopOptions): void {
  const { clock, stop, exit, signals } = options;
  let first: number | undefined;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    signals.on(signal, () => {
      const now = clock.now();
      if (first === undefined) {
        first = now;
        stop.abort(new StopRequest(signal));
      } else if (now - first >= SAME_WISH) exit(EXIT.stopped);
    });
}
