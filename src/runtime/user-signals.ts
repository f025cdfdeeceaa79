/** SIGUSR1 and SIGUSR2: left to themselves, the one opens Node's debugger to every user of the machine, and the other ends the process without a line. */
import { libcFunction } from "./libc.ts";

export type UserSignal = "SIGUSR1" | "SIGUSR2";

export interface UserSignals {
  /** From now on `run` is called for each of them. */
  answer(run: (signal: UserSignal) => void): void;
}

/** `ignored` is called for each until something else answers them. */
export function listenForUserSignals(
  signals: { on(signal: UserSignal, run: () => void): unknown },
  ignored: (signal: UserSignal) => void,
): UserSignals {
  let heard = ignored;
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const)
    signals.on(signal, () => heard(signal));
  return { answer: (run) => (heard = run) };
}

/** Linux, of the GNU C library as of musl: how `pthread_sigmask` is asked, and the bytes of a set of signals. */
const SIG_UNBLOCK = 1;
const SET_BYTES = 128;
/** SIGUSR1 is the tenth signal, of eight to a byte. */
const SIGUSR1_SET: Buffer = Buffer.alloc(SET_BYTES);
SIGUSR1_SET[1] = 0b10;

/**
 * With `--disable-sigusr1` Node blocks the signal from its first moment, so that no debugger can be had while it starts: also for a
 * listener. This lets it through, one that came meanwhile as well. False where the signal stays blocked.
 */
export function receiveSigusr1(): boolean {
  if (!process.execArgv.includes("--disable-sigusr1")) return true;
  if (process.platform !== "linux") return false;
  const setMask = libcFunction(
    "int pthread_sigmask(int how, const void *set, void *before)",
  );
  return setMask?.(SIG_UNBLOCK, SIGUSR1_SET, null) === 0;
}
