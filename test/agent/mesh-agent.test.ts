import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { CONFIG_FILE } from "../../src/agent/kept-config.ts";
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
  startWithOrders,
  serving,
} from "../support/control-plane/push-control-plane.ts";
import { whileReadOnly } from "../support/faults/read-only.ts";

void t.test(
  "an agent enrols with its token, takes its config and serves it",
  async (t) => {
    const plane = await startWithOrders(t);
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
    const plane = await startWithOrders(t);
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
    t.match(await back.push.status(), [{ name: "web-1", connected: true }]);
  },
);

void t.test(
  "a damaged state directory is reported, and the control plane makes it good",
  async (t) => {
    const plane = await startWithOrders(t);
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
    const file = join(stateDirectory, CONFIG_FILE);
    const whole = await readFile(file, "utf8");
    await writeFile(file, whole.slice(0, -20));
    const second = await startTestAgent(t, options);
    t.match(second.state.value, {
      source: "none",
      lastError: /snapshot\.jsonl is not used: its checksum does not fit/,
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

void t.test(
  "an agent whose state directory may only be read starts, serves and says so",
  async (t) => {
    const plane = await startWithOrders(t);
    const stateDirectory = join(await temporaryDirectory(t), "state");
    const first = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
      stateDirectory,
    });
    await serving(first);
    await first.close();
    await whileReadOnly(stateDirectory, async () => {
      const second = await startTestAgent(t, {
        controlPlane: plane.address,
        stateDirectory,
      });
      t.equal(second.state.value.source, "disk");
      t.ok(second.snapshot.value?.destination("orders", 80), "at once");
      t.match(second.state.value.lastError, /state may only be read: EACCES/);
      await serving(second);
      await plane.store.put(service("payments"), "absent");
      await eventually(
        second.snapshot,
        (snapshot) => snapshot?.destination("payments", 80) !== undefined,
      );
      await eventually(second.state, ({ lastError }) =>
        /the config cannot be kept in .*EACCES/.test(lastError ?? ""),
      );
      await second.close();
    });
  },
);

void t.test("another instance's config is not served", async (t) => {
  const plane = await startWithOrders(t);
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
    join(mine, CONFIG_FILE),
    await readFile(join(other, CONFIG_FILE)),
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
    const plane = await startWithOrders(t);
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
        rules: [{ matches: [{ path: { type: "Exact", value: 7 } }] }],
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
    await until(
      async () => (await plane.push.status())[0]?.refused !== undefined,
    );
    t.match(await plane.push.status(), [
      { refused: { reason: /HTTPRoute\/shop\/bad/ } },
    ]);
    await plane.store.remove(keyOf(bad));
    await eventually(
      agent.snapshot,
      (snapshot) => snapshot?.destination("payments", 80) !== undefined,
    );
    await eventually(agent.state, ({ refused }) => refused === undefined);
  },
);

void t.test(
  "a config over the limit is refused with the reason, and a smaller one is taken",
  async (t) => {
    const plane = await startWithOrders(t);
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
    const plane = await startWithOrders(t);
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
    await until(
      async () => (await fresh.push.status())[0]?.refused !== undefined,
    );
    t.match(await fresh.push.status(), [
      { refused: { reason: /another store/ } },
    ]);
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
