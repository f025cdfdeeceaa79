/** An instance dies: callers that cannot connect to it say so by their sidecars, and the control plane takes it out. */
import t from "tap";
import {
  MESH,
  startTestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";
import {
  callable,
  startApplication,
  startUsing,
} from "../../support/control-plane/asking-sidecar.ts";
import { eventually } from "../../support/peers/call.ts";
import { PEER } from "../../support/control-plane/registry.ts";

/** "orders-1" answers; of "orders-2" there is nothing but its address. */
async function startLost(t: Parameters<typeof startUsing>[0]) {
  const plane = await startTestControlPlane(t, {
    gather: { quiet: 10, most: 100 },
    grace: 0,
  });
  const port = await startApplication(t, "orders");
  for (const each of [MESH, ...callable("orders", port)])
    await plane.store.put(each, "absent");
  const lost = { ...PEER, name: "orders-2", labels: { app: "orders" } };
  const release = plane.registry.hold(lost);
  await plane.registry.register(lost, {
    address: lost.source,
    ports: { http: port },
    link: { port: 15_008 },
    ttl: "1s",
  });
  return { plane, release };
}

for (const concurrency of [1, 2])
  void t.test(
    `an instance that nobody reaches goes: ${concurrency} workers`,
    async (t) => {
      const { plane, release } = await startLost(t);
      const { call } = await startUsing(t, plane, { sidecar: { concurrency } });
      const failed: unknown[] = [];
      const callMany = async (): Promise<void> => {
        for (let count = 0; count < 8; count += 1) {
          const { status, text } = await call("orders.shop");
          if (status !== 200) failed.push(text);
        }
      };
      await callMany();
      release();
      await eventually(
        "the instance that is gone is taken out",
        60_000,
        async () => {
          await callMany();
          return plane.registry.lease("shop/orders-2");
        },
        (lease) => lease === undefined,
      );
      t.same(failed, [], "calls go to the other one meanwhile");
      const { resources } = await plane.store.list("Workload");
      t.same(
        resources.map(({ metadata }) => metadata.name),
        ["orders-1"],
      );
    },
  );
