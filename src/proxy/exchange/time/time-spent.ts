/** Where the time of a request went, for the words of the error that tells that it ran out. */
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
  #phase: Phase = "connecting";
  #since: number;

  /** `now`, here and below: monotonic milliseconds, which the caller has at hand. */
  constructor(now: number) {
    this.#since = now;
  }

  enter(phase: Phase, now: number): void {
    this.#sums[this.#phase] += now - this.#since;
    this.#phase = phase;
    this.#since = now;
  }

  /** "2 ms connecting, 1973 ms waiting for a response, 25 ms pausing before a retry; 2 attempts" */
  tell(attempts: number, now: number): string {
    this.enter(this.#phase, now);
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
