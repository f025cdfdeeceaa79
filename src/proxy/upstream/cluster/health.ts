/** Asks the endpoints of one cluster now and then whether they are well, and keeps out those that are not. */
import type { Cancel, Clock } from "../../../core/clock.ts";
import { messageOf } from "../../../core/errors.ts";
import {
  afterCheck,
  checkDelay,
  firstCheckDelay,
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
  const { clock } = options;
  const random = (): number => clock.random();
  const watched = new Map<string, Watched>();
  let settings: HealthCheck<number> | undefined;
  let version = 0;

  const forget = (key: string, each: Watched): void => {
    each.cancel();
    watched.delete(key);
    if (!each.state.healthy) version += 1;
  };

  const judge = (key: string, each: Watched, result: CheckResult): void => {
    if (settings === undefined) return;
    const before = each.state;
    each.state = afterCheck(before, result, settings);
    if (each.state.healthy === before.healthy) return;
    version += 1;
    options.onChange(
      key,
      each.state.healthy,
      result.kind === "healthy" ? "it responds again" : result.evidence,
    );
  };

  const plan = (key: string, each: Watched, delay: number): void => {
    each.cancel = clock.after(delay, () => run(key, each));
  };

  const run = (key: string, each: Watched): void => {
    const rules = settings;
    if (rules === undefined) return;
    const abort = new AbortController();
    let over = false;
    const finish = (result: CheckResult | undefined): void => {
      if (over) return;
      over = true;
      cancelTimeout();
      abort.abort();
      if (result === undefined || watched.get(key) !== each) return;
      judge(key, each, result);
      plan(key, each, checkDelay(rules.interval, random));
    };
    const cancelTimeout = clock.after(rules.timeout, () =>
      finish({
        kind: "unhealthy",
        evidence: `no response to the health check within ${rules.timeout} ms`,
      }),
    );
    each.cancel = () => finish(undefined);
    options
      .check(each.endpoint, rules, abort.signal)
      .then(finish, (error: unknown) =>
        finish({ kind: "unhealthy", evidence: messageOf(error) }),
      );
  };

  return {
    get version() {
      return version;
    },
    isHealthy: (endpoint) => watched.get(endpoint)?.state.healthy ?? true,
    update(endpoints, next) {
      const present = new Map(endpoints.map((each) => [each.key, each]));
      const same = JSON.stringify(settings) === JSON.stringify(next);
      settings = next;
      for (const [key, each] of [...watched]) {
        const endpoint = present.get(key);
        // Other settings ask another question: what was known is no answer to it.
        if (endpoint === undefined || !same) forget(key, each);
        else each.endpoint = endpoint;
      }
      if (next === undefined) return;
      for (const [key, endpoint] of present) {
        if (watched.has(key)) continue;
        const each: Watched = { endpoint, state: WELL, cancel: nothing };
        watched.set(key, each);
        plan(key, each, firstCheckDelay(next.interval, random));
      }
    },
    close() {
      for (const [key, each] of [...watched]) forget(key, each);
    },
  };
}

function nothing(): void {
  // Nothing is planned yet.
}
