/** A registry of workloads on a fake clock and a store in memory, and the peers that register there. */
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import type { MeshAround } from "../../../src/control-plane/registry/expiry.ts";
import { GRACE } from "../../../src/control-plane/registry/preservation.ts";
import {
  startRegistry,
  type Registry,
} from "../../../src/control-plane/registry/registry.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { fakeClock, type FakeClock } from "../clocks/fake-clock.ts";

export const PEER: Peer = {
  identity: "spiffe://cluster.local/ns/shop/sa/web",
  namespace: "shop",
  serviceAccount: "web",
  name: "web-1",
  labels: { app: "web" },
  key: "key-1",
  serial: "A1",
  certificateNotBefore: 0,
  certificateExpiresAt: Number.MAX_SAFE_INTEGER,
  root: "",
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

/** Lets what the clock has set off for these workloads reach the store. */
export async function settle(
  registry: Registry,
  names: Iterable<string> = [PEER.name],
): Promise<void> {
  const identity = "spiffe://cluster.local/ns/shop/sa/nobody";
  for (const name of names)
    await registry.deregister({ ...PEER, name, identity });
}

/** The names of the workloads that are left once that is done. */
export async function namesLeft({
  registry,
  store,
}: Pick<RegistryUnderTest, "registry" | "store">): Promise<readonly string[]> {
  const names = async (): Promise<string[]> =>
    (await store.list("Workload")).resources.map(
      ({ metadata }) => metadata.name,
    );
  await settle(registry, await names());
  return names();
}

/** A mesh with these endpoints of each Service; all Services select every workload. */
export function meshOf(
  endpoints: Readonly<Record<string, readonly string[]>>,
  callers = 0,
): MeshAround {
  return {
    serving: () => ({
      servicesOf: () => Object.keys(endpoints),
      endpointsOf: (service) => endpoints[service] ?? [],
    }),
    caughtUp: () => Promise.resolve(),
    callersOf: () => callers,
  };
}
