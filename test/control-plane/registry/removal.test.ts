/** What a revoked instance had registered goes, also where the store fails at first. */
import t from "tap";
import {
  openRegistry,
  PEER,
  settle,
  SPEC,
} from "../../support/control-plane/registry.ts";

void t.test("a store that fails", async (t) => {
  const rows: readonly (readonly [
    string,
    { readonly undone?: boolean; readonly anew?: boolean },
    boolean,
  ])[] = [
    ["it is tried again", {}, false],
    ["what is not revoked any more stays", { undone: true }, true],
    ["what is registered anew stays", { anew: true }, true],
  ];
  for (const [what, { undone = false, anew = false }, stays] of rows) {
    const { registry, store, clock, workload } = await openRegistry(t);
    await registry.register(PEER, SPEC);
    const leave = registry.hold(PEER);
    const remove = store.remove.bind(store);
    store.remove = () => Promise.reject(new Error("disk full"));
    let revoked = true;
    await registry.removal.ofAll(() => revoked);
    t.not(await workload(), undefined, what);
    t.not(registry.lease("shop/web-1"), undefined, `${what}: its lease, too`);
    clock.advance(5000);
    await settle(registry);
    t.not(await workload(), undefined, `${what}, and again`);
    store.remove = remove;
    revoked = !undone;
    leave();
    if (anew) await registry.register({ ...PEER, key: "key-9" }, SPEC);
    clock.advance(5000);
    await settle(registry);
    t.equal((await workload()) !== undefined, stays, what);
    t.equal(registry.lease("shop/web-1") !== undefined, stays, what);
  }
});

void t.test("its lease runs out all the same", async (t) => {
  const { registry, store, clock } = await openRegistry(t);
  await registry.register(PEER, SPEC);
  store.remove = () => Promise.reject(new Error("disk full"));
  await registry.removal.ofAll(() => true);
  clock.advance(11_000);
  t.match(registry.lease("shop/web-1"), { confirmed: false });
});

void t.test("nothing is tried once it is closed", async (t) => {
  const { registry, store, clock, workload } = await openRegistry(t);
  await registry.register(PEER, SPEC);
  const remove = store.remove.bind(store);
  store.remove = () => Promise.reject(new Error("disk full"));
  await registry.removal.ofAll(() => true);
  await registry.close();
  store.remove = remove;
  clock.advance(5000);
  await settle(registry);
  t.not(await workload(), undefined);
});
