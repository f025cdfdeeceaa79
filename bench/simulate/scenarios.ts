/** What happens to the replicas, by scenario (the same for every policy and for a seed always the same). */
import type { Clock } from "../../src/core/clock.ts";
import { exponential } from "./engine.ts";
import type { Replica } from "./replica.ts";

export const CLIENTS = 10;
export const REPLICAS = 10;
export const SLOTS = 4;
/** Milliseconds of work of a request: mean, and the deviation of its logarithm. */
export const MEAN_DEMAND = 10;
export const SIGMA = 0.8;

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** Requests offered, as a share of what `REPLICAS` replicas in good health can do. */
  readonly load: number;
  /** Replicas that join later, besides those that are there from the start. */
  readonly joining?: { readonly at: number };
  /** Milliseconds: only requests that begin within are counted. Absent: all after the warm-up. */
  readonly counted?: { readonly from: number; readonly to: number };
  /** Sets up what goes wrong; `random` belongs to the scenario alone. */
  inject(
    replicas: readonly Replica[],
    clock: Clock,
    random: () => number,
  ): void;
}

/** Milliseconds: what goes wrong once goes wrong here, when everybody has settled. */
export const FAULT_AT = 10_000;

type Inject = Scenario["inject"];

const slowOne: Inject = ([first]) => {
  if (first !== undefined) first.speed = 0.2;
};

const unlike: Inject = (replicas) =>
  replicas.forEach((each, index) => {
    each.speed = index % 2 === 0 ? 1.4 : 0.6;
  });

const pauses: Inject = (replicas, clock, random) => {
  for (const replica of replicas)
    again(clock, random, 5000, () => {
      replica.pause(200);
      return 200;
    });
};

const antagonists: Inject = (replicas, clock, random) => {
  for (const replica of replicas)
    again(clock, random, 3000, () => {
      const lasts = exponential(random, 1500);
      replica.speed = 0.4;
      clock.after(lasts, () => (replica.speed = 1));
      return lasts;
    });
};

const blackHole: Inject = ([first], clock) => {
  clock.after(FAULT_AT, () => {
    if (first !== undefined) first.hole = true;
  });
};

const gray: Inject = ([first], clock) => {
  clock.after(FAULT_AT, () => {
    if (first !== undefined) first.failing = 0.3;
  });
};

const coldStart: Inject = (replicas, clock) => {
  const last = replicas.at(-1);
  if (last === undefined) return;
  last.speed = 0.2;
  clock.after(FAULT_AT + 10_000, () => (last.speed = 1));
};

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "homogeneous",
    title: "all alike",
    load: 0.65,
    inject: nothing,
  },
  {
    name: "slow",
    title: "one replica 5 × slower",
    load: 0.65,
    inject: slowOne,
  },
  {
    name: "heterogeneous",
    title: "capacity 1.4 and 0.6",
    load: 0.65,
    inject: unlike,
  },
  {
    name: "pauses",
    title: "pauses of 200 ms, each replica every 5 s",
    load: 0.65,
    inject: pauses,
  },
  {
    name: "antagonists",
    title: "neighbours that take 60 % for 1.5 s, every 3 s",
    load: 0.5,
    inject: antagonists,
  },
  {
    name: "black-hole",
    title: "one replica fails everything within 1 ms",
    load: 0.65,
    inject: blackHole,
  },
  {
    name: "gray",
    title: "one replica fails 30 %",
    load: 0.65,
    inject: gray,
  },
  {
    name: "cold-start",
    title: "an eleventh replica joins, 5 × slower for 10 s: those 10 s",
    load: 0.65,
    joining: { at: FAULT_AT },
    counted: { from: FAULT_AT, to: FAULT_AT + 10_000 },
    inject: coldStart,
  },
];

/** Runs `event` after exponential times with that mean, each counted from the end of what it began. */
function again(
  clock: Clock,
  random: () => number,
  mean: number,
  event: () => number,
): void {
  clock.after(exponential(random, mean), () => {
    const lasts = event();
    clock.after(lasts, () => again(clock, random, mean, event));
  });
}

function nothing(): void {
  // All is well.
}
