import t from "tap";
import { workloadOf, type Peer } from "../../src/control-plane/push/peer.ts";
import {
  GRACE,
  LEASE_ANNOTATION,
  startRegistry,
  type Registry,
} from "../../src/control-plane/registry.ts";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import type { Store } from "../../src/control-plane/store/store.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { fakeClock, type FakeClock } from "../harness/fake-clock.ts";

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
        annotations: { [LEASE_ANNOTATION]: PEER.identity },
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
