/** What a caller can say of an unconfirmed endpoint. */
import t from "tap";
import { FRESH_FOR } from "../../../../src/agent/agent.ts";
import type { Endpoint } from "../../../../src/policy/snapshot.ts";
import { silentLogger } from "../../../../src/core/log.ts";
import { compileSnapshot } from "../../../../src/policy/compile/compile.ts";
import { makeClusters } from "../../../../src/proxy/upstream/cluster/clusters.ts";
import type { Pools } from "../../../../src/proxy/upstream/pool/pools.ts";
import { UNCONFIRMED_SINCE } from "../../../../src/resources/workload/schema.ts";
import { makeMeters } from "../../../../src/telemetry/meters.ts";
import { makeMetrics } from "../../../../src/telemetry/metrics.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import {
  self,
  service,
  VERSION,
  workload,
} from "../../../support/resources/policy-fixtures.ts";
import { Evidence } from "../../../../src/proxy/upstream/cluster/evidence.ts";

function endpoint(name: string, unconfirmed = false): Endpoint {
  return {
    key: `shop/${name}:8080`,
    workload: `shop/${name}`,
    address: "10.0.0.1",
    port: 8080,
    link: 15_008,
    identity: undefined,
    weight: 1,
    locality: "",
    distance: 0,
    ready: true,
    ...(unconfirmed ? { unconfirmed: true } : {}),
  };
}

void t.test("the newest of what was seen lately, of unconfirmed ones", (t) => {
  const evidence = new Evidence();
  evidence.update([endpoint("a"), endpoint("b")]);
  for (const [name, effect, at] of [
    ["a", "success", 1000],
    ["a", "local-origin", 2000],
    ["b", "local-origin", 1000],
    ["b", "success", 3000],
    ["b", "failure", 4000],
    ["b", "none", 4000],
  ] as const)
    evidence.record(`shop/${name}:8080`, effect, at);
  t.same([...evidence.sightings(5000)], [], "all are confirmed");
  evidence.update([endpoint("a", true), endpoint("b", true)]);
  t.same(
    [...evidence.sightings(5000)],
    [
      { workload: "shop/a", reached: false, age: 3000 },
      { workload: "shop/b", reached: true, age: 2000 },
    ],
    "what was seen before it was asked for",
  );
  t.same(
    [...evidence.sightings(2000 + FRESH_FOR)].map(({ workload }) => workload),
    ["shop/b"],
  );
  evidence.update([endpoint("b")]);
  evidence.update([endpoint("a", true), endpoint("b")]);
  t.same([...evidence.sightings(5000)], [], "it was gone in between");
  t.end();
});

void t.test("of one that was not called nothing is said", (t) => {
  const evidence = new Evidence();
  evidence.update([endpoint("a", true)]);
  t.same([...evidence.sightings(0)], []);
  evidence.record("shop/a:8080", "failure", 0);
  t.same([...evidence.sightings(0)], []);
  t.end();
});

void t.test("what a cluster sees besides calls counts, too", (t) => {
  const clock = fakeClock();
  const instance = (name: string, annotations?: Record<string, string>) =>
    workload(`shop/${name}`, "orders", {}, annotations && { annotations });
  const since = { [UNCONFIRMED_SINCE]: "2026-01-01T00:00:00.000Z" };
  const snapshot = compileSnapshot(
    [service("shop/orders"), instance("a", since), instance("b")],
    self(),
    VERSION,
  );
  const cluster = snapshot.destination("orders", 80)?.cluster;
  if (cluster === undefined) throw new Error("there is no cluster");
  const clusters = makeClusters({
    clock,
    logger: silentLogger,
    meters: makeMeters(makeMetrics({ maxSeries: 1000 })),
    // No call is made.
    pools: { generation: 0 } as Pools,
  });
  t.teardown(() => clusters.close());
  const state = clusters.of(cluster);
  const key = "shop/a:8080";
  const sightings = () => [...state.evidence.sightings(clock.now())];
  state.eject(key, "stalled", "its application responds to nothing");
  t.same(sightings(), [], "its sidecar is there");
  state.eject(key, "silent-link", "it did not acknowledge a PING");
  t.match(sightings(), [{ workload: "shop/a", reached: false }]);
  clock.advance(1);
  state.record(key, "success", clock.now());
  t.match(sightings(), [{ workload: "shop/a", reached: true }]);
  clock.advance(1);
  state.eject(key, "probe", "a request of our own got no response");
  t.match(sightings(), [{ workload: "shop/a", reached: false }]);
  t.end();
});
