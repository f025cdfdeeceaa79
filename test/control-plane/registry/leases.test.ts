/** How long a registered workload lasts: its ttl, the streams that hold it, and the start of a control plane. */
import t from "tap";
import { workloadOf } from "../../../src/control-plane/push/peer.ts";
import { LONGEST_UNCONFIRMED } from "../../../src/control-plane/registry/expiry.ts";
import { GRACE } from "../../../src/control-plane/registry/preservation.ts";
import {
  openRegistry,
  OTHER,
  PEER,
  settle,
  SPEC,
} from "../../support/control-plane/registry.ts";

void t.test(
  "a lease runs out its ttl after the last sign of its sidecar",
  async (t) => {
    const { registry, clock, workload } = await openRegistry(t);
    await registry.register(PEER, SPEC);
    clock.advance(9_999);
    await settle(registry);
    t.ok(await workload());
    await registry.register(PEER, SPEC);
    clock.advance(9_999);
    await settle(registry);
    t.ok(await workload(), "registering again is a sign");
    t.match(registry.lease(workloadOf(PEER)), { confirmed: true });
    clock.advance(1);
    await settle(registry);
    t.ok(await workload(), "it may be one of many");
    t.match(registry.lease(workloadOf(PEER)), { confirmed: false });
    clock.advance(LONGEST_UNCONFIRMED);
    await settle(registry);
    t.equal(await workload(), undefined);
    t.equal(registry.lease(workloadOf(PEER)), undefined);
  },
);

void t.test(
  "a stream holds the lease; its ttl starts when the last one is gone",
  async (t) => {
    const { registry, clock, workload } = await openRegistry(t);
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
    clock.advance(1 + LONGEST_UNCONFIRMED);
    await settle(registry);
    t.equal(await workload(), undefined);
  },
);

void t.test(
  "a stream of another identity is no sign of the workload whose name it bears",
  async (t) => {
    const { registry, clock } = await openRegistry(t);
    const other = { ...OTHER, name: PEER.name };
    await registry.register(PEER, SPEC);
    for (let second = 1; second <= 10; second += 1) {
      const release = registry.hold(other);
      clock.advance(1000);
      release();
    }
    await settle(registry);
    const lost = { confirmed: false };
    t.match(registry.lease(workloadOf(PEER)), lost, "its ttl has passed");
    registry.hold(other);
    t.match(registry.lease(workloadOf(PEER)), lost, "and it stays so");
    registry.hold(PEER);
    t.match(registry.lease(workloadOf(PEER)), { confirmed: true, held: true });
  },
);

void t.test("a stream that comes back in time keeps the lease", async (t) => {
  const { registry, clock, workload } = await openRegistry(t);
  const release = registry.hold(PEER);
  await registry.register(PEER, SPEC);
  release();
  clock.advance(9_000);
  registry.hold(PEER);
  clock.advance(100_000);
  await settle(registry);
  t.ok(await workload());
});

void t.test("a ttl is as long as asked for, and never a week", async (t) => {
  const { registry, clock, workload } = await openRegistry(t);
  await registry.register(PEER, { ...SPEC, ttl: "1s" });
  clock.advance(999);
  await settle(registry);
  t.ok(await workload());
  await registry.register(PEER, { ...SPEC, ttl: "99999h" });
  clock.advance(600_000 + LONGEST_UNCONFIRMED);
  await settle(registry);
  t.equal(await workload(), undefined);
});

void t.test(
  "nothing expires within 60 s of a start, and what is not taken up again does after that",
  async (t) => {
    const { registry, clock, restart, workload } = await openRegistry(t);
    registry.hold(PEER);
    await registry.register(PEER, SPEC);
    await registry.close();
    clock.advance(1_000_000);
    const next = await restart();
    t.match(next.lease(workloadOf(PEER)), { held: false });
    clock.advance(GRACE - 1);
    await settle(next);
    t.ok(await workload());
    clock.advance(1 + LONGEST_UNCONFIRMED);
    await settle(next);
    t.equal(await workload(), undefined);
  },
);

void t.test(
  "a sidecar that is back within the grace period keeps its workload without a write",
  async (t) => {
    const { registry, clock, restart, store, workload } = await openRegistry(t);
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

void t.test(
  "an expiry leaves what a person has put in the place of the workload",
  async (t) => {
    const { registry, store, clock, workload } = await openRegistry(t);
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
    clock.advance(10_000 + LONGEST_UNCONFIRMED);
    await settle(registry);
    t.match(await workload(), { spec: { address: "10.0.0.9" } });
  },
);

void t.test("a closed registry leaves no timer", async (t) => {
  const { registry, clock } = await openRegistry(t);
  await registry.register(PEER, SPEC);
  await registry.close();
  t.equal(clock.pending, 0);
});
