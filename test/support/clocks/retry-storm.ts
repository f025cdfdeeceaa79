/** Clients with retries before replicas that lose half of their speed for a while and go on with work that nobody waits for any more. */
import { makeEngine, type Engine } from "../../../bench/simulate/engine.ts";
import { EFFECTS, type Effects } from "../../../src/policy/outcome.ts";
import type { OutcomeKind } from "../../../src/mesh/codes.ts";
import {
  compileRetry,
  decideRetry,
  retryBudget,
  type RetryBudget,
} from "../../../src/policy/retry.ts";
import {
  TRAFFIC_DEFAULTS,
  type CircuitBreaker,
} from "../../../src/resources/traffic-policy/settings.ts";

/** Unless an arm has others. */
const CLIENTS = 4;
const REPLICAS = 4;
const SLOTS = 4;
/** Milliseconds. */
const SERVICE = 10;
const TIMEOUT = 250;
export const LOST_FROM = 5_000;
export const LOST_TO = 15_000;
export const END = 45_000;
/** Requests a second that the replicas can serve. */
export const CAPACITY: number = (REPLICAS * SLOTS * 1000) / SERVICE;
export const OFFERED: number = 0.8 * CAPACITY;

export interface Arm {
  readonly budget: boolean;
  readonly breaker: boolean;
  /** Requests that wait at one replica at most. */
  readonly queue: number;
  readonly clients?: number;
}

export interface Storm {
  /** By the second in which the request was made: those that got their answer, as a share. */
  readonly goodput: readonly number[];
  /** Of each client, by the second: all that it made until then. */
  readonly requests: readonly (readonly number[])[];
  readonly attempts: readonly (readonly number[])[];
}

/** As the proxy's route would have it: three retries, of what timed out and of 503. */
const POLICY = compileRetry(
  { attempts: 3, codes: [503] },
  { attempts: 1, on: [] },
);

const ENDLESS: RetryBudget = {
  request: () => undefined,
  take: () => true,
  usage: () => ({ requests: 0, retries: 0 }),
};

export function storm(arm: Arm, seed: number): Storm {
  const engine = makeEngine(seed);
  const replicas = Array.from(
    { length: REPLICAS },
    () => new Replica(engine, arm.queue),
  );
  const seconds = END / 1000;
  const { clients = CLIENTS } = arm;
  const made = new Array<number>(seconds).fill(0);
  const answered = new Array<number>(seconds).fill(0);
  const requests: number[][] = [];
  const attempts: number[][] = [];

  for (let client = 0; client < clients; client += 1) {
    const budget = arm.budget
      ? retryBudget(TRAFFIC_DEFAULTS.retryConstraint)
      : ENDLESS;
    const breaker = arm.breaker
      ? new Breaker(engine, TRAFFIC_DEFAULTS.circuitBreaker)
      : undefined;
    const madeBy = new Array<number>(seconds).fill(0);
    const triedBy = new Array<number>(seconds).fill(0);
    requests.push(madeBy);
    attempts.push(triedBy);

    const request = (): void => {
      const second = Math.floor(engine.now() / 1000);
      count(made, second);
      count(madeBy, second);
      budget.request(engine.now());
      attempt(second, 0, -1);
    };
    const attempt = (second: number, retries: number, last: number): void => {
      if (breaker?.enters() === false) return;
      count(triedBy, Math.floor(engine.now() / 1000));
      const draw = Math.floor(
        engine.random() * (REPLICAS - (last < 0 ? 0 : 1)),
      );
      const chosen = last < 0 || draw < last ? draw : draw + 1;
      let over = false;
      const end = (kind: OutcomeKind): void => {
        if (over) return;
        over = true;
        cancel();
        const effects: Effects = EFFECTS[kind];
        breaker?.settle(effects.breaker);
        if (kind === "answered") {
          count(answered, second);
          return;
        }
        const decision = decideRetry(
          {
            policy: POLICY,
            attempt: {
              kind,
              retry: effects.retry,
              status: kind === "server-error" ? 503 : undefined,
              retryAfter: undefined,
              reusedConnection: true,
            },
            repeatable: true,
            retries,
            committed: false,
            replayable: true,
            otherEndpoint: true,
            deadline: Number.POSITIVE_INFINITY,
            now: engine.now(),
          },
          budget,
          engine,
        );
        if (decision.retry)
          engine.after(decision.after, () =>
            attempt(second, retries + 1, chosen),
          );
      };
      const cancel = engine.after(TIMEOUT, () => end("attempt-timeout"));
      if (replicas[chosen]?.take(() => end("answered")) !== true)
        end("server-error");
    };
    const arrive = (): void => {
      request();
      engine.after(
        (-Math.log(1 - engine.random()) * 1000 * clients) / OFFERED,
        arrive,
      );
    };
    arrive();
  }
  for (const [at, speed] of [
    [LOST_FROM, 0.5],
    [LOST_TO, 1],
  ] as const)
    engine.after(at, () => {
      for (const replica of replicas) replica.speed = speed;
    });
  engine.run(END - 1);
  return {
    goodput: made.map((all, second) => (answered[second] ?? 0) / all),
    requests: requests.map(sums),
    attempts: attempts.map(sums),
  };
}

function count(counts: number[], at: number): void {
  counts[at] = (counts[at] ?? 0) + 1;
}

function sums(counts: readonly number[]): number[] {
  let sum = 0;
  return counts.map((each) => (sum += each));
}

/** Slots and a queue; whoever has given up is served all the same. */
class Replica {
  speed = 1;
  readonly #engine: Engine;
  readonly #queue: (() => void)[] = [];
  readonly #longest: number;
  #free = SLOTS;

  constructor(engine: Engine, longest: number) {
    this.#engine = engine;
    this.#longest = longest;
  }

  /** False: the queue is full. */
  take(done: () => void): boolean {
    if (this.#free > 0) {
      this.#free -= 1;
      this.#serve(done);
      return true;
    }
    if (this.#queue.length >= this.#longest) return false;
    this.#queue.push(done);
    return true;
  }

  #serve(done: () => void): void {
    const normal =
      Math.sqrt(-2 * Math.log(1 - this.#engine.random())) *
      Math.cos(2 * Math.PI * this.#engine.random());
    const took = (SERVICE * Math.exp(0.5 * normal - 0.125)) / this.speed;
    this.#engine.after(took, () => {
      done();
      const next = this.#queue.shift();
      if (next === undefined) this.#free += 1;
      else this.#serve(next);
    });
  }
}

/** The rules of the proxy's breaker (`proxy/upstream/cluster/breaker.ts`), whose own timer knows no simulated time. */
class Breaker {
  readonly #engine: Engine;
  readonly #settings: CircuitBreaker<number>;
  #state: "closed" | "open" | "half-open" = "closed";
  #probing = false;
  #calls: { readonly at: number; readonly failed: boolean }[] = [];

  constructor(engine: Engine, settings: CircuitBreaker<number>) {
    this.#engine = engine;
    this.#settings = settings;
  }

  enters(): boolean {
    if (this.#state === "closed") return true;
    if (this.#state === "open" || this.#probing) return false;
    this.#probing = true;
    return true;
  }

  settle(effect: Effects["breaker"]): void {
    if (effect === "none") return;
    const failed = effect === "failure";
    if (this.#state === "half-open" && this.#probing) {
      this.#probing = false;
      if (failed) this.#open();
      else {
        this.#state = "closed";
        this.#calls = [];
      }
      return;
    }
    if (this.#state !== "closed") return;
    const { window, volumeThreshold, errorThresholdPercent } = this.#settings;
    const now = this.#engine.now();
    this.#calls.push({ at: now, failed });
    // Once in a while is enough: the window is long.
    if (this.#calls.length % 50 !== 0) return;
    this.#calls = this.#calls.filter(({ at }) => now - at < window);
    const failures = this.#calls.filter((call) => call.failed).length;
    if (
      this.#calls.length >= volumeThreshold &&
      (failures / this.#calls.length) * 100 > errorThresholdPercent
    )
      this.#open();
  }

  #open(): void {
    this.#state = "open";
    this.#engine.after(this.#settings.resetTimeout, () => {
      this.#state = "half-open";
      this.#probing = false;
    });
  }
}
