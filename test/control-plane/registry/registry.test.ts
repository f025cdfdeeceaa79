/** What a sidecar registers, changes and takes back: who a workload is, and what is written of it. */
import t from "tap";
import { workloadOf } from "../../../src/control-plane/push/peer.ts";
import { REGISTERED_BY } from "../../../src/resources/workload/schema.ts";
import {
  openRegistry,
  PEER,
  SPEC,
} from "../../support/control-plane/registry.ts";

void t.test(
  "who a workload is comes from its certificate, whatever its sidecar says",
  async (t) => {
    const { registry, workload } = await openRegistry(t);
    const lease = await registry.register(PEER, {
      ...SPEC,
      serviceAccount: "admin",
    });
    t.same(lease, {
      workload: "shop/web-1",
      identity: PEER.identity,
      ready: true,
      held: false,
      confirmed: true,
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
    const { registry, workload } = await openRegistry(t);
    for (const [spec, message] of [
      [{ ...SPEC, labels: { app: "admin" } }, /spec\.labels/],
      [{ ports: {} }, /address/],
      [{ ...SPEC, ports: { http: 0 } }, /spec\.ports/],
      [{ ...SPEC, ports: { http: 0 }, tomorrow: 1 }, /spec\.ports/],
      [{ ...SPEC, labels: {}, tomorrow: 1 }, /spec\.labels/],
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
  "a sidecar of a newer version is registered without the fields that this one does not know",
  async (t) => {
    const { registry, workload } = await openRegistry(t);
    await registry.register(PEER, { ...SPEC, tomorrow: { a: 1 } });
    t.strictSame((await workload())?.spec, { ...SPEC, serviceAccount: "web" });
  },
);

void t.test(
  "renewing a lease writes nothing; a change writes once",
  async (t) => {
    const { registry, store } = await openRegistry(t);
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
    const { registry, workload } = await openRegistry(t);
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
