/** A registry of workloads on a fake clock and a store in memory, and the peers that register there. */
import type { Peer } from "../../src/control-plane/push/peer.ts";
import { GRACE } from "../../src/control-plane/registry/preservation.ts";
import {
  startRegistry,
  type Registry,
} from "../../src/control-plane/registry/registry.ts";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import type { Store } from "../../src/control-plane/store/store.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { fakeClock, type FakeClock } from "./fake-clock.ts";

export const PEER: Peer = {
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

export const OTHER: Peer = {
  ...PEER,
  identity: "spiffe://cluster.local/ns/shop/sa/other",
  serviceAccount: "other",
  name: "other-1",
  key: "key-2",
};

const KEY = { kind: "Workload", namespace: "shop", name: "web-1" };

/** What `PEER` registers. */
export const SPEC = {
  address: "10.0.0.1",
  ports: { http: 8080 },
  ttl: "10s",
  ready: true,
};

interface RegistryUnderTest {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly registry: Registry;
  /** Another one on the same store, which waits for the sidecars of the first. */
  readonly restart: () => Promise<Registry>;
  /** That of `PEER`, as it is stored. */
  readonly workload: () => Promise<Resource | undefined>;
}

export async function openRegistry(t: {
  after(run: () => Promise<void>): void;
}): Promise<RegistryUnderTest> {
  const clock = fakeClock();
  const store = openMemoryStore({ clock });
  const start = async (grace: number): Promise<Registry> => {
    const registry = await startRegistry({
      store,
      clock,
      logger: silentLogger,
      grace,
    });
    t.after(() => registry.close());
    return registry;
  };
  return {
    clock,
    store,
    registry: await start(0),
    restart: () => start(GRACE),
    workload: () => store.get(KEY),
  };
}

/** Lets an expiry that the clock has set off reach the store. */
export async function settle(registry: Registry): Promise<void> {
  await registry.deregister({
    ...PEER,
    identity: "spiffe://cluster.local/ns/shop/sa/nobody",
  });
}
