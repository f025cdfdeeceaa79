/** An application with so many slots behind a gate, on a clock that jumps from event to event: how long requests take, and how many are served. */
import {
  ConcurrencyLimiter,
  type Waiter,
  type Entry,
} from "../../../src/proxy/application/concurrency-limiter.ts";
import { makeMeters } from "../../../src/telemetry/meters.ts";
import type { ConcurrencyMode } from "../../../src/resources/traffic-policy/overload.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import { fakeClock, seededRandom, type FakeClock } from "./fake-clock.ts";

export interface Scenario {
  readonly mode: ConcurrencyMode;
  readonly slots: number;
  /** Milliseconds that one request takes on average, in a slot of its own. */
  readonly service: number;
  /** Requests a second. */
  readonly rate: number;
  /** Seconds; what comes in the first part is not counted. */
  readonly seconds: number;
  readonly warmUp: number;
  readonly seed: number;
  readonly entry?: (index: number) => Entry;
}

export interface Result {
  readonly offered: number;
  readonly served: number;
  /** Served a second. */
  readonly goodput: number;
  readonly p50: number;
  readonly p99: number;
  readonly refused: number;
  readonly wouldRefuse: number;
  readonly limiter: ConcurrencyLimiter;
  /** Served, by the index of the request. */
  readonly servedOnes: ReadonlySet<number>;
}

const EQUAL: Entry = {
  policy: undefined,
  priority: undefined,
  retry: false,
  inside: true,
};

export function simulate(scenario: Scenario): Result {
  const clock = fakeClock();
  const random = seededRandom(scenario.seed);
  const limiter = new ConcurrencyLimiter(
    1,
    clock,
    makeMeters(makeMetrics({ maxSeries: 100 })),
    {
      mode: scenario.mode,
      minConcurrency: 4,
      maxConcurrency: 1000,
    },
  );
  const application = new Application(clock, random, scenario);
  const latencies: number[] = [];
  const servedOnes = new Set<number>();
  let refused = 0;
  let offered = 0;
  const from = scenario.warmUp * 1000;

  const run = (index: number, since: number): void => {
    const startedAt = clock.now();
    application.serve(() => {
      const now = clock.now();
      limiter.leave(now - startedAt, now);
      if (since < from) return;
      latencies.push(now - since);
      servedOnes.add(index);
    });
  };
  const arrive = (index: number): void => {
    const since = clock.now();
    if (since >= from) offered += 1;
    if (scenario.mode === "ENFORCE") {
      const entrant: Waiter = {
        entry: scenario.entry?.(index) ?? EQUAL,
        since,
        admitted: () => run(index, since),
        shed: () => {
          if (since >= from) refused += 1;
        },
      };
      const entered = limiter.enter(entrant);
      if (entered instanceof Error && since >= from) refused += 1;
    } else {
      if (scenario.mode === "SHADOW") limiter.observe();
      run(index, since);
    }
  };
  const end = scenario.seconds * 1000;
  for (let index = 0, at = 0; ; index += 1) {
    at += (-Math.log(1 - random()) * 1000) / scenario.rate;
    if (at >= end) break;
    clock.advance(at - clock.now());
    arrive(index);
  }
  latencies.sort((left, right) => left - right);
  const quantile = (share: number): number =>
    latencies[Math.floor(latencies.length * share)] ?? 0;
  const result = {
    offered,
    served: latencies.length,
    goodput: latencies.length / (scenario.seconds - scenario.warmUp),
    p50: quantile(0.5),
    p99: quantile(0.99),
    refused,
    wouldRefuse: limiter.wouldRefuse,
    limiter,
    servedOnes,
  };
  limiter.close();
  return result;
}

/** Slots that serve, and a queue without end before them. */
class Application {
  readonly #clock: FakeClock;
  readonly #random: () => number;
  readonly #service: number;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(clock: FakeClock, random: () => number, scenario: Scenario) {
    this.#clock = clock;
    this.#random = random;
    this.#service = scenario.service;
    this.#free = scenario.slots;
  }

  serve(done: () => void): void {
    if (this.#free === 0) {
      this.#waiting.push(done);
      return;
    }
    this.#free -= 1;
    this.#start(done);
  }

  #start(done: () => void): void {
    this.#clock.after(this.#duration(), () => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else this.#start(next);
      done();
    });
  }

  /** Lognormal with a sigma of 0.5. */
  #duration(): number {
    const normal =
      Math.sqrt(-2 * Math.log(1 - this.#random())) *
      Math.cos(2 * Math.PI * this.#random());
    return this.#service * Math.exp(0.5 * normal - 0.125);
  }
}
