/**
 * After how long a request that has no response yet is sent to a second endpoint: later than most take, so that few are doubled and those
 * few are the ones that something holds up (Dean and Barroso, "The Tail at Scale", CACM 2013).
 */

export interface HedgeOptions {
  /** Percentile of the latencies: 95 doubles one request in twenty. */
  readonly percentile: number;
  /** Milliseconds: never sooner. */
  readonly minimumDelay: number;
}

/** Latencies that are remembered, the newest. */
const KEPT = 1024;
/** With fewer nobody knows what is slow. */
const FEWEST = 100;
/** Latencies between two looks: sorting is not for every request. */
const EVERY = 64;

export class HedgeDelay {
  readonly #options: HedgeOptions;
  readonly #latencies = new Float64Array(KEPT);
  #count = 0;
  #delay: number | undefined;

  constructor(options: HedgeOptions) {
    this.#options = options;
  }

  /** Milliseconds; undefined before enough is known. */
  get delay(): number | undefined {
    return this.#delay;
  }

  /** Milliseconds to the head of a first response; of a request that was given up for a quicker one, how long it had been in flight. */
  record(latency: number): void {
    this.#latencies[this.#count % KEPT] = latency;
    this.#count += 1;
    if (this.#count < FEWEST || this.#count % EVERY !== 0) return;
    const known = this.#latencies.slice(0, Math.min(this.#count, KEPT)).sort();
    const { percentile, minimumDelay } = this.#options;
    const at = Math.min(
      known.length - 1,
      Math.floor((known.length * percentile) / 100),
    );
    this.#delay = Math.max(minimumDelay, known[at] ?? 0);
  }
}
