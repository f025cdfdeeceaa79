/** A request of our own to an endpoint that is doubted or ejected, and the time that its response may take. */
import type { Clock } from "../../../core/clock.ts";
import { resultOfError, type CheckResult } from "../../../policy/health.ts";

export interface Questioner {
  /** A request of our own. What it gives after the signal aborted does not matter. */
  ask(endpoint: string, signal: AbortSignal): Promise<CheckResult>;
  /** Silence is evidence: endpoints of this cluster do respond to such a request. */
  readonly responds: boolean;
}

export interface Question {
  /** Aborted once nobody waits for its result. */
  readonly abort: AbortController;
  /** Undefined while it is open. */
  result: CheckResult | undefined;
}

/** Milliseconds that a response to our own request may take. */
export const ASK_TIMEOUT = 1000;

export function askQuestion(
  asker: Questioner,
  clock: Clock,
  endpoint: string,
): Question {
  const question: Question = {
    abort: new AbortController(),
    result: undefined,
  };
  const settle = (result: CheckResult): void => {
    cancel();
    question.result ??= result;
  };
  const cancel = clock.after(ASK_TIMEOUT, () => {
    settle({
      kind: asker.responds ? "unhealthy" : "unknown",
      evidence: `no response to a request of our own within ${ASK_TIMEOUT} ms`,
    });
    question.abort.abort();
  });
  question.abort.signal.addEventListener("abort", cancel, { once: true });
  asker
    .ask(endpoint, question.abort.signal)
    .then(settle, (error: unknown) => settle(resultOfError(error)));
  return question;
}
