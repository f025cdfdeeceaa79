/** The states of hosts below wildcards: so many are kept, and none that a call is in. */
import t from "tap";
import { silentLogger } from "../../../../src/core/log.ts";
import type { Cluster } from "../../../../src/policy/snapshot.ts";
import { MOST_HOSTS } from "../../../../src/policy/compile/outside/below-wildcards.ts";
import { makeClusters } from "../../../../src/proxy/upstream/cluster/clusters.ts";
import type { Pools } from "../../../../src/proxy/upstream/pool/pools.ts";
import { compileSnapshot } from "../../../../src/policy/compile/compile.ts";
import { makeMeters } from "../../../../src/telemetry/meters.ts";
import { makeMetrics } from "../../../../src/telemetry/metrics.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import {
  self,
  service,
  VERSION,
} from "../../../support/resources/policy-fixtures.ts";

void t.test("names that a caller makes up fill no memory", (t) => {
  const snapshot = compileSnapshot(
    [
      service("shop/w", {
        location: "MESH_EXTERNAL",
        hosts: ["*.example.com"],
        ports: [{ port: 80 }],
      }),
      service("shop/orders"),
    ],
    self(),
    VERSION,
  );
  const clusters = makeClusters({
    clock: fakeClock(),
    logger: silentLogger,
    meters: makeMeters(makeMetrics({ maxSeries: 1000 })),
    // No call is made.
    pools: { generation: 0, retain: () => undefined } as unknown as Pools,
  });
  t.teardown(() => clusters.close());
  const at = (host: string): Cluster => {
    const found = snapshot.destination(host, 80);
    if (found === undefined) throw new Error(`${host} leads nowhere`);
    return found.cluster;
  };
  const keys = (): ReadonlySet<string> =>
    new Set([...clusters.all()].map(({ key }) => key));
  clusters.of(at("orders.shop"));
  const busy = clusters.of(at("busy.example.com"));
  const idleCluster = at("idle.example.com");
  const used = clusters.of(at("used.example.com"));
  clusters.of(idleCluster);
  Object.defineProperty(busy.poolLimits, "active", { value: 1 });
  for (let index = 0; index < 3 * MOST_HOSTS; index += 1) {
    clusters.of(at(`h${index}.example.com`));
    t.equal(clusters.of(at("used.example.com")), used);
    if (keys().size > MOST_HOSTS + 2) t.fail(`${keys().size} states`);
  }
  t.ok(
    keys().has("orders.shop:80"),
    "a Service of the mesh is not one of them",
  );
  t.ok(keys().has(busy.key), "a call is in it");
  t.notOk(keys().has(idleCluster.key), "nobody called it any more");
  const before = keys();
  clusters.apply(snapshot);
  t.same(
    [...before].filter((key) => !keys().has(key)),
    [busy.key],
    "a config that says the same closes none that was called lately",
  );
  t.ok(keys().has("orders.shop:80"));
  t.end();
});
