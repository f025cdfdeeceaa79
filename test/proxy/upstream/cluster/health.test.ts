// When endpoints are asked, with a fake clock: jitter, time-outs, thresholds, changes of configuration, the end.
import t from "tap";
import type { CheckResult } from "../../../../src/policy/health.ts";
import type { Endpoint } from "../../../../src/policy/snapshot.ts";
import {
  makeHealth,
  type Check,
} from "../../../../src/proxy/upstream/cluster/health.ts";
import type { HealthCheck } from "../../../../src/resources/traffic-policy/health-check.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";

const SETTINGS: HealthCheck<number> = {
  path: "/healthz",
  interval: 1000,
  timeout: 100,
  unhealthyThreshold: 2,
  healthyThreshold: 1,
};

function endpoint(key: string): Endpoint {
  return {
    key,
    workload: key,
    address: "10.0.0.1",
    port: 8080,
    link: undefined,
    identity: undefined,
    weight: 1,
    locality: "",
    distance: 0,
    ready: true,
  };
}

/** Checks that the test answers by hand. */
function harness(): {
  readonly clock: ReturnType<typeof fakeClock>;
  readonly health: ReturnType<typeof makeHealth>;
  readonly asked: { readonly key: string; readonly signal: AbortSignal }[];
  readonly changes: string[];
  readonly answer: (result: CheckResult | Error) => Promise<void>;
} {
  const clock = fakeClock({ random: () => 0.5 });
  const asked: { key: string; signal: AbortSignal }[] = [];
  const waiting: ((result: CheckResult | Error) => void)[] = [];
  const changes: string[] = [];
  const check: Check = ({ key }, _settings, signal) => {
    asked.push({ key, signal });
    return new Promise((resolve, reject) => {
      waiting.push((result) =>
        result instanceof Error ? reject(result) : resolve(result),
      );
    });
  };
  const health = makeHealth({
    clock,
    check,
    onChange: (key, healthy, evidence) =>
      changes.push(`${key} ${healthy ? "well" : "sick"}: ${evidence}`),
  });
  return {
    clock,
    health,
    asked,
    changes,
    async answer(result) {
      waiting.shift()?.(result);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

const SICK: CheckResult = { kind: "unhealthy", evidence: "500" };
const WELL: CheckResult = { kind: "healthy" };

void t.test(
  "the first check comes within an interval, the next an interval later",
  async (t) => {
    const { clock, health, asked, answer } = harness();
    health.update([endpoint("a")], SETTINGS);
    clock.advance(499);
    t.equal(asked.length, 0);
    clock.advance(1);
    t.equal(asked.length, 1);
    t.equal(health.isHealthy("a"), true, "well until shown otherwise");
    await answer(WELL);
    clock.advance(1000);
    t.equal(asked.length, 2);
    health.close();
    t.equal(clock.pending, 0);
    t.equal(asked[1]?.signal.aborted, true, "the check is called off");
  },
);

void t.test("an error of this machine takes nothing out", async (t) => {
  const { clock, health, changes, answer } = harness();
  health.update([endpoint("a")], { ...SETTINGS, unhealthyThreshold: 1 });
  clock.advance(500);
  await answer(Object.assign(new Error("no handle"), { code: "EMFILE" }));
  t.equal(health.isHealthy("a"), true);
  clock.advance(1000);
  await answer(Object.assign(new Error("refused"), { code: "ECONNREFUSED" }));
  t.strictSame(changes, ["a sick: refused"]);
  health.close();
});

void t.test(
  "failures in a row take it out; errors of the check are failures",
  async (t) => {
    const { clock, health, changes, answer } = harness();
    health.update([endpoint("a")], SETTINGS);
    clock.advance(500);
    await answer(SICK);
    clock.advance(1000);
    const { version } = health;
    await answer(new Error("refused"));
    t.strictSame(changes, ["a sick: refused"]);
    t.equal(health.isHealthy("a"), false);
    t.ok(health.version > version);
    clock.advance(1000);
    await answer(WELL);
    t.strictSame(changes.at(-1), "a well: it responds again");
    health.close();
  },
);

void t.test(
  "a check without an answer is stopped and counts as failed",
  async (t) => {
    const { clock, health, asked, changes, answer } = harness();
    health.update([endpoint("a")], { ...SETTINGS, unhealthyThreshold: 1 });
    clock.advance(500);
    clock.advance(100);
    t.equal(asked[0]?.signal.aborted, true);
    t.match(changes, [/no response to the health check within 100 ms/]);
    await answer(WELL);
    t.equal(health.isHealthy("a"), false, "too late");
    clock.advance(1000);
    t.equal(asked.length, 2, "and the next comes all the same");
    health.close();
  },
);

void t.test(
  "an endpoint that goes, or other settings, forget what was known",
  async (t) => {
    const { clock, health, asked, answer } = harness();
    const rules = { ...SETTINGS, unhealthyThreshold: 1 };
    health.update([endpoint("a"), endpoint("b")], rules);
    clock.advance(500);
    await answer(SICK);
    await answer(SICK);
    t.equal(health.isHealthy("a"), false);
    health.update([endpoint("a"), endpoint("b")], rules);
    t.equal(health.isHealthy("a"), false, "the same question keeps its answer");
    health.update([endpoint("b")], rules);
    t.equal(health.isHealthy("a"), true);
    t.equal(health.isHealthy("b"), false);
    health.update([endpoint("b")], { ...rules, path: "/other" });
    t.equal(health.isHealthy("b"), true);
    const before = asked.length;
    health.update([endpoint("b")], undefined);
    clock.advance(10_000);
    t.equal(asked.length, before, "nothing is asked any more");
    t.equal(clock.pending, 0);
  },
);
