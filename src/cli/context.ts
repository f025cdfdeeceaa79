/** What a command may touch of the world around it, so that a test can take its place. */
import type { Clock } from "../core/clock.ts";
import type { LastResort } from "../runtime/last-resort.ts";
import type { UserSignals } from "../runtime/user-signals.ts";

export interface CliContext {
  readonly clock: Clock;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Colours on standard output: a person is watching. */
  readonly colours: boolean;
  print(text: string): void;
  complain(text: string): void;
  /** All of standard input. */
  readInput(): Promise<string>;
  /** Aborts when the process is asked to stop. */
  readonly stop: AbortSignal;
  /** What the process will end with; 0 unless a command says otherwise. */
  exitCode: number;
  /** Ends the process after an error that nobody caught; absent where nothing does. */
  readonly lastResort?: LastResort;
  /** SIGUSR1 and SIGUSR2; absent where nothing listens for them. */
  readonly userSignals?: UserSignals;
}

/** Resolves when the process is asked to stop. */
export function untilStopped({ stop }: CliContext): Promise<void> {
  return new Promise((resolve) => {
    if (stop.aborted) resolve();
    else stop.addEventListener("abort", () => resolve(), { once: true });
  });
}
