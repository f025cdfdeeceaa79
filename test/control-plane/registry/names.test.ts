/** Who may have the name of an instance: one identity, one running sidecar, and no sidecar where a person has it. */
import t from "tap";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import { GRACE } from "../../../src/control-plane/registry/preservation.ts";
import { LONGEST_UNCONFIRMED } from "../../../src/control-plane/registry/expiry.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  openRegistry,
  OTHER,
  PEER,
  settle,
  SPEC,
} from "../../support/control-plane/registry.ts";

void t.test("a name is taken while another identity has it", async (t) => {
  const { registry, clock, workload } = await openRegistry(t);
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
  clock.advance(10_000 + LONGEST_UNCONFIRMED);
  await registry.register(other, SPEC);
  t.match(await workload(), { spec: { serviceAccount: "other" } });
});

void t.test(
  "a second instance of the same name is refused while the first is there, and takes over when it is gone",
  async (t) => {
    const { registry } = await openRegistry(t);
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
  const { registry } = await openRegistry(t);
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
    const { registry, store, clock, restart, workload } = await openRegistry(t);
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

void t.test("who may have an instance's name", async (t) => {
  const { registry, store } = await openRegistry(t);
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
