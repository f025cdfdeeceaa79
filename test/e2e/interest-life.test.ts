/** Sidecars that hold what they use, over time: a control plane that goes and comes back, what is given back, and several sidecars. */
import t from "tap";
import { systemClock, type Clock } from "../../src/core/clock.ts";
import { startUsing } from "../support/control-plane/asking-sidecar.ts";
import {
  startTestControlPlane,
  temporaryDirectory,
  until,
} from "../support/control-plane/push-control-plane.ts";
import {
  GATHER,
  mesh,
  routeOf,
  startUsed,
} from "../support/meshes/used-mesh.ts";

void t.test(
  "a control plane that comes back sends what has changed, and nothing of the rest",
  async (t) => {
    const { plane, sidecar, change } = await startUsed(t, ["orders", "stock"]);
    await sidecar.call("orders.shop");
    t.match(await sidecar.call("127.0.0.1:1"), { status: 503 });
    await until(async () => (await plane.push.status())[0]?.pending === false);
    await plane.close();
    await until(() => !sidecar.agent.state.value.connected);
    t.match(await sidecar.call("orders.shop"), { text: "orders /" });
    t.match(await sidecar.call("stock.shop"), { reason: "NO_CONFIG" });
    await change(
      routeOf("orders", { backendRefs: [{ name: "stock", port: 80 }] }),
    );
    const again = await startTestControlPlane(t, {
      store: plane.store,
      authority: plane.authority,
      port: plane.port,
      gather: GATHER,
    });
    await until(() => sidecar.held().includes("stock"));
    t.match(
      again.push.statistics(),
      { pushes: 1, resources: 3, removed: 0 },
      "the route, and the Service that it leads to with its Workload",
    );
    t.match(await sidecar.call("orders.shop"), { text: "stock /" });
    t.match(await sidecar.call("stock.shop"), { text: "stock /" });
  },
);

void t.test("what is not used for an hour is given back", async (t) => {
  const minutes: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    every(ms, run) {
      if (ms === 60_000) minutes.push(run);
      return systemClock.every(ms, run);
    },
  };
  const { plane, sidecar } = await startUsed(t, ["orders", "stock"], [mesh()], {
    agent: { clock },
  });
  await sidecar.call("orders.shop");
  await sidecar.call("stock.shop");
  await until(async () => (await plane.push.status())[0]?.pending === false);
  const pass = async (count: number): Promise<void> => {
    for (let minute = 0; minute < count; minute += 1)
      for (const run of minutes) run();
    await until(async () => (await plane.push.status())[0]?.pending === false);
  };
  await pass(59);
  t.same(sidecar.held().sort(), ["orders", "stock"]);
  await sidecar.call("stock.shop");
  await pass(1);
  await until(() => !sidecar.held().includes("orders"));
  t.same(sidecar.held(), ["stock"]);
  t.match((await plane.push.status())[0]?.holds, { services: 1 });
  t.match(
    await sidecar.call("orders.shop"),
    { text: "orders /" },
    "and asked for again",
  );
});

void t.test(
  "a sidecar that starts without its control plane goes on with what it used",
  async (t) => {
    const stateDirectory = await temporaryDirectory(t);
    const first = await startUsed(t, ["orders", "stock"], [mesh()], {
      agent: { stateDirectory },
    });
    await first.sidecar.call("orders.shop");
    await until(
      async () => (await first.plane.push.status())[0]?.pending === false,
    );
    await first.sidecar.sidecar.destroy();
    await first.sidecar.agent.close();
    await first.plane.close();
    const second = await startUsing(t, first.plane, {
      agent: { stateDirectory },
      serves: false,
    });
    t.match(await second.call("orders.shop"), { text: "orders /" });
    t.match(await second.call("stock.shop"), { reason: "NO_CONFIG" });
  },
);

void t.test(
  "each of two sidecars holds what itself uses, and hears of that alone",
  async (t) => {
    const { plane, sidecar, change } = await startUsed(t, ["orders", "stock"]);
    const other = await startUsing(t, plane, { agent: { name: "web-2" } });
    await sidecar.call("orders.shop");
    await other.call("stock.shop");
    t.same([sidecar.held(), other.held()], [["orders"], ["stock"]]);
    await until(async () =>
      (await plane.push.status()).every(({ pending }) => !pending),
    );
    const before = plane.push.statistics();
    await change(
      routeOf("stock", { backendRefs: [{ name: "orders", port: 80 }] }),
    );
    await until(() => other.held().includes("orders"));
    t.match(await other.call("stock.shop"), { text: "orders /" });
    t.equal(plane.push.statistics().pushes - before.pushes, 1);
    t.same(sidecar.held(), ["orders"]);
  },
);
