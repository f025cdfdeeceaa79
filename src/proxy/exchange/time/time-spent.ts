/** Where the time of a request went, for the words of the error that tells that it ran out. */
import type { Clock } from "../../../core/clock.ts";

export type Phase = "connecting" | "waiting" | "answering" | "pausing";

const WORDS: Readonly<Record<Phase, string>> = {
  connecting: "connecting",
  waiting: "waiting for a response",
  answering: "being answered",
  pausing: "pausing before a retry",
};

/** Kept only by requests that have a time-out: the others have no use for it. */
export class TimeSpent {
  readonly #sums: Record<Phase, number> = {
    connecting: 0,
    waiting: 0,
    answering: 0,
    pausing: 0,
  };
  readonly #clock: Clock;
  #phase: Phase = "connecting";
  #since: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.now();
  }

  enter(phase: Phase): void {
    const now = this.#clock.now();
    this.#sums[this.#phase] += now - this.#since;
    this.#phase = phase;
    this.#since = now;
  }

  /** "2 ms connecting, 1973 ms waiting for a response, 25 ms pausing before a retry; 2 attempts" */
  tell(attempts: number): string {
    this.enter(this.#phase);
    const parts: string[] = [];
    for (const phase of [
      "connecting",
      "waiting",
      "answering",
      "pausing",
    ] as const) {
      const sum = Math.round(this.#sums[phase]);
      if (sum > 0 || phase === this.#phase)
        parts.push(`${sum} ms ${WORDS[phase]}`);
    }
    return `${parts.join(", ")}; ${attempts} ${attempts === 1 ? "attempt" : "attempts"}`;
  }
}
