/** Who goes first: levels, cohorts, and a threshold that follows the load. */
import t from "tap";
import { compileSnapshot } from "../../src/policy/compile/compile.ts";
import { matcher } from "../../src/policy/compile/overload.ts";
import {
  AdmissionThreshold,
  ALL,
  compilePriority,
  PRIORITIES,
  type Prioritizer,
} from "../../src/policy/priority.ts";
import type { RoutedRequest } from "../../src/policy/router/candidate.ts";
import type { PrioritySpec } from "../../src/resources/traffic-policy/overload.ts";
import { seededRandom } from "../support/clocks/fake-clock.ts";
import {
  mesh,
  request,
  self,
  service,
  trafficPolicy,
  VERSION,
  workload,
} from "../support/resources/policy-fixtures.ts";

const WEB = "spiffe://cluster.local/ns/shop/sa/web";
const JOBS = "spiffe://cluster.local/ns/shop/sa/jobs";
const level = (priority: number): number => Math.floor(priority / 128);

void t.test("the first rule that matches gives the level", (t) => {
  const spec: PrioritySpec = {
    default: 4,
    rules: [
      { level: 0, matches: [{ path: { type: "Exact", value: "/pay" } }] },
      {
        level: 1,
        matches: [{ headers: [{ name: "x-user-waits", value: "1" }] }],
        principals: ["cluster.local/ns/shop/sa/web"],
      },
      { level: 5, principals: ["cluster.local/ns/shop/sa/jobs"] },
    ],
  };
  const priority = compilePriority(spec, matcher);
  const waits = { headers: { "x-user-waits": "1" } };
  for (const [peer, made, expected] of [
    [WEB, request("/pay"), 0],
    [JOBS, request("/pay"), 0],
    [WEB, request("/", waits), 1],
    [JOBS, request("/", waits), 5],
    [undefined, request("/", waits), 4],
    [WEB, request("/"), 4],
  ] as const)
    t.equal(level(priority(peer, made, 0)), expected, peer ?? "nobody");
  t.equal(level(compilePriority({}, matcher)(WEB, request("/"), 0)), 3);
  t.end();
});

void t.test("a caller has one level under each name of the mesh", (t) => {
  const named = (principal: string): readonly Prioritizer<RoutedRequest>[] => {
    const snapshot = compileSnapshot(
      [
        mesh({
          trustDomain: "new.example",
          trustDomainAliases: ["old.example"],
        }),
        service("shop/orders"),
        workload("shop/orders-1", "orders"),
        trafficPolicy("shop/orders", {
          targetRefs: [{ kind: "Service", name: "orders" }],
          priority: { rules: [{ level: 0, principals: [principal] }] },
        }),
      ],
      self({
        name: "orders-1",
        serviceAccount: "orders",
        labels: { app: "orders" },
      }),
      VERSION,
    );
    const called = snapshot.inbound.byPort(8080)?.protection.priority;
    const known = snapshot.destination("orders.shop", 80)?.cluster.settings
      .priority;
    if (called === undefined || known === undefined)
      throw new Error("no priority");
    return [called, compilePriority(known, matcher)];
  };
  for (const written of ["new.example", "old.example", "cluster.local"])
    for (const [domain, expected] of [
      ["new.example", 0],
      ["old.example", 0],
      ["other.example", 3],
    ] as const)
      t.strictSame(
        named(`${written}/ns/shop/sa/web`).map((priority) =>
          level(priority(`spiffe://${domain}/ns/shop/sa/web`, request("/"), 0)),
        ),
        [expected, expected],
        `${written}, for a caller of ${domain}: called and calling sidecar`,
      );
  t.end();
});

void t.test(
  "a cohort: the same for one user in one hour, another in the next",
  (t) => {
    const priority = compilePriority(
      { cohort: "request.headers[x-user]" },
      matcher,
    );
    const of = (user: string, wall: number): number =>
      priority(WEB, request("/", { headers: { "x-user": user } }), wall) % 128;
    const hour = 3_600_000;
    t.equal(of("ann", hour), of("ann", 2 * hour - 1));
    const seen = new Set<number>();
    const moved = new Set<number>();
    for (let user = 0; user < 2000; user += 1) {
      seen.add(of(`user ${user}`, 0));
      if (of(`user ${user}`, 0) !== of(`user ${user}`, hour)) moved.add(user);
    }
    t.equal(seen.size, 128, "users are spread over all");
    t.ok(moved.size > 1900);
    const byCaller = compilePriority({}, matcher);
    t.not(byCaller(WEB, request("/"), 0), byCaller(JOBS, request("/"), 0));
    t.end();
  },
);

/** Seconds of `rate` requests whose priorities are spread evenly; more than `capacity` a second passing is an overload. */
function run(
  threshold: AdmissionThreshold,
  rate: number,
  capacity: number,
  seconds: number,
  from: number,
): number {
  const random = seededRandom(from + 1);
  let passed = 0;
  let inSecond = 0;
  for (let index = 0; index < rate * seconds; index += 1) {
    const now = from * 1000 + (index * 1000) / rate;
    if (index % rate === 0) inSecond = 0;
    if (!threshold.passes(Math.floor(random() * PRIORITIES), now)) continue;
    inSecond += 1;
    passed += 1;
    if (inSecond > capacity) threshold.overload();
  }
  return passed / seconds;
}

void t.test("without an overload everything passes", (t) => {
  const threshold = new AdmissionThreshold();
  t.equal(run(threshold, 1000, 1000, 10, 0), 1000);
  t.equal(threshold.value, ALL);
  t.end();
});

void t.test(
  "each window of overload lets 5 % less pass, each other 1 % more",
  (t) => {
    const threshold = new AdmissionThreshold();
    const values: number[] = [];
    // One request of each priority a window.
    for (let window = 0; window < 12; window += 1) {
      for (let each = 0; each < PRIORITIES; each += 1)
        threshold.passes(each, window * 1000);
      values.push(threshold.value);
      if (window < 6) threshold.overload();
    }
    const [all = 0, first = 0, second = 0] = values;
    t.equal(all, ALL);
    t.ok(Math.abs(first - PRIORITIES * 0.95) <= 3, String(first));
    t.ok(Math.abs(second - PRIORITIES * 0.9025) <= 3, String(second));
    const low = Math.min(...values);
    t.ok(low < PRIORITIES * 0.76);
    t.ok((values.at(-1) ?? 0) > low, "and rises again");
    t.end();
  },
);

void t.test(
  "three times the capacity: after a while about the capacity passes, and it is the most important",
  (t) => {
    const threshold = new AdmissionThreshold();
    run(threshold, 3000, 1000, 60, 0);
    const passed = run(threshold, 3000, 1000, 60, 60);
    t.ok(passed > 850 && passed < 1100, `${passed} a second of 1000`);
    t.ok(threshold.passes(0, 121_000));
    t.notOk(threshold.passes(ALL, 121_000));
    run(threshold, 500, 1000, 300, 122);
    t.equal(threshold.value, ALL, "when it is over, everything passes again");
    t.end();
  },
);

void t.test("without requests below the threshold it still opens", (t) => {
  const threshold = new AdmissionThreshold();
  for (let window = 0; window < 400; window += 1) {
    threshold.passes(700, window * 1000);
    threshold.overload();
  }
  t.ok(threshold.value < 700);
  for (let window = 400; window < 410; window += 1)
    threshold.passes(700, window * 1000);
  t.ok(threshold.passes(700, 411_000));
  t.end();
});
