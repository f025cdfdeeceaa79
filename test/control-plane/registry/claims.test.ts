/** Whose address it is that a sidecar registers: its own, proven, and one identity's at a time (law 13). */
import t from "tap";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import type { Registry } from "../../../src/control-plane/registry/registry.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { until } from "../../support/control-plane/push-control-plane.ts";
import {
  openRegistry,
  OTHER,
  PEER,
  settle,
  SPEC,
} from "../../support/control-plane/registry.ts";

void t.test(
  "an address is the one that the peer calls from, or one that its certificate allows",
  async (t) => {
    const { registry, workload } = await openRegistry(t);
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
    const { registry, clock } = await openRegistry(t);
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
  const { registry } = await openRegistry(t);
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
    const { registry, store, restart } = await openRegistry(t);
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
