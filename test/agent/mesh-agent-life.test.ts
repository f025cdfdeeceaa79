import t from "tap";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import {
  eventually,
  MESH,
  service,
  startTestAgent,
  startTestControlPlane,
  temporaryDirectory,
  until,
  startWithOrders,
  serving,
} from "../support/control-plane/push-control-plane.ts";

void t.test(
  "a workload is registered when it is ready, follows it, and goes when it is told",
  async (t) => {
    const plane = await startWithOrders(t);
    let address = "10.0.0.1";
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token({ labels: { app: "orders" } }),
      name: "orders-1",
      workload: () => ({
        address,
        ports: { http: 8080 },
        link: { port: 15_008 },
      }),
    });
    const workload = { kind: "Workload", namespace: "shop", name: "orders-1" };
    await serving(agent);
    t.equal(
      await plane.store.get(workload),
      undefined,
      "not before it is ready (law 12)",
    );
    await agent.setReady(true);
    t.match(await plane.store.get(workload), {
      spec: { address: "10.0.0.1", ready: true, serviceAccount: "web" },
      metadata: { labels: { app: "orders" } },
    });
    t.match(await plane.push.status(), [
      { lease: { workload: "shop/orders-1", ready: true } },
    ]);
    await eventually(
      agent.snapshot,
      (snapshot) =>
        snapshot?.destination("orders", 80)?.cluster.endpoints.length === 1,
    );
    const silent = [
      [8080, "é".repeat(400)],
      [9090, "none of its ports"],
    ] as const;
    await agent.setReady(true, new Map(silent));
    const unreadyPorts = { http: "?".repeat(300) };
    t.match(await plane.push.status(), [
      { lease: { ready: true, unreadyPorts } },
    ]);
    t.strictSame(
      (await plane.store.get(workload))?.spec,
      {
        ...{ address, ports: { http: 8080 }, link: { port: 15_008 } },
        ...{ ready: true, unreadyPorts, serviceAccount: "web" },
      },
      "one line that any sidecar may say",
    );
    address = "10.0.0.2";
    await agent.setReady(false);
    t.match(await plane.store.get(workload), {
      spec: { address: "10.0.0.2", ready: false, unreadyPorts: undefined },
    });
    await agent.deregister();
    t.equal(await plane.store.get(workload), undefined);
    await agent.setReady(true);
    t.equal(
      await plane.store.get(workload),
      undefined,
      "nothing brings it back",
    );
  },
);

void t.test(
  "a control plane that comes back finds its sidecars within 2 s, registered again",
  async (t) => {
    const plane = await startWithOrders(t);
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
      workload: () => ({ address: "10.0.0.1" }),
    });
    await serving(agent);
    await agent.setReady(true);
    await plane.close();
    await eventually(agent.state, ({ connected }) => !connected);
    t.ok(agent.snapshot.value, "serving goes on");
    const { store, authority, port } = plane;
    const revision = await store.revision();
    const back = await startTestControlPlane(t, { store, authority, port });
    await eventually(agent.state, ({ connected }) => connected);
    await back.store.put(service("payments"), "absent");
    await eventually(
      agent.snapshot,
      (snapshot) => snapshot?.destination("payments", 80) !== undefined,
    );
    t.equal(
      await back.store.revision(),
      revision + 1,
      "coming back has written nothing",
    );
  },
);

void t.test(
  "an agent that never reached its control plane waits, says why, and closes at once",
  async (t) => {
    const plane = await startWithOrders(t);
    const token = await plane.token();
    await plane.close();
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token,
    });
    t.match(
      (
        await eventually(
          agent.state,
          ({ lastError }) => lastError !== undefined,
        )
      ).lastError,
      /cannot be reached: .*ECONNREFUSED/,
    );
    t.match(agent.state.value, { source: "none", connected: false });
    await agent.setReady(true);
    await agent.close();
  },
);

void t.test(
  "options that cannot work are refused at the start, with what to do",
  async (t) => {
    const stateDirectory = await temporaryDirectory(t);
    for (const controlPlane of ["", "host", "host:", "host:x", "a:b:1"])
      await t.rejects(startTestAgent(t, { controlPlane, stateDirectory }), {
        name: "UserError",
        message: /HOST:PORT/,
      });
    const agent = await startTestAgent(t, {
      controlPlane: "127.0.0.1:1",
      stateDirectory,
    });
    t.match(
      (
        await eventually(
          agent.state,
          ({ lastError }) => lastError !== undefined,
        )
      ).lastError,
      /no token: make one with `wherry token create`/,
    );
  },
);

void t.test(
  "a renewed certificate gets a connection of its own: nothing is sent again, and the workload stays",
  async (t) => {
    // OpenSSL judges by the system's time: the test's begins in the past.
    const clock = fakeClock({ wall: Date.now() - 13 * 3_600_000 });
    const plane = await startTestControlPlane(t, { clock });
    await plane.store.put(MESH, "absent");
    const stateDirectory = await temporaryDirectory(t);
    const agent = await startTestAgent(t, {
      clock,
      stateDirectory,
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
      workload: () => ({ address: "10.0.0.1" }),
    });
    await serving(agent);
    await agent.setReady(true);
    clock.advance(100);
    await until(() => plane.push.statistics().acknowledged === 2);
    const [before] = await plane.push.status();
    const { resources } = plane.push.statistics();
    const revision = await plane.store.revision();
    const first = agent.credentials.value;
    for (let turn = 0; turn < 10; turn += 1)
      await new Promise((resolve) => setImmediate(resolve));
    clock.advance(12.1 * 3_600_000);
    await eventually(agent.credentials, (value) => value !== first);
    await eventually(agent.state, ({ connected }) => connected);
    await until(() => plane.push.statistics().acknowledged === 3);
    const [after] = await plane.push.status();
    t.match(after, {
      name: "web-1",
      connected: true,
      lease: { workload: "shop/web-1", ready: true },
    });
    t.ok(
      (after?.certificateExpiresAt ?? 0) > (before?.certificateExpiresAt ?? 0),
    );
    t.equal(plane.push.statistics().resources, resources);
    t.equal(await plane.store.revision(), revision);
    t.equal(agent.state.value.lastError, undefined);
  },
);
