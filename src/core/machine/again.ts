/** Asks the machine again for what it did not have a moment ago: file handles, memory, a read that failed. */
import { exponential } from "../backoff.ts";
import { wait, type Clock } from "../clock.ts";
import { systemCode } from "../errors.ts";
import { keepAlive } from "../keep-alive.ts";

/** What a process cannot do now and may be able to do in a moment. */
const MOMENTARY: ReadonlySet<string | undefined> = new Set([
  "EAGAIN",
  "EINTR",
  "EIO",
  "EMFILE",
  "ENFILE",
  "ENOBUFS",
  "ENOMEM",
]);
/** What the place is in the way of, for as long as nobody makes room there. */
const OF_THE_PLACE: ReadonlySet<string | undefined> = new Set([
  "EDQUOT",
  "EFBIG",
  "ENOSPC",
  "EROFS",
]);

/** What its network has no more of: local ports, memory for a name, a resolver that responds. */
const OF_THE_NETWORK: ReadonlySet<string | undefined> = new Set([
  "EADDRNOTAVAIL",
  "EAI_AGAIN",
  "EAI_MEMORY",
]);

const BACKOFF = { base: 50, max: 800 } as const;
/** Some 1.5 s in all. */
const TRIES = 6;

/**
 * The machine is what fails, not what it was asked. A name with several addresses fails with an error for each, of which one may be a
 * word of the other end.
 */
export function isOfTheMachine(thrown: unknown): boolean {
  if (thrown instanceof AggregateError)
    return thrown.errors.length > 0 && thrown.errors.every(isOfTheMachine);
  const code = systemCode(thrown);
  return (
    MOMENTARY.has(code) || OF_THE_PLACE.has(code) || OF_THE_NETWORK.has(code)
  );
}

/** Runs `run`, and again where it fails for a moment: for some 1.5 s in all. Rejects with the last error. */
export async function again<T>(
  clock: Clock,
  run: () => Promise<T>,
): Promise<T> {
  const never = new AbortController().signal;
  for (let attempt = 1; ; attempt += 1)
    try {
      return await run();
    } catch (thrown) {
      if (attempt === TRIES || !MOMENTARY.has(systemCode(thrown))) throw thrown;
      // At a start nothing else may keep the process alive.
      const letGo = keepAlive();
      await wait(clock, exponential(BACKOFF, attempt), never).finally(letGo);
    }
}
