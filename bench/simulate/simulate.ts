/** One run: clients with a balancer each, replicas, requests at random moments, and what became of each of them. */
import {
  makeBalancer,
  type Balancer,
  type EndpointPick,
} from "../../src/policy/balance/picker.ts";
import {
  isReportDue,
  reported,
  reportPeriod,
  type LoadMeter,
  type Subscriber,
} from "../../src/policy/balance/load-report.ts";
import { latencyOf, type Outcome } from "../../src/policy/outcome.ts";
import { seededRandom } from "../../test/support/clocks/fake-clock.ts";
import { exponential, lognormal, makeEngine, type Engine } from "./engine.ts";
import type { PolicyArm } from "./policies.ts";
import { Replica, type Work } from "./replica.ts";
import {
  CLIENTS,
  MEAN_DEMAND,
  REPLICAS,
  SIGMA,
  SLOTS,
  type Scenario,
} from "./scenarios.ts";

/** Milliseconds that a caller waits; a failure is counted as this long (Prequal's convention). */
export const DEADLINE = 1000;
/** Milliseconds on the way between two sidecars, one way. */
const NETWORK = 0.25;
/** Milliseconds from the start that are not counted. */
export const WARM_UP = 5000;

export interface RunOptions {
  readonly scenario: Scenario;
  readonly policy: PolicyArm;
  readonly seed: number;
  /** Milliseconds that are counted. */
  readonly duration: number;
}

export interface RunResult {
  readonly requests: number;
  readonly errors: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** Shares of the requests that went to the busiest and to the idlest replica. */
  readonly busiest: number;
  readonly idlest: number;
}

interface Target {
  readonly key: string;
  readonly weight: number;
  readonly ready: boolean;
  readonly distance: number;
  readonly replica: Replica;
  readonly index: number;
}

interface Client {
  readonly balancer: Balancer<Target>;
  /** By replica. */
  readonly subscriptions: readonly Subscriber[];
}

export function simulate(options: RunOptions): RunResult {
  const { scenario, policy, seed, duration } = options;
  // Chance of its own for each: whatever the policy draws, arrivals, demands and faults stay the same.
  const engine = makeEngine(seed);
  const arrivals = seededRandom(seed + 1000);
  const demands = seededRandom(seed + 2000);
  const faults = seededRandom(seed + 3000);
  const errors = seededRandom(seed + 4000);
  const end = WARM_UP + duration;

  const count = REPLICAS + (scenario.joining === undefined ? 0 : 1);
  const replicas = Array.from(
    { length: count },
    () => new Replica(engine, SLOTS, errors),
  );
  const targets = replicas.map((replica, index) => ({
    key: `replica-${index}`,
    weight: 1,
    ready: true,
    distance: 0,
    replica,
    index,
  }));
  const clients = Array.from({ length: CLIENTS }, () =>
    makeClient(engine, count),
  );
  const join = (present: readonly Target[]): void => {
    for (const { balancer } of clients)
      balancer.update(
        present,
        { loadBalancer: { simple: policy.loadBalancer }, minHealthPercent: 0 },
        engine.now(),
      );
  };
  join(targets.slice(0, REPLICAS));
  if (scenario.joining !== undefined)
    engine.after(scenario.joining.at, () => join(targets));
  scenario.inject(replicas, engine, faults);
  if (policy.reports)
    for (const target of targets) pushReports(engine, target, clients);

  const book = makeBook(scenario.counted ?? { from: WARM_UP, to: end });
  const rate = (scenario.load * REPLICAS * SLOTS) / MEAN_DEMAND / CLIENTS;
  for (const client of clients) {
    const next = (): void => {
      engine.after(exponential(arrivals, 1 / rate), () => {
        const demand = lognormal(demands, MEAN_DEMAND, SIGMA);
        call(engine, policy, client, demand, book);
        next();
      });
    };
    next();
  }
  engine.run(end);
  const served = replicas.map((each) => each.served);
  engine.run(end + DEADLINE);
  return book.close(served);
}

function makeClient(engine: Engine, replicas: number): Client {
  return {
    balancer: makeBalancer<Target>(() => engine.random(), {
      version: 0,
      until: () => 0,
      onProbation: () => false,
    }),
    subscriptions: Array.from({ length: replicas }, () => ({
      askedAt: 0,
      saidAt: 0,
      saidVersion: -1,
    })),
  };
}

function call(
  engine: Engine,
  policy: PolicyArm,
  client: Client,
  demand: number,
  book: Book,
): void {
  const startedAt = engine.now();
  const pick = client.balancer.pick(startedAt);
  if (pick.kind === "none") throw new Error(pick.reason);
  const { replica } = pick.endpoint;
  let over = false;
  const finish = (outcome: Outcome): void => {
    over = true;
    cancelDeadline();
    settle(engine, policy, pick, outcome, engine.now() - startedAt);
    book.add(startedAt, engine.now() - startedAt, outcome.kind !== "answered");
  };
  const work: Work = {
    demand,
    finished(failed) {
      const said = policy.reports ? sayOnAnswer(engine, client, pick) : nothing;
      engine.after(NETWORK, () => {
        if (over) return;
        said();
        finish(failed ? FAILED : ANSWERED);
      });
    },
  };
  const cancelDeadline = engine.after(DEADLINE, () => {
    if (over) return;
    finish(TIMED_OUT);
    engine.after(NETWORK, () => replica.drop(work));
  });
  engine.after(NETWORK, () => replica.take(work));
}

const ANSWERED: Outcome = outcome("answered");
const FAILED: Outcome = outcome("server-error");
const TIMED_OUT: Outcome = outcome("attempt-timeout");

function outcome(kind: Outcome["kind"]): Outcome {
  return { kind, status: undefined, retryAfter: undefined };
}

function settle(
  engine: Engine,
  policy: PolicyArm,
  pick: EndpointPick<Target>,
  outcome: Outcome,
  took: number,
): void {
  pick.done(
    policy.penalty ? latencyOf(outcome, took) : took,
    engine.now(),
    policy.penalty && outcome.kind !== "answered",
  );
}

/** `x-wherry-load` of an answer: as of now, heard when it arrives. */
function sayOnAnswer(
  engine: Engine,
  { balancer, subscriptions }: Client,
  { endpoint: { key, index, replica } }: EndpointPick<Target>,
): () => void {
  const subscription = subscriptions[index];
  if (subscription === undefined) return nothing;
  reported(subscription, replica.meter, engine.now());
  const load = loadOf(replica.meter);
  return () => balancer.report(key, load, 0, engine.now());
}

/** Reports to those who get no answers that could carry one. */
function pushReports(
  engine: Engine,
  { key, index, replica }: Target,
  clients: readonly Client[],
): void {
  const { meter } = replica;
  const round = (): void => {
    const now = engine.now();
    for (const { balancer, subscriptions } of clients) {
      const subscription = subscriptions[index];
      if (subscription === undefined || !isReportDue(subscription, meter, now))
        continue;
      reported(subscription, meter, now);
      const load = loadOf(meter);
      const { sampledAt } = meter;
      engine.after(NETWORK, () =>
        balancer.report(key, load, engine.now() - sampledAt, engine.now()),
      );
    }
    engine.after(
      reportPeriod(clients.length, () => engine.random()),
      round,
    );
  };
  engine.after(
    reportPeriod(clients.length, () => engine.random()),
    round,
  );
}

function loadOf({ inFlight, latency, limit }: LoadMeter): {
  inFlight: number;
  latency: number;
  limit: number;
} {
  return { inFlight, latency, limit };
}

interface Book {
  add(startedAt: number, took: number, failed: boolean): void;
  close(served: readonly number[]): RunResult;
}

function makeBook(counted: {
  readonly from: number;
  readonly to: number;
}): Book {
  const took: number[] = [];
  let errors = 0;
  return {
    add(startedAt, ms, failed) {
      if (startedAt < counted.from || startedAt >= counted.to) return;
      if (failed) errors += 1;
      took.push(failed ? DEADLINE : ms);
    },
    close(served) {
      const sorted = Float64Array.from(took).sort();
      const all = served.reduce((sum, each) => sum + each, 0);
      const at = (share: number): number =>
        sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
      return {
        requests: sorted.length,
        errors: errors / sorted.length,
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        busiest: Math.max(...served) / all,
        idlest: Math.min(...served) / all,
      };
    },
  };
}

function nothing(): void {
  // This policy hears no reports.
}
