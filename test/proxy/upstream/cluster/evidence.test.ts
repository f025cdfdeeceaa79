/** What a caller can say of an unconfirmed endpoint. */
import t from "tap";
import { FRESH_FOR } from "../../../../src/agent/reports.ts";
import type { Endpoint } from "../../../../src/policy/snapshot.ts";
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
