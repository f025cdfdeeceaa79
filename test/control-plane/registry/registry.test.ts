import t from "tap";
import { workloadOf, type Peer } from "../../../src/control-plane/push/peer.ts";
import {
  GRACE,
  startRegistry,
  type Registry,
} from "../../../src/control-plane/registry/registry.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { REGISTERED_BY } from "../../../src/resources/workload/schema.ts";
import { fakeClock, type FakeClock } from "../../support/fake-clock.ts";
import { until } from "../../support/push-control-plane.ts";

const PEER: Peer = {
  identity: "spiffe://cluster.local/ns/shop/sa/web",
  namespace: "shop",
  serviceAccount: "web",
  name: "web-1",
  labels: { app: "web" },
  key: "key-1",
  certificateExpiresAt: Number.MAX_SAFE_INTEGER,
  address: "10.0.0.1:4000",
  source: "10.0.0.1",
  addresses: [],
};
const KEY = { kind: "Workload", namespace: "shop", name: "web-1" };
const SPEC = {
  address: "10.0.0.1",
  ports: { http: 8080 },
  ttl: "10s",
  ready: true,
};

interface Setting {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly registry: Registry;
  readonly restart: () => Promise<Registry>;
  readonly workload: () => Promise<Resource | undefined>;
}

async function set(
  t: { after(run: () => Promise<void>): void },
  grace = 0,
): Promise<Setting> {
  const clock = fakeClock();
  const store = openMemoryStore({ clock });
  const start = async (after: number): Promise<Registry> => {
    const registry = await startRegistry({
      store,
      clock,
      logger: silentLogger,
      grace: after,
    });
    t.after(() => registry.close());
    return registry;
  };
  return {
    clock,
    store,
    registry: await start(grace),
    restart: () => start(GRACE),
    workload: () => store.get(KEY),
  };
}

/** Lets an expiry that the clock has set off reach the store. */
async function settle(registry: Registry): Promise<void> {
  await registry.deregister({
    ...PEER,
    identity: "spiffe://cluster.local/ns/shop/sa/nobody",
  });
}

void t.test(
  "who a workload is comes from its certificate, whatever its sidecar says",
  async (t) => {
    const { registry, workload } = await set(t);
    const lease = await registry.register(PEER, {
      ...SPEC,
      serviceAccount: "admin",
    });
    t.same(lease, {
      workload: "shop/web-1",
      identity: PEER.identity,
      ready: true,
      held: false,
    });
    t.match(await workload(), {
      metadata: {
        name: "web-1",
        namespace: "shop",
        labels: { app: "web" },
        annotations: { [REGISTERED_BY]: PEER.identity },
      },
      spec: { ...SPEC, serviceAccount: "web" },
    });
  },
);

void t.test(
  "a spec that is no Workload's is refused, with the field",
  async (t) => {
    const { registry, workload } = await set(t);
    for (const [spec, message] of [
      [{ ...SPEC, labels: { app: "admin" } }, /spec\.labels/],
      [{ ports: {} }, /address/],
      [{ ...SPEC, ports: { http: 0 } }, /spec\.ports/],
      ["text", /address/],
      [null, /address/],
    ] as const)
      await t.rejects(registry.register(PEER, spec), {
        name: "RegistrationError",
        kind: "invalid",
        message,
      });
    t.equal(await workload(), undefined);
  },
);

void t.test(
  "a lease runs out its ttl after the last sign of its sidecar",
  async (t) => {
    const { registry, clock, workload } = await set(t);
    await registry.register(PEER, SPEC);
    clock.advance(9_999);
    await settle(registry);
    t.ok(await workload());
    await registry.register(PEER, SPEC);
    clock.advance(9_999);
    await settle(registry);
    t.ok(await workload(), "registering again is a sign");
    clock.advance(1);
    await settle(registry);
    t.equal(await workload(), undefined);
    t.equal(registry.lease(workloadOf(PEER)), undefined);
  },
);

void t.test(
  "a stream holds the lease; its ttl starts when the last one is gone",
  async (t) => {
    const { registry, clock, workload } = await set(t);
    const release = registry.hold(PEER);
    await registry.register(PEER, SPEC);
    clock.advance(3_600_000);
    const releaseSecond = registry.hold({ ...PEER, key: "key-2" });
    release();
    clock.advance(3_600_000);
    await settle(registry);
    t.match(registry.lease(workloadOf(PEER)), { held: true });
    releaseSecond();
    releaseSecond();
    clock.advance(9_999);
    await settle(registry);
    t.ok(await workload());
    clock.advance(1);
    await settle(registry);
    t.equal(await workload(), undefined);
  },
);

void t.test("a stream that comes back in time keeps the lease", async (t) => {
  const { registry, clock, workload } = await set(t);
  const release = registry.hold(PEER);
  await registry.register(PEER, SPEC);
  release();
  clock.advance(9_000);
  registry.hold(PEER);
  clock.advance(100_000);
  await settle(registry);
  t.ok(await workload());
});

void t.test(
  "renewing a lease writes nothing; a change writes once",
  async (t) => {
    const { registry, store } = await set(t);
    await registry.register(PEER, SPEC);
    const revision = await store.revision();
    await registry.register(PEER, SPEC);
    registry.hold(PEER)();
    t.equal(await store.revision(), revision);
    await registry.register(PEER, { ...SPEC, ready: false });
    t.equal(await store.revision(), revision + 1);
    t.match(registry.lease(workloadOf(PEER)), { ready: false });
  },
);

void t.test(
  "deregistering removes the workload, and only its own",
  async (t) => {
    const { registry, workload } = await set(t);
    await registry.register(PEER, SPEC);
    await registry.deregister({
      ...PEER,
      identity: "spiffe://cluster.local/ns/shop/sa/other",
    });
    t.ok(await workload());
    await registry.deregister(PEER);
    t.equal(await workload(), undefined);
    await registry.deregister(PEER);
  },
);

void t.test(
  "nothing expires within 60 s of a start, and what is not taken up again does after that",
  async (t) => {
    const { registry, clock, restart, workload } = await set(t);
    registry.hold(PEER);
    await registry.register(PEER, SPEC);
    await registry.close();
    clock.advance(1_000_000);
    const next = await restart();
    t.match(next.lease(workloadOf(PEER)), { held: false });
    clock.advance(GRACE - 1);
    await settle(next);
    t.ok(await workload());
    clock.advance(1);
    await settle(next);
    t.equal(await workload(), undefined);
  },
);

void t.test(
  "a sidecar that is back within the grace period keeps its workload without a write",
  async (t) => {
    const { registry, clock, restart, store, workload } = await set(t);
    await registry.register(PEER, SPEC);
    await registry.close();
    const revision = await store.revision();
    const next = await restart();
    next.hold({ ...PEER, key: "key-9" });
    await next.register({ ...PEER, key: "key-9" }, SPEC);
    clock.advance(GRACE * 10);
    await settle(next);
    t.ok(await workload());
    t.equal(await store.revision(), revision);
  },
);

void t.test("a name is taken while another identity has it", async (t) => {
  const { registry, clock, workload } = await set(t);
  const other: Peer = {
    ...PEER,
    identity: "spiffe://cluster.local/ns/shop/sa/other",
    serviceAccount: "other",
    key: "key-2",
  };
  await registry.register(PEER, SPEC);
  await t.rejects(registry.register(other, SPEC), {
    kind: "taken",
    message: /registered by .*sa\/web/,
  });
  // A stream of the other one holds nothing of the lease.
  registry.hold(other);
  clock.advance(10_000);
  await registry.register(other, SPEC);
  t.match(await workload(), { spec: { serviceAccount: "other" } });
});

void t.test(
  "a second instance of the same name is refused while the first is there, and takes over when it is gone",
  async (t) => {
    const { registry } = await set(t);
    const second = { ...PEER, key: "key-2" };
    const release = registry.hold(PEER);
    await registry.register(PEER, SPEC);
    registry.hold(second);
    await t.rejects(registry.register(second, SPEC), {
      kind: "taken",
      message: /running sidecar/,
    });
    await t.rejects(registry.deregister(second), {
      kind: "taken",
      message: /running sidecar/,
    });
    release();
    t.match(await registry.register(second, SPEC), { held: true });
    registry.hold(PEER);
    await t.rejects(
      registry.register(PEER, SPEC),
      { kind: "taken", message: /running sidecar/ },
      "the first is the second one now",
    );
  },
);

void t.test("a renewed certificate is the same instance", async (t) => {
  const { registry } = await set(t);
  registry.hold(PEER);
  await registry.register(PEER, SPEC);
  registry.rekeyed(PEER, "key-2");
  registry.rekeyed({ ...PEER, key: "unknown" }, "key-3");
  registry.hold({ ...PEER, key: "key-2" });
  t.ok(await registry.register({ ...PEER, key: "key-2" }, SPEC));
  await t.rejects(registry.register({ ...PEER, key: "key-3" }, SPEC), {
    kind: "taken",
    message: /running sidecar/,
  });
});

void t.test(
  "a person's Workload is neither taken over nor expired",
  async (t) => {
    const { registry, store, clock, restart, workload } = await set(t);
    const manual: Resource = {
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Workload",
      metadata: { name: "web-1", namespace: "shop" },
      spec: { address: "10.0.0.9" },
    };
    await store.put(manual, "absent");
    await t.rejects(registry.register(PEER, SPEC), {
      kind: "taken",
      message: /by a person/,
    });
    const next = await restart();
    clock.advance(GRACE * 10);
    await settle(next);
    t.match(await workload(), { spec: { address: "10.0.0.9" } });
  },
);

void t.test(
  "an expiry leaves what a person has put in the place of the workload",
  async (t) => {
    const { registry, store, clock, workload } = await set(t);
    await registry.register(PEER, SPEC);
    await store.put(
      {
        apiVersion: "mesh.wherry.dev/v1alpha1",
        kind: "Workload",
        metadata: { name: "web-1", namespace: "shop" },
        spec: { address: "10.0.0.9" },
      },
      undefined,
    );
    clock.advance(10_000);
    await settle(registry);
    t.match(await workload(), { spec: { address: "10.0.0.9" } });
  },
);

void t.test("a ttl is as long as asked for, and never a week", async (t) => {
  const { registry, clock, workload } = await set(t);
  await registry.register(PEER, { ...SPEC, ttl: "1s" });
  clock.advance(999);
  await settle(registry);
  t.ok(await workload());
  await registry.register(PEER, { ...SPEC, ttl: "99999h" });
  clock.advance(600_000);
  await settle(registry);
  t.equal(await workload(), undefined);
});

void t.test("a closed registry leaves no timer", async (t) => {
  const { registry, clock } = await set(t);
  await registry.register(PEER, SPEC);
  await registry.close();
  t.equal(clock.pending, 0);
});

const OTHER: Peer = {
  ...PEER,
  identity: "spiffe://cluster.local/ns/shop/sa/other",
  serviceAccount: "other",
  name: "other-1",
  key: "key-2",
};

void t.test(
  "an address is the one that the peer calls from, or one that its certificate allows",
  async (t) => {
    const { registry, workload } = await set(t);
    const register = (
      address: string,
      peer: Partial<Peer> = {},
    ): Promise<unknown> =>
      registry.register({ ...PEER, ...peer }, { ...SPEC, address });
    for (const [address, peer, stored] of [
      ["10.0.0.1", {}, "10.0.0.1"],
      ["::ffff:10.0.0.1", {}, "10.0.0.1"],
      ["10.0.0.1", { source: "::ffff:10.0.0.1" }, "10.0.0.1"],
      ["10.9.0.1", { addresses: ["10.9.0.0/16"] }, "10.9.0.1"],
      ["fd00::a", { addresses: ["10.0.0.0/8", "fd00::a"] }, "fd00::a"],
      ["127.0.0.1", { source: "127.0.0.1" }, "127.0.0.1"],
      ["::1", { source: "::1" }, "::1"],
    ] as const) {
      await register(address, peer);
      t.match(await workload(), { spec: { address: stored } });
    }
    for (const [address, peer, kind, message] of [
      [
        "10.0.0.2",
        {},
        "forbidden",
        /not the address .*calls from \(10\.0\.0\.1\).*--allow-address 10\.0\.0\.2/,
      ],
      [
        "10.10.0.1",
        { addresses: ["10.9.0.0/16"] },
        "forbidden",
        /not the address/,
      ],
      ["127.0.0.1", {}, "forbidden", /not the address/],
      ["127.0.0.2", { source: "127.0.0.1" }, "forbidden", /not the address/],
      ["orders", {}, "invalid", /expected an IP address/],
      [
        "localhost",
        { source: "127.0.0.1" },
        "invalid",
        /expected an IP address/,
      ],
      [
        "169.254.169.254",
        { addresses: ["0.0.0.0/0"] },
        "invalid",
        /link-local/,
      ],
      ["fe80::1", { addresses: ["::/0"] }, "invalid", /link-local/],
      ["0.0.0.0", { addresses: ["0.0.0.0/0"] }, "invalid", /unspecified/],
      ["224.0.0.1", { addresses: ["0.0.0.0/0"] }, "invalid", /multicast/],
    ] as const)
      await t.rejects(register(address, peer), { kind, message }, address);
  },
);

void t.test(
  "an address and port are one identity's at a time; they are free when its Workload goes",
  async (t) => {
    const { registry, clock } = await set(t);
    const link = { port: 15008 };
    await registry.register(PEER, { ...SPEC, link });
    for (const ports of [{ http: 8080 }, { x: 15008 }, { a: 1, b: 8080 }])
      await t.rejects(registry.register(OTHER, { ...SPEC, ports }), {
        kind: "taken",
        message: /10\.0\.0\.1:\d+ belongs to Workload shop\/web-1 of shop\/web/,
      });
    await t.rejects(
      registry.register(OTHER, { ...SPEC, ports: { x: 81 }, link }),
      { kind: "taken", message: /15008 belongs to/ },
      "the sidecar's port",
    );
    await registry.register(OTHER, { ...SPEC, ports: { x: 81 } });
    await registry.register({ ...PEER, name: "web-2", key: "key-3" }, SPEC);
    await registry.register(PEER, { ...SPEC, ports: { http: 8081 } });
    await t.rejects(
      registry.register(OTHER, SPEC),
      { kind: "taken", message: /web-2/ },
      "an instance of the same identity has it still",
    );
    clock.advance(10_000);
    await settle(registry);
    await registry.register(OTHER, SPEC);
  },
);

void t.test("of two that come at once, one gets the address", async (t) => {
  const { registry } = await set(t);
  const results = await Promise.allSettled([
    registry.register(PEER, SPEC),
    registry.register(OTHER, SPEC),
  ]);
  t.same(
    results.map(({ status }) => status),
    ["fulfilled", "rejected"],
  );
});

void t.test(
  "what persons apply holds its address too, from before the start and from then on",
  async (t) => {
    const { registry, store, restart } = await set(t);
    const manual = (port: number): Resource => ({
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Workload",
      metadata: { name: "db", namespace: "shop" },
      spec: { address: "10.0.0.1", ports: { tcp: port } },
    });
    const isTaken = async (at: Registry): Promise<boolean> => {
      try {
        await at.register(OTHER, SPEC);
        await at.deregister(OTHER);
        return false;
      } catch {
        return true;
      }
    };
    await store.put(manual(8080), "absent");
    await until(() => isTaken(registry));
    await store.put(manual(5432), undefined);
    await until(async () => !(await isTaken(registry)));
    await store.put(manual(8080), undefined);
    const next = await restart();
    t.equal(await isTaken(next), true);
    await store.remove({ kind: "Workload", namespace: "shop", name: "db" });
    await until(async () => !(await isTaken(next)));
  },
);

void t.test("who may have an instance's name", async (t) => {
  const { registry, store } = await set(t);
  const web = PEER;
  const other = { ...OTHER, name: "web-1" };
  t.equal(await registry.nameFault(web), undefined);
  await registry.register(PEER, SPEC);
  t.equal(await registry.nameFault(web), undefined, "itself, come back anew");
  t.match(await registry.nameFault(other), /registered by .*sa\/web/);
  const release = registry.hold(PEER);
  t.match(await registry.nameFault(web), /running sidecar/);
  release();
  t.equal(await registry.nameFault(web), undefined);
  await registry.deregister(PEER);
  t.equal(await registry.nameFault(other), undefined);
  await store.put(
    {
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Workload",
      metadata: { name: "web-1", namespace: "shop" },
      spec: { address: "10.0.0.9", serviceAccount: "web" },
    },
    "absent",
  );
  t.match(await registry.nameFault(other), /applied by a person/);
  t.equal(
    await registry.nameFault(web),
    undefined,
    "it describes the instance",
  );
});
