import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Agent } from "../../src/agent/agent.ts";
import { fakeClock } from "../harness/fake-clock.ts";
import { keyOf } from "../../src/resources/envelope.ts";
import {
  eventually,
  MESH,
  route,
  service,
  startTestAgent,
  startTestControlPlane,
  temporaryDirectory,
  until,
  type Scope,
  type TestControlPlane,
} from "../control-plane/push/control-plane.ts";

async function withOrders(t: Scope): Promise<TestControlPlane> {
  const plane = await startTestControlPlane(t, {
    gather: { quiet: 10, most: 100 },
  });
  await plane.store.put(MESH, "absent");
  await plane.store.put(service("orders"), "absent");
  return plane;
}

const serving = (agent: Agent): Promise<unknown> =>
  eventually(agent.state, ({ source }) => source === "stream");

void t.test(
  "an agent enrols with its token, takes its config and serves it",
  async (t) => {
    const plane = await withOrders(t);
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
    });
    await serving(agent);
    t.match(agent.state.value, {
      connected: true,
      version: { store: plane.store.id },
    });
    t.equal(agent.state.value.lastError, undefined);
    t.equal(
      agent.credentials.value?.id,
      "spiffe://cluster.local/ns/shop/sa/web",
    );
    t.match(agent.snapshot.value?.self, {
      name: "web-1",
      namespace: "shop",
      serviceAccount: "web",
      labels: { app: "web" },
    });
    t.ok(agent.snapshot.value?.destination("orders", 80));
    const before = agent.snapshot.value;
    await plane.store.put(service("payments"), "absent");
    await eventually(
      agent.snapshot,
      (snapshot) => snapshot?.destination("payments", 80) !== undefined,
    );
    t.equal(
      before?.destination("payments", 80),
      undefined,
      "a snapshot is replaced, never edited (law 1)",
    );
    await plane.store.remove(keyOf(service("orders")));
    await eventually(
      agent.snapshot,
      (snapshot) => snapshot?.destination("orders", 80) === undefined,
    );
  },
);

void t.test(
  "an agent boots from its disk while the control plane is dead, and says so",
  async (t) => {
    const plane = await withOrders(t);
    const stateDirectory = await temporaryDirectory(t);
    const first = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
      stateDirectory,
    });
    await serving(first);
    const { version, configReceivedAt } = first.state.value;
    await first.close();
    await plane.close();
    for (const name of await readdir(stateDirectory))
      t.equal(
        (await stat(join(stateDirectory, name))).mode & 0o777,
        0o600,
        name,
      );

    const second = await startTestAgent(t, {
      controlPlane: plane.address,
      stateDirectory,
    });
    t.ok(
      second.snapshot.value?.destination("orders", 80),
      "at once, before any connection",
    );
    t.match(second.state.value, {
      source: "disk",
      connected: false,
      version,
      configReceivedAt,
    });
    t.equal(
      second.credentials.value?.id,
      "spiffe://cluster.local/ns/shop/sa/web",
    );
    t.match(
      (
        await eventually(
          second.state,
          ({ lastError }) => lastError !== undefined,
        )
      ).lastError,
      /./,
    );

    const { store, authority, port } = plane;
    const back = await startTestControlPlane(t, { store, authority, port });
    await serving(second);
    t.equal(second.state.value.lastError, undefined);
    t.equal(back.push.statistics().resources, 0, "nothing was sent again");
    t.match(back.push.status(), [{ name: "web-1", connected: true }]);
  },
);

void t.test(
  "a damaged state directory is reported, and the control plane makes it good",
  async (t) => {
    const plane = await withOrders(t);
    const stateDirectory = await temporaryDirectory(t);
    const options = {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
      stateDirectory,
    };
    const first = await startTestAgent(t, options);
    await serving(first);
    await first.close();
    const file = join(stateDirectory, "snapshot.json");
    const whole = await readFile(file, "utf8");
    await writeFile(file, whole.slice(0, -20));
    const second = await startTestAgent(t, options);
    t.match(second.state.value, {
      source: "none",
      lastError: /snapshot\.json is ignored: its checksum/,
    });
    await serving(second);
    await second.close();
    await writeFile(join(stateDirectory, "credentials.json"), "{}");
    const third = await startTestAgent(t, options);
    await serving(third);
    t.equal(third.snapshot.value?.self.name, "web-1");
    await third.close();
    t.ok((await readFile(file, "utf8")).length > 100);
  },
);

void t.test("another instance's config is not served", async (t) => {
  const plane = await withOrders(t);
  const [mine, other] = [
    await temporaryDirectory(t),
    await temporaryDirectory(t),
  ];
  for (const [name, stateDirectory] of [
    ["web-1", mine],
    ["web-2", other],
  ] as const) {
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name,
      stateDirectory,
    });
    await serving(agent);
    await agent.close();
  }
  await plane.close();
  await writeFile(
    join(mine, "snapshot.json"),
    await readFile(join(other, "snapshot.json")),
  );
  const agent = await startTestAgent(t, {
    controlPlane: plane.address,
    stateDirectory: mine,
  });
  t.equal(agent.snapshot.value, undefined);
  t.match(agent.state.value.lastError, /it is the config of web-2/);
});

void t.test(
  "a config that cannot be used is refused whole, with the reason, and the old one serves",
  async (t) => {
    const plane = await withOrders(t);
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
    });
    await serving(agent);
    const before = agent.snapshot.value;
    // Past the API, as only a defect could write it.
    const bad = {
      ...route("bad", "orders"),
      spec: {
        parentRefs: [{ name: "orders" }],
        rules: [{ matches: [{ path: { type: "Glob", value: "/" } }] }],
      },
    };
    await plane.store.put(bad, "absent");
    await plane.store.put(service("payments"), "absent");
    const { refused } = await eventually(
      agent.state,
      ({ refused }) => refused !== undefined,
    );
    t.match(refused, {
      reason: /HTTPRoute\/shop\/bad/,
      version: { store: plane.store.id },
    });
    t.equal(agent.snapshot.value, before);
    t.equal(
      agent.snapshot.value?.destination("payments", 80),
      undefined,
      "no part of it is in force",
    );
    await until(() => plane.push.status()[0]?.refused !== undefined);
    t.match(plane.push.status(), [
      { refused: { reason: /HTTPRoute\/shop\/bad/ } },
    ]);
    await plane.store.remove(keyOf(bad));
    await eventually(
      agent.snapshot,
      (snapshot) => snapshot?.destination("payments", 80) !== undefined,
    );
    t.equal(agent.state.value.refused, undefined);
  },
);

void t.test(
  "a config over the limit is refused with the reason, and a smaller one is taken",
  async (t) => {
    const plane = await withOrders(t);
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
      maxConfigBytes: 20_000,
    });
    await serving(agent);
    const large = service("large");
    await plane.store.put(
      {
        ...large,
        metadata: {
          ...large.metadata,
          annotations: { note: "x".repeat(30_000) },
        },
      },
      "absent",
    );
    const { refused } = await eventually(
      agent.state,
      ({ refused }) => refused !== undefined,
    );
    t.match(refused?.reason, /20000 at most.*--max-config-bytes/);
    await plane.store.put(large, undefined);
    await eventually(
      agent.snapshot,
      (snapshot) => snapshot?.destination("large", 80) !== undefined,
    );
  },
);

void t.test(
  "a lost database empties no mesh: its word is refused until an operator accepts it",
  async (t) => {
    const plane = await withOrders(t);
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
      workload: () => ({ address: "127.0.0.1", ports: { http: 8080 } }),
    });
    await serving(agent);
    await agent.setReady(true);
    t.equal(agent.state.value.registered, "shop/web-1");
    await plane.close();
    const { authority, port } = plane;
    const fresh = await startTestControlPlane(t, { authority, port });
    const { refused } = await eventually(
      agent.state,
      ({ refused }) => refused !== undefined,
    );
    t.match(
      refused?.reason,
      new RegExp(`another store.*wherry store accept ${fresh.store.id}`),
    );
    t.ok(
      agent.snapshot.value?.destination("orders", 80),
      "what it had goes on serving",
    );
    await until(() => fresh.push.status()[0]?.refused !== undefined);
    t.match(fresh.push.status(), [{ refused: { reason: /another store/ } }]);
    const workload = { kind: "Workload", namespace: "shop", name: "web-1" };
    await until(async () => (await fresh.store.get(workload)) !== undefined);
    t.match(
      await fresh.store.get(workload),
      { metadata: { labels: { app: "web" } } },
      "registering goes on, with the labels of the certificate",
    );
    await fresh.store.put(MESH, "absent");
    await fresh.push.accept(fresh.store.id);
    await eventually(
      agent.state,
      ({ version }) => version?.store === fresh.store.id,
    );
    await eventually(
      agent.snapshot,
      (snapshot) => snapshot?.destination("orders", 80) === undefined,
    );
    t.equal(agent.state.value.refused, undefined);
  },
);

void t.test(
  "a workload is registered when it is ready, follows it, and goes when it is told",
  async (t) => {
    const plane = await withOrders(t);
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
    t.match(plane.push.status(), [
      { lease: { workload: "shop/orders-1", ready: true } },
    ]);
    await eventually(
      agent.snapshot,
      (snapshot) =>
        snapshot?.destination("orders", 80)?.cluster.endpoints.length === 1,
    );
    address = "10.0.0.2";
    await agent.setReady(false);
    t.match(await plane.store.get(workload), {
      spec: { address: "10.0.0.2", ready: false },
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
    const plane = await withOrders(t);
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
    const began = performance.now();
    const back = await startTestControlPlane(t, { store, authority, port });
    await eventually(agent.state, ({ connected }) => connected);
    t.ok(performance.now() - began < 2500);
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
    const plane = await withOrders(t);
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
    const [before] = plane.push.status();
    await until(async () =>
      (await readdir(stateDirectory)).includes("credentials.json"),
    );
    const { resources } = plane.push.statistics();
    const revision = await plane.store.revision();
    const first = agent.credentials.value;
    await until(() => {
      if (agent.credentials.value !== first) return true;
      clock.advance(300_000);
      return false;
    });
    await eventually(agent.state, ({ connected }) => connected);
    await until(() => plane.push.statistics().acknowledged === 3);
    const [after] = plane.push.status();
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
