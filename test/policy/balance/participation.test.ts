// Who takes part in balancing: probes after an ejection, warm-up, nearness with spill-over, hashes.
import t from "tap";
import {
  makeBalancer,
  type BalancedEndpoint,
  type Balancer,
} from "../../../src/policy/balance/picker.ts";
import { makeOutlierDetector } from "../../../src/policy/outlier.ts";
import type { LoadBalancing } from "../../../src/resources/traffic-policy/load-balancing.ts";
import { TRAFFIC_DEFAULTS } from "../../../src/resources/traffic-policy/settings.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";

const endpoint = (key: string, distance = 0): BalancedEndpoint => ({
  key,
  weight: 1,
  ready: true,
  distance,
});

/** A balancer that can eject by hand. */
function balancer(
  endpoints: readonly BalancedEndpoint[],
  loadBalancer: Partial<LoadBalancing<number>> = {},
  minHealthPercent = 50,
): {
  readonly made: Balancer<BalancedEndpoint>;
  readonly set: (endpoints: readonly BalancedEndpoint[], now: number) => void;
  readonly eject: (...keys: string[]) => void;
} {
  const out = new Set<string>();
  const ejections = {
    version: 0,
    until: (key: string) => (out.has(key) ? Infinity : 0),
    onProbation: () => false,
  };
  const made = makeBalancer<BalancedEndpoint>(seededRandom(3), ejections);
  const set = (of: readonly BalancedEndpoint[], now: number): void =>
    made.update(
      of,
      {
        loadBalancer: { simple: "ROUND_ROBIN", ...loadBalancer },
        minHealthPercent,
      },
      now,
    );
  set(endpoints, 0);
  return {
    made,
    set,
    eject(...keys) {
      for (const key of keys) out.add(key);
      ejections.version += 1;
    },
  };
}

function tally(
  made: Balancer<BalancedEndpoint>,
  count: number,
  now = 0,
  exclude?: ReadonlySet<string>,
  hash?: number,
): Record<string, number> {
  const picks: Record<string, number> = {};
  for (let index = 0; index < count; index += 1) {
    const pick = made.pick(now, exclude, hash);
    const key = pick.kind === "endpoint" ? pick.endpoint.key : pick.reason;
    picks[key] = (picks[key] ?? 0) + 1;
    if (pick.kind === "endpoint") pick.done(undefined, now);
  }
  return picks;
}

void t.test(
  "an endpoint that comes back gets one request, and the rest once that has succeeded",
  (t) => {
    const detector = makeOutlierDetector(() => 0.5);
    const endpoints = ["a", "b", "c"].map((key) => endpoint(key));
    detector.update(["a", "b", "c"], TRAFFIC_DEFAULTS.outlierDetection);
    const made = makeBalancer<BalancedEndpoint>(seededRandom(3), detector);
    made.update(
      endpoints,
      { loadBalancer: { simple: "ROUND_ROBIN" }, minHealthPercent: 50 },
      0,
    );
    for (let index = 0; index < 5; index += 1)
      detector.record("a", "failure", 0);
    t.strictSame(tally(made, 4, 999), { b: 2, c: 2 });
    const probe = made.pick(1000);
    t.equal(probe.kind === "endpoint" && probe.endpoint.key, "a", "at once");
    t.strictSame(tally(made, 4, 1000), { b: 2, c: 2 }, "while it is under way");
    if (probe.kind === "endpoint") probe.done(undefined, 1001);
    const second = made.pick(1001);
    t.equal(
      second.kind === "endpoint" && second.endpoint.key,
      "a",
      "the first told nothing",
    );
    if (second.kind === "endpoint") second.done(5000, 1002, true);
    detector.record("a", "failure", 1002);
    t.strictSame(tally(made, 4, 3001), { b: 2, c: 2 }, "out again, for longer");
    const third = made.pick(3002);
    if (third.kind === "endpoint") third.done(10, 3003);
    detector.record("a", "success", 3003);
    t.strictSame(tally(made, 6, 3003), { a: 2, b: 2, c: 2 });
    t.end();
  },
);

void t.test(
  "a trial that waits for ever does not keep the next one away",
  (t) => {
    const detector = makeOutlierDetector(() => 0.5);
    detector.update(["a", "b"], TRAFFIC_DEFAULTS.outlierDetection);
    const made = makeBalancer<BalancedEndpoint>(seededRandom(3), detector);
    made.update(
      [endpoint("a"), endpoint("b")],
      { loadBalancer: { simple: "ROUND_ROBIN" }, minHealthPercent: 50 },
      0,
    );
    detector.eject("a", "stalled", "", 0);
    const keyOf = (now: number, repeatable = true): string => {
      const pick = made.pick(now, undefined, undefined, repeatable);
      return pick.kind === "endpoint" ? pick.endpoint.key : pick.reason;
    };
    t.equal(keyOf(1000), "a", "its trial, which never ends");
    t.equal(keyOf(1001), "b");
    detector.eject("a", "probe", "", 1002);
    t.equal(keyOf(1003), "b");
    t.equal(keyOf(3002), "a", "the next trial");
    t.end();
  },
);

void t.test(
  "a trial without a response is followed by another, and one that has passed is none any more",
  (t) => {
    const detector = makeOutlierDetector(() => 0.5);
    detector.update(["a", "b"], TRAFFIC_DEFAULTS.outlierDetection);
    const made = makeBalancer<BalancedEndpoint>(seededRandom(3), detector);
    made.update(
      [endpoint("a"), endpoint("b")],
      { loadBalancer: { simple: "ROUND_ROBIN" }, minHealthPercent: 50 },
      0,
    );
    detector.eject("a", "silent-link", "", 0);
    const pickAt = (now: number): string => {
      const pick = made.pick(now);
      return pick.kind === "endpoint"
        ? `${pick.endpoint.key}${pick.probing ? " on trial" : ""}`
        : pick.reason;
    };
    t.equal(pickAt(1000), "a on trial", "a silent stream, which goes on");
    t.equal(pickAt(1001), "b");
    t.equal(pickAt(10_999), "b");
    t.equal(pickAt(11_000), "a on trial");
    t.equal(pickAt(11_001), "b");
    detector.record("a", "success", 11_002);
    t.strictSame(
      [pickAt(11_003), pickAt(11_003)].sort(),
      ["a", "b"],
      "though both trials still last",
    );
    t.end();
  },
);

void t.test(
  "a request that may not be repeated tries none on probation before it is offered",
  (t) => {
    const detector = makeOutlierDetector(() => 0.5);
    detector.update(["a", "b"], TRAFFIC_DEFAULTS.outlierDetection);
    let offered = false;
    const made = makeBalancer<BalancedEndpoint>(seededRandom(3), {
      get version() {
        return detector.version;
      },
      until: (key) => detector.until(key),
      onProbation: (key) => detector.onProbation(key),
      isOffered: () => offered,
    });
    made.update(
      [endpoint("a"), endpoint("b")],
      { loadBalancer: { simple: "ROUND_ROBIN" }, minHealthPercent: 50 },
      0,
    );
    detector.eject("a", "stalled", "", 0);
    const once = (): string => {
      const pick = made.pick(1000, undefined, undefined, false);
      return pick.kind === "endpoint" ? pick.endpoint.key : pick.reason;
    };
    t.equal(once(), "b");
    offered = true;
    t.equal(once(), "a");
    t.end();
  },
);

void t.test(
  "a retry does not probe what it has tried, and those on probation serve where there is nobody else",
  (t) => {
    const detector = makeOutlierDetector(() => 0.5);
    detector.update(["a", "b"], TRAFFIC_DEFAULTS.outlierDetection);
    const made = makeBalancer<BalancedEndpoint>(seededRandom(3), detector);
    made.update(
      [endpoint("a"), endpoint("b")],
      { loadBalancer: { simple: "ROUND_ROBIN" }, minHealthPercent: 50 },
      0,
    );
    for (let index = 0; index < 5; index += 1)
      detector.record("a", "failure", 0);
    t.strictSame(tally(made, 3, 1000, new Set(["a"])), { b: 3 });
    t.equal(made.hasOther(1000, new Set(["b"])), true);
    made.update(
      [endpoint("a")],
      { loadBalancer: { simple: "ROUND_ROBIN" }, minHealthPercent: 50 },
      1000,
    );
    const picks = [made.pick(1000), made.pick(1000), made.pick(1000)];
    t.ok(picks.every(({ kind }) => kind === "endpoint"));
    t.end();
  },
);

void t.test("a newcomer's share grows from the minimum with its age", (t) => {
  const { made, set } = balancer([endpoint("a"), endpoint("b")], {
    simple: "RANDOM",
    warmup: { duration: 10_000, minimumPercent: 10 },
  });
  const first = tally(made, 2000);
  t.ok((first["a"] ?? 0) > 900, "those of the start are no newcomers");
  set([endpoint("a"), endpoint("b"), endpoint("new")], 1000);
  const share = (now: number): number =>
    (tally(made, 6000, now)["new"] ?? 0) / 6000;
  // Alone with two others it is drawn once in three times that it takes part.
  t.ok(Math.abs(share(1000) - 0.1 / 3) < 0.01);
  t.ok(Math.abs(share(6000) - 0.5 / 3) < 0.02);
  t.ok(Math.abs(share(11_000) - 1 / 3) < 0.02);
  t.end();
});

void t.test(
  "one that becomes ready warms up too, and one that is alone serves",
  (t) => {
    const cold = { ...endpoint("b"), ready: false };
    const { made, set } = balancer([endpoint("a"), cold], {
      simple: "RANDOM",
      warmup: { duration: 10_000, minimumPercent: 10 },
    });
    set([endpoint("a"), endpoint("b")], 5000);
    t.ok((tally(made, 1000, 5000)["b"] ?? 0) < 120);
    t.strictSame(tally(made, 10, 5000, new Set(["a"])), { b: 10 });
    t.end();
  },
);

const ZONES = [
  endpoint("near-1"),
  endpoint("near-2"),
  endpoint("near-3"),
  endpoint("near-4"),
  endpoint("far-1", 2),
  endpoint("far-2", 2),
];

void t.test("the nearest take all, as long as 71 % of them are in", (t) => {
  const { made, eject } = balancer(ZONES, {
    localityLbSetting: { enabled: true },
  });
  t.strictSame(Object.keys(tally(made, 100)).sort(), [
    "near-1",
    "near-2",
    "near-3",
    "near-4",
  ]);
  eject("near-1");
  t.strictSame(Object.keys(tally(made, 100)).sort(), [
    "near-2",
    "near-3",
    "near-4",
  ]);
  t.end();
});

void t.test(
  "below that they keep 1.4 times their health, and the rest spills over",
  (t) => {
    const { made, eject } = balancer(ZONES, {
      localityLbSetting: { enabled: true },
    });
    eject("near-1", "near-2");
    const picks = tally(made, 10_000);
    const far = ((picks["far-1"] ?? 0) + (picks["far-2"] ?? 0)) / 10_000;
    t.ok(Math.abs(far - 0.3) < 0.02, `${far}: 1 - 1.4 × 2/4`);
    t.end();
  },
);

void t.test(
  "where none near is in, the far ones take all; a retry goes far before it repeats",
  (t) => {
    const { made, eject } = balancer(
      ZONES,
      { localityLbSetting: { enabled: true } },
      10,
    );
    const near = new Set(["near-1", "near-2", "near-3", "near-4"]);
    t.strictSame(Object.keys(tally(made, 20, 0, near)).sort(), [
      "far-1",
      "far-2",
    ]);
    eject(...near);
    t.strictSame(tally(made, 20), { "far-1": 10, "far-2": 10 });
    t.end();
  },
);

void t.test(
  "in panic, and where nobody asked, nearness does not matter",
  (t) => {
    const { made, eject } = balancer(ZONES, {
      localityLbSetting: { enabled: true },
    });
    eject("near-1", "near-2", "near-3", "near-4");
    t.strictSame(Object.keys(tally(made, 60)).length, 6, "in panic all are in");
    t.equal(made.panic, true);
    t.equal(Object.keys(tally(balancer(ZONES).made, 60)).length, 6);
    t.end();
  },
);

void t.test(
  "a request with a hash follows the ring; one without is balanced",
  (t) => {
    const { made, eject } = balancer(ZONES, {
      consistentHash: { useSourceIp: true },
    });
    const [[owner] = [""]] = Object.entries(tally(made, 50, 0, undefined, 7));
    t.equal(tally(made, 50, 0, undefined, 7)[owner], 50);
    t.equal(Object.keys(tally(made, 60)).length, 6);
    const [[second] = [""]] = Object.entries(
      tally(made, 5, 0, new Set([owner]), 7),
    );
    t.not(second, owner, "a retry goes on along the ring");
    eject(owner);
    t.strictSame(tally(made, 5, 0, undefined, 7), { [second]: 5 });
    t.end();
  },
);
