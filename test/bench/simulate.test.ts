// The balancing policies in the simulator, in short: what the whole campaign (bench/simulate) shows for five seeds.
import t from "tap";
import { POLICIES, type PolicyArm } from "../../bench/simulate/policies.ts";
import { SCENARIOS } from "../../bench/simulate/scenarios.ts";
import { simulate, type RunResult } from "../../bench/simulate/simulate.ts";

/** Simulated milliseconds. */
const DURATION = 10_000;

function run(
  scenario: string,
  policy: string,
  seed = 1,
  duration = DURATION,
): RunResult {
  const happens = SCENARIOS.find(({ name }) => name === scenario);
  const arm: PolicyArm | undefined = POLICIES.find(
    ({ name }) => name === policy,
  );
  if (happens === undefined || arm === undefined)
    throw new Error(`${scenario}, ${policy}`);
  return simulate({ scenario: happens, policy: arm, seed, duration });
}

void t.test("a seed gives the same run each time, another one another", (t) => {
  const first = run("homogeneous", "load-aware");
  t.strictSame(run("homogeneous", "load-aware"), first);
  t.not(run("homogeneous", "load-aware", 2).p99, first.p99);
  t.ok(first.requests > 20_000);
  t.equal(first.errors, 0);
  t.end();
});

void t.test(
  "without a penalty a black hole attracts: worse than round robin",
  (t) => {
    const naive = run("black-hole", "peak EWMA").errors;
    t.ok(naive > run("black-hole", "round robin").errors);
    for (const policy of ["peak EWMA + penalty", "load-aware"])
      for (const scenario of ["black-hole", "gray"]) {
        const { errors } = run(scenario, policy);
        t.ok(errors <= 0.001, `${scenario}, ${policy}: ${errors}`);
      }
    t.end();
  },
);

void t.test(
  "who sees load does better where it changes faster than latency tells",
  (t) => {
    for (const [scenario, most] of [
      ["pauses", 0.6],
      ["antagonists", 0.85],
    ] as const) {
      const aware = run(scenario, "load-aware").p99;
      const ewma = run(scenario, "peak EWMA + penalty").p99;
      t.ok(aware <= most * ewma, `${scenario}: ${aware} against ${ewma}`);
    }
    t.end();
  },
);

void t.test("where nothing changes it does no worse", (t) => {
  for (const scenario of [
    "homogeneous",
    "slow",
    "heterogeneous",
    "cold-start",
  ]) {
    const aware = run(scenario, "load-aware").p99;
    const ewma = run(scenario, "peak EWMA + penalty").p99;
    t.ok(aware <= 1.05 * ewma, `${scenario}: ${aware} against ${ewma}`);
  }
  t.end();
});

void t.test("nobody is starved for ever", (t) => {
  const { idlest } = run("cold-start", "load-aware", 1, 2 * DURATION);
  t.ok(idlest > 0.01, `${idlest} of the requests`);
  t.end();
});
