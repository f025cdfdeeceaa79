/** When each endpoint of a cluster was reached last, and when it could not be: what a caller can say of it by its own eyes. */
import { FRESH_FOR, type Sighting } from "../../../agent/agent.ts";
import type { EjectionEffect } from "../../../policy/outlier.ts";
import type { Endpoint } from "../../../policy/snapshot.ts";

/** Monotonic milliseconds. */
interface Seen {
  reachedAt: number;
  missedAt: number;
}

export class Evidence {
  readonly #seen = new Map<string, Seen>();
  /** Those that somebody wants to know of. */
  #unconfirmed: readonly Endpoint[] = [];

  update(endpoints: readonly Endpoint[]): void {
    const unconfirmed = endpoints.filter((each) => each.unconfirmed === true);
    this.#unconfirmed = unconfirmed;
    if (this.#seen.size <= endpoints.length) return;
    const present = new Set(endpoints.map(({ key }) => key));
    for (const key of this.#seen.keys())
      if (!present.has(key)) this.#seen.delete(key);
  }

  /** What became of an attempt: a failure that came as a response, or in the middle of one, proves neither. */
  record(endpoint: string, effect: EjectionEffect, now: number): void {
    if (effect !== "success" && effect !== "local-origin") return;
    let seen = this.#seen.get(endpoint);
    if (seen === undefined) {
      seen = { reachedAt: -Infinity, missedAt: -Infinity };
      this.#seen.set(endpoint, seen);
    }
    if (effect === "success") seen.reachedAt = now;
    else seen.missedAt = now;
  }

  /** Only of unconfirmed endpoints, and lately. */
  *sightings(now: number): Generator<Sighting> {
    for (const { key, workload } of this.#unconfirmed) {
      const seen = this.#seen.get(key);
      if (seen === undefined) continue;
      const { reachedAt, missedAt } = seen;
      const age = now - Math.max(reachedAt, missedAt);
      if (age < FRESH_FOR)
        yield { workload, reached: reachedAt > missedAt, age };
    }
  }
}
