/**
 * Retry storm: half of the capacity is lost for ten seconds at 80 % load. What keeps a service down after that is the repeating itself, and
 * the budget is what ends it. The policy objects are the proxy's own.
 */
import t from "tap";
import {
  CAPACITY,
  END,
  LOST_FROM,
  LOST_TO,
  OFFERED,
  storm,
  type Arm,
  type Storm,
} from "../support/clocks/retry-storm.ts";

/** A queue that takes longer than callers wait, but has an end: 0.4 s of work. */
const QUEUE = 150;

const CONTROL: Arm = { budget: false, breaker: false, queue: QUEUE };
const BUDGET: Arm = { budget: true, breaker: false, queue: QUEUE };
const BOTH: Arm = { budget: true, breaker: true, queue: Infinity };

const BACK = 0.95;

/** Shares of the seconds from `from` to `to`, in milliseconds. */
function between({ goodput }: Storm, from: number, to: number): number[] {
  return goodput.slice(from / 1000, to / 1000);
}

/** Where a client had made more attempts than 1.2 for each request and ten a second. */
function overspent({ attempts, requests }: Storm): string[] {
  return attempts.flatMap((ofClient, client) =>
    ofClient.flatMap((made, second) => {
      const most = 1.2 * (requests[client]?.[second] ?? 0) + 10 * (second + 1);
      return made > most
        ? [`client ${client}, second ${second}: ${made} attempts of ${most}`]
        : [];
    }),
  );
}

function text(shares: readonly number[]): string {
  return shares.map((share) => Math.round(share * 100)).join(" ");
}

for (const seed of [1, 2, 3]) {
  void t.test(
    `without the budget the service stays down after its capacity is back (seed ${seed})`,
    (t) => {
      const control = storm(CONTROL, seed);
      t.ok(
        between(control, 0, LOST_FROM).every((share) => share > BACK),
        "nothing is wrong before",
      );
      const after = between(control, LOST_TO, END);
      t.ok(
        after.every((share) => share < 0.5),
        text(after),
      );
      t.end();
    },
  );

  for (const [name, arm] of [
    ["the budget", BUDGET],
    ["budget and breaker, before a queue without end,", BOTH],
  ] as const)
    void t.test(
      `with ${name} goodput is back above 95 % within ten seconds, and stays (seed ${seed})`,
      (t) => {
        const result = storm(arm, seed);
        const after = between(result, LOST_TO + 10_000, END - 1000);
        t.ok(
          after.every((share) => share > BACK),
          text(after),
        );
        t.strictSame(overspent(result), []);
        t.end();
      },
    );

  void t.test(
    `all attempts at the service are never above 1.2 times its requests and ten a second (one client, seed ${seed})`,
    (t) => {
      const one = storm({ ...BUDGET, clients: 1 }, seed);
      t.strictSame(overspent(one), []);
      const after = between(one, LOST_TO + 10_000, END - 1000);
      t.ok(
        after.every((share) => share > BACK),
        text(after),
      );
      t.ok(
        overspent(storm({ ...CONTROL, clients: 1 }, seed)).length > 0,
        "which without the budget they are",
      );
      t.end();
    },
  );
}

void t.test("a run can be repeated to the last attempt", (t) => {
  t.strictSame(storm(BOTH, 1), storm(BOTH, 1));
  t.end();
});

void t.test("the scenario is what it says", (t) => {
  t.equal(OFFERED / CAPACITY, 0.8);
  t.equal(LOST_TO - LOST_FROM, 10_000);
  // Without retries half the capacity could not have served it either.
  t.ok(OFFERED > CAPACITY / 2);
  t.end();
});

void t.test(
  "what the budget alone cannot do: with a queue without end its 20 % leave too little to work it off",
  (t) => {
    const result = storm({ ...BUDGET, queue: Infinity }, 1);
    const after = between(result, LOST_TO + 10_000, END - 1000);
    t.ok(
      after.every((share) => share < 0.5),
      text(after),
    );
    t.end();
  },
);
