/** Asks the endpoints of one cluster now and then whether they are well, and keeps out those that are not. */
import type { Cancel, Clock } from "../../../core/clock.ts";
import {
  afterCheck,
  checkDelay,
  firstCheckDelay,
  resultOfError,
  WELL,
  type CheckResult,
  type HealthState,
} from "../../../policy/health.ts";
import type { Endpoint } from "../../../policy/snapshot.ts";
import type { HealthCheck } from "../../../resources/traffic-policy/health-check.ts";

/** One check. Ends early when the signal aborts; what it then gives, or throws, does not matter. */
export type Check = (
  endpoint: Endpoint,
  settings: HealthCheck<number>,
  signal: AbortSignal,
) => Promise<CheckResult>;

export interface HealthOptions {
  readonly clock: Clock;
  readonly check: Check;
  /** An endpoint is out, or back. */
  onChange(endpoint: string, healthy: boolean, evidence: string): void;
}

export interface Health {
  /** The endpoints there are, and how they are checked; undefined: not at all, and all are well. */
  update(
    endpoints: readonly Endpoint[],
    settings: HealthCheck<number> | undefined,
  ): void;
  isHealthy(endpoint: string): boolean;
  /** Grows with each change of what `isHealthy` says. */
  readonly version: number;
  close(): void;
}

interface Watched {
  endpoint: Endpoint;
  state: HealthState;
  cancel: Cancel;
}

export function makeHealth(options: HealthOptions): Health {
  return new CheckedEndpoints(options);
}

class CheckedEndpoints implements Health {
  readonly #options: HealthOptions;
  readonly #random: () => number;
  readonly #watched = new Map<string, Watched>();
  #settings: HealthCheck<number> | undefined;
  #version = 0;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#random = () => options.clock.random();
  }

  get version(): number {
    return this.#version;
  }

  isHealthy(endpoint: string): boolean {
    return this.#watched.get(endpoint)?.state.healthy ?? true;
  }

  update(
    endpoints: readonly Endpoint[],
    settings: HealthCheck<number> | undefined,
  ): void {
    const present = new Map(endpoints.map((each) => [each.key, each]));
    const same = JSON.stringify(this.#settings) === JSON.stringify(settings);
    this.#settings = settings;
    for (const [key, each] of [...this.#watched]) {
      const endpoint = present.get(key);
      // Other settings ask another question: what was known does not answer it.
      if (endpoint === undefined || !same) this.#forget(key, each);
      else each.endpoint = endpoint;
    }
    if (settings === undefined) return;
    for (const [key, endpoint] of present) {
      if (this.#watched.has(key)) continue;
      const each: Watched = { endpoint, state: WELL, cancel: nothing };
      this.#watched.set(key, each);
      this.#plan(key, each, firstCheckDelay(settings.interval, this.#random));
    }
  }

  close(): void {
    for (const [key, each] of [...this.#watched]) this.#forget(key, each);
  }

  #forget(key: string, each: Watched): void {
    each.cancel();
    this.#watched.delete(key);
    if (!each.state.healthy) this.#version += 1;
  }

  #judge(key: string, each: Watched, result: CheckResult): void {
    if (this.#settings === undefined) return;
    const before = each.state;
    each.state = afterCheck(before, result, this.#settings);
    if (each.state.healthy === before.healthy) return;
    this.#version += 1;
    this.#options.onChange(
      key,
      each.state.healthy,
      result.kind === "healthy" ? "it responds again" : result.evidence,
    );
  }

  #plan(key: string, each: Watched, delay: number): void {
    const { clock } = this.#options;
    each.cancel = clock.after(delay, () => this.#run(key, each));
  }

  #run(key: string, each: Watched): void {
    const { clock, check } = this.#options;
    const rules = this.#settings;
    if (rules === undefined) return;
    const abort = new AbortController();
    let over = false;
    const finish = (result: CheckResult | undefined): void => {
      if (over) return;
      over = true;
      cancelTimeout();
      abort.abort();
      if (result === undefined || this.#watched.get(key) !== each) return;
      this.#judge(key, each, result);
      this.#plan(key, each, checkDelay(rules.interval, this.#random));
    };
    const cancelTimeout = clock.after(rules.timeout, () =>
      finish({
        kind: "unhealthy",
        evidence: `no response to the health check within ${rules.timeout} ms`,
      }),
    );
    each.cancel = () => finish(undefined);
    check(each.endpoint, rules, abort.signal).then(finish, (error: unknown) =>
      finish(resultOfError(error)),
    );
  }
}

function nothing(): void {
  // Nothing is planned yet.
}
