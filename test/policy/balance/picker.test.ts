import t from "tap";
import {
  makeBalancer,
  type BalancedEndpoint,
  type Balancer,
  type BalancerSettings,
  type Pick,
} from "../../../src/policy/balance/picker.ts";
import { INITIAL_LATENCY } from "../../../src/policy/balance/peak-ewma.ts";
import { makeOutlierDetector } from "../../../src/policy/outlier.ts";
import type { LoadBalancer } from "../../../src/resources/traffic-policy/load-balancing.ts";
import { TRAFFIC_DEFAULTS } from "../../../src/resources/traffic-policy/settings.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";

const ALGORITHMS: readonly LoadBalancer[] = [
  "PEAK_EWMA",
  "LOAD_AWARE",
  "LEAST_REQUEST",
  "ROUND_ROBIN",
  "RANDOM",
];

const endpoint = (
  key: string,
  over: Partial<BalancedEndpoint> = {},
): BalancedEndpoint => ({ key, weight: 1, ready: true, distance: 0, ...over });

const settings = (over: Partial<BalancerSettings> = {}): BalancerSettings => ({
  loadBalancer: { simple: "ROUND_ROBIN" },
  minHealthPercent: 50,
  ...over,
});

/** Ejections that a test sets by hand. */
function ejections(): {
  version: number;
  until(key: string): number;
  onProbation(key: string): boolean;
  eject(key: string, until: number): void;
} {
  const until = new Map<string, number>();
  return {
    version: 0,
    until: (key) => until.get(key) ?? 0,
    onProbation: () => false,
    eject(key, time) {
      until.set(key, time);
      this.version += 1;
    },
  };
}

function balancer(
  endpoints: readonly BalancedEndpoint[],
  over: Partial<BalancerSettings> = {},
  out = ejections(),
): Balancer<BalancedEndpoint> {
  const made = makeBalancer<BalancedEndpoint>(seededRandom(5), out);
  made.update(endpoints, settings(over), 0);
  return made;
}

/** The key that was picked, or why none was. */
function name(pick: Pick<BalancedEndpoint>): string {
  return pick.kind === "endpoint" ? pick.endpoint.key : pick.reason;
}

/** How often each was picked, each attempt over at once. */
function tally(
  from: Balancer<BalancedEndpoint>,
  count: number,
  now = 0,
  exclude?: ReadonlySet<string>,
): Record<string, number> {
  const picks: Record<string, number> = {};
  for (let index = 0; index < count; index += 1) {
    const pick = from.pick(now, exclude);
    picks[name(pick)] = (picks[name(pick)] ?? 0) + 1;
    if (pick.kind === "endpoint") pick.done(undefined, now);
  }
  return picks;
}

void t.test("where there is nobody, the pick says why", (t) => {
  t.equal(name(balancer([]).pick(0)), "no endpoint");
  t.equal(
    name(balancer([endpoint("a", { ready: false })]).pick(0)),
    "no endpoint is ready",
  );
  const out = ejections();
  out.eject("a", 100);
  t.equal(
    name(balancer([endpoint("a")], { minHealthPercent: 0 }, out).pick(0)),
    "all are ejected",
  );
  const fresh = makeBalancer<BalancedEndpoint>(seededRandom(1), ejections());
  t.equal(name(fresh.pick(0)), "no endpoint", "before the first update");
  t.end();
});

for (const loadBalancer of ALGORITHMS)
  void t.test(
    `${loadBalancer}: every ready endpoint gets its turn, the others none`,
    (t) => {
      const made = balancer(
        [endpoint("a"), endpoint("b"), endpoint("c", { ready: false })],
        { loadBalancer: { simple: loadBalancer } },
      );
      const picks = tally(made, 400);
      t.strictSame(Object.keys(picks).sort(), ["a", "b"]);
      t.ok((picks["a"] ?? 0) > 100 && (picks["b"] ?? 0) > 100);
      t.end();
    },
  );

for (const loadBalancer of ALGORITHMS)
  void t.test(
    `${loadBalancer}: an attempt avoids what was tried, as long as there is another`,
    (t) => {
      const made = balancer([endpoint("a"), endpoint("b")], {
        loadBalancer: { simple: loadBalancer },
      });
      t.strictSame(tally(made, 50, 0, new Set(["a"])), { b: 50 });
      t.equal(made.hasOther(0, new Set(["a"])), true);
      t.equal(made.hasOther(0, new Set(["a", "b"])), false);
      const both = tally(made, 50, 0, new Set(["a", "b"]));
      t.equal((both["a"] ?? 0) + (both["b"] ?? 0), 50);
      t.equal(tally(made, 50, 0, new Set())["no endpoint"], undefined);
      t.end();
    },
  );

void t.test("an ejected endpoint is out until its time has passed", (t) => {
  const out = ejections();
  const made = balancer([endpoint("a"), endpoint("b")], {}, out);
  tally(made, 4);
  out.eject("a", 1000);
  t.strictSame(tally(made, 10, 0), { b: 10 });
  t.strictSame(tally(made, 10, 999), { b: 10 });
  t.strictSame(tally(made, 10, 1000), { a: 5, b: 5 });
  t.end();
});

void t.test("trap 15: under half healthy, ejection is ignored", (t) => {
  const out = ejections();
  const hosts = ["a", "b", "c", "d"].map((key) => endpoint(key));
  const made = balancer(hosts, {}, out);
  out.eject("a", 1000);
  out.eject("b", 1000);
  t.strictSame(tally(made, 8), { c: 4, d: 4 });
  t.equal(made.panic, false, "half is enough");
  out.eject("c", 1000);
  t.strictSame(tally(made, 8), { a: 2, b: 2, c: 2, d: 2 });
  t.equal(made.panic, true);
  made.update(hosts, settings({ minHealthPercent: 25 }), 0);
  t.strictSame(tally(made, 8), { d: 8 });
  t.equal(made.panic, false);
  t.end();
});

void t.test(
  "endpoints that are not ready count neither as healthy nor as sick",
  (t) => {
    const out = ejections();
    const made = balancer(
      [
        endpoint("a"),
        endpoint("b"),
        endpoint("c", { ready: false }),
        endpoint("d", { ready: false }),
      ],
      {},
      out,
    );
    out.eject("a", 1000);
    t.strictSame(tally(made, 4), { b: 4 });
    t.end();
  },
);

void t.test("weight 0 drains an endpoint, but not the last", (t) => {
  const drained = endpoint("a", { weight: 0 });
  t.strictSame(tally(balancer([drained, endpoint("b")]), 5), { b: 5 });
  t.strictSame(tally(balancer([drained]), 5), { a: 5 });
  t.end();
});

void t.test(
  "statistics survive a change of endpoints and of algorithm by key",
  (t) => {
    const made = balancer([endpoint("a"), endpoint("b")]);
    const open = made.pick(0);
    if (open.kind !== "endpoint") throw new Error(open.reason);
    const { key } = open.endpoint;
    const second = made.pick(0, new Set([key === "a" ? "b" : "a"]));
    if (second.kind === "endpoint") second.done(700, 10);
    made.update(
      [
        endpoint("a", { weight: 2 }),
        endpoint("b", { weight: 2 }),
        endpoint("c"),
      ],
      settings({ loadBalancer: { simple: "PEAK_EWMA" } }),
      20,
    );
    t.match(made.loadOf(key), { inflight: 1, latency: 700 });
    t.match(made.loadOf("c"), { inflight: 0, latency: INITIAL_LATENCY });
    t.equal(
      open.endpoint.weight,
      1,
      "an attempt under way keeps its endpoint (law 1)",
    );
    open.done(undefined, 30);
    t.match(made.loadOf(key), { inflight: 0, latency: 700 });
    open.done(undefined, 30);
    t.match(made.loadOf(key), { inflight: 0 }, "never below zero");
    made.update([endpoint("c")], settings(), 40);
    t.equal(made.loadOf(key), undefined);
    t.end();
  },
);

void t.test(
  "an unchanged endpoint is picked without anything made anew",
  (t) => {
    const one = endpoint("a");
    const made = balancer([one]);
    const before = made.pick(0);
    made.update([one], settings(), 1);
    t.equal(made.pick(1), before);
    t.end();
  },
);

void t.test(
  "the outlier detector's ejections are seen at the next pick",
  (t) => {
    const outlier = makeOutlierDetector(() => 0.5);
    const hosts = [endpoint("a"), endpoint("b"), endpoint("c")];
    outlier.update(["a", "b", "c"], TRAFFIC_DEFAULTS.outlierDetection);
    const made = makeBalancer<BalancedEndpoint>(seededRandom(5), outlier);
    made.update(hosts, settings(), 0);
    tally(made, 3);
    for (let index = 0; index < 5; index += 1)
      outlier.record("b", "failure", 100);
    t.strictSame(tally(made, 10, 100), { a: 5, c: 5 });
    t.ok((tally(made, 30, 1100)["b"] ?? 0) > 0, "and its end too");
    t.end();
  },
);
