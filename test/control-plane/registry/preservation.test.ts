/** Leases that run out by no fault of their workloads: many at once, after a stall, and the last of a Service. */
import t from "tap";
import {
  GRACE,
  JUDGED_AFTER,
  Preservation,
  STALL,
} from "../../../src/control-plane/registry/preservation.ts";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import { until } from "../../support/control-plane/push-control-plane.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { LONGEST_UNCONFIRMED } from "../../../src/control-plane/registry/expiry.ts";
import {
  meshOf,
  namesLeft,
  openRegistry,
  PEER,
  SPEC,
} from "../../support/control-plane/registry.ts";

/** Those of an own address each. */
function peers(count: number): readonly Peer[] {
  return Array.from({ length: count }, (_, at) => ({
    ...PEER,
    name: `web-${at + 1}`,
    key: `key-${at + 1}`,
    source: `10.0.1.${at + 1}`,
  }));
}

const TTL = 10_000;

type Opened = Awaited<ReturnType<typeof openRegistry>>;

async function registered(
  { registry }: Opened,
  all: readonly Peer[],
): Promise<void> {
  for (const peer of all)
    await registry.register(peer, { ...SPEC, address: peer.source });
}

async function left(opened: Opened): Promise<number> {
  return (await namesLeft(opened)).length;
}

void t.test(
  "of few that run out together all go, of many none until they are few and a minute has passed",
  async (t) => {
    const opened = await openRegistry(t);
    const { registry, clock } = opened;
    const all = peers(20);
    await registered(opened, all);
    const streams = all.map((peer) => registry.hold(peer));
    for (const release of streams.slice(0, 3)) release();
    clock.advance(TTL + LONGEST_UNCONFIRMED);
    t.equal(await left(opened), 17, "15 % is a coincidence");

    for (const release of streams.slice(3, 13)) release();
    for (let minute = 0; minute < 30; minute += 1) {
      clock.advance(60_000);
      t.equal(await left(opened), 17, "ten of seventeen are not");
    }
    for (const peer of all.slice(3, 12)) registry.hold(peer);
    clock.advance(GRACE - 2 * JUDGED_AFTER);
    t.equal(await left(opened), 17, "one is not back yet");
    clock.advance(4 * JUDGED_AFTER);
    t.equal(await left(opened), 16, "nor will it be");
  },
);

void t.test(
  "law 17: no Service loses its last endpoint to a lease",
  async (t) => {
    const opened = await openRegistry(t);
    const { registry, clock } = opened;
    const all = peers(2);
    await registered(opened, all);
    registry.spare(
      meshOf({
        "shop/web": ["shop/web-1", "shop/web-2"],
        // It selects web-2 too, which is not ready for it.
        "shop/other": ["shop/other-1"],
      }),
    );
    clock.advance(10 * 60_000);
    t.equal(await left(opened), 2, "both have run out");
    registry.hold(all[0] ?? PEER);
    clock.advance(LONGEST_UNCONFIRMED);
    t.equal(await left(opened), 1, "the other one goes once one is back");
  },
);

void t.test(
  "a person's removal of one that has run out ends its lease, and frees its address",
  async (t) => {
    const opened = await openRegistry(t);
    const { registry, clock, store } = opened;
    const [first = PEER, second = PEER] = peers(2);
    await registered(opened, [first, second]);
    registry.hold(second);
    clock.advance(TTL);
    for (const name of [first.name, second.name])
      await store.remove({ kind: "Workload", namespace: "shop", name });
    await until(() => registry.lease("shop/web-1") === undefined);
    t.match(registry.lease("shop/web-2"), { confirmed: true }, "its own");
    const other: Peer = {
      ...second,
      name: "other-1",
      identity: "spiffe://cluster.local/ns/shop/sa/other",
      serviceAccount: "other",
      key: "key-9",
      addresses: [first.source],
    };
    await registry.register(other, { ...SPEC, address: first.source });
  },
);

void t.test("so does a person's Workload in its place", async (t) => {
  const opened = await openRegistry(t);
  const { registry, clock, store } = opened;
  const [first = PEER] = peers(1);
  await registered(opened, [first]);
  clock.advance(TTL);
  await store.put(
    {
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Workload",
      metadata: { name: "web-1", namespace: "shop" },
      spec: { address: "10.0.9.9" },
    },
    undefined,
  );
  await until(() => registry.lease("shop/web-1") === undefined);
  t.match((await store.list("Workload")).resources, [
    { spec: { address: "10.0.9.9" } },
  ]);
});

void t.test("nor does it to a start of the control plane", async (t) => {
  const opened = await openRegistry(t);
  const { registry, clock, restart, store } = opened;
  await registered(opened, peers(2));
  await registry.close();
  let next = await restart();
  for (let starts = 0; starts < 3; starts += 1) {
    next.spare(meshOf({ "shop/web": ["shop/web-1", "shop/web-2"] }, 1));
    clock.advance(GRACE + 2 * LONGEST_UNCONFIRMED);
    next.report(
      { ...PEER, name: "cart-1" },
      { reached: [], unreached: ["shop/web-1", "shop/web-2"] },
      () => true,
    );
    clock.advance(GRACE);
    t.equal(await left({ ...opened, registry: next, store }), 2);
    await next.close();
    next = await restart();
  }
});

void t.test("many of one Service are no coincidence either", async (t) => {
  const opened = await openRegistry(t);
  const { registry, clock } = opened;
  const all = peers(40);
  await registered(opened, all);
  registry.spare(
    meshOf({
      "shop/web": ["shop/web-1", "shop/web-2", "shop/web-3", "shop/web-4"],
    }),
  );
  for (const peer of all.slice(3)) registry.hold(peer);
  clock.advance(10 * 60_000);
  t.equal(await left(opened), 40);
});

void t.test(
  "an address that another has now is no more that of who has gone",
  async (t) => {
    const opened = await openRegistry(t);
    const { registry, clock } = opened;
    const [first = PEER] = peers(1);
    await registered(opened, [first]);
    registry.spare(meshOf({ "shop/web": ["shop/web-1"] }));
    const other: Peer = {
      ...first,
      name: "other-1",
      serviceAccount: "other",
      identity: "spiffe://cluster.local/ns/shop/sa/other",
      key: "key-9",
    };
    const spec = { ...SPEC, address: first.source };
    await t.rejects(registry.register(other, spec), {
      message: /belongs to Workload/,
    });
    clock.advance(TTL);
    const elsewhere = { ...other, source: "10.0.9.9", addresses: ["10.0.1.1"] };
    await t.rejects(
      registry.register(elsewhere, spec),
      { message: /belongs to Workload/ },
      "a right to an address does not show that one has it",
    );
    await registry.register(other, spec);
    t.equal(registry.lease("shop/web-1"), undefined);
    t.equal(await left(opened), 1);
  },
);

void t.test("after a stall nothing goes for a while", (t) => {
  const clock = fakeClock();
  let stalled = 0;
  const kept: boolean[] = [];
  const preservation = new Preservation({
    clock: { ...clock, now: () => clock.now() + stalled },
    leases: () => 100,
    serving: () => meshOf({}).serving(),
    whyWaits: () => undefined,
    onJudged: (_workload, { kind }) => kept.push(kind !== "goes"),
  });
  t.teardown(() => preservation.close());
  preservation.ranOut("shop/web-1");
  clock.advance(JUDGED_AFTER - 1);
  t.same(kept, [], "what is lost with it comes in this time");
  clock.advance(1);
  t.same(kept.splice(0), [true], "it has just started");
  clock.advance(GRACE - JUDGED_AFTER);
  t.equal(kept.splice(0).at(-1), false);
  stalled = STALL + 1001;
  clock.advance(GRACE);
  t.notOk(kept.splice(0).includes(false));
  clock.advance(JUDGED_AFTER);
  t.same(kept, [false]);
  t.end();
});

void t.test(
  "a Service is counted once for all that are judged together, and the counts follow who goes",
  (t) => {
    const clock = fakeClock();
    const names = Array.from({ length: 2000 }, (_, at) => `shop/web-${at}`);
    let looks = 0;
    const gone: string[] = [];
    const preservation = new Preservation({
      clock,
      grace: 0,
      // So many that all of the Service are no loss of many.
      leases: () => 100_000,
      serving: () => ({
        servicesOf: () => ["shop/web", "shop/all"],
        *endpointsOf(service) {
          for (const name of service === "shop/web" ? names : [...names, "a"]) {
            looks += 1;
            yield name;
          }
        },
      }),
      whyWaits: () => undefined,
      onJudged: (workload, { kind }) => {
        if (kind === "goes") gone.push(workload);
      },
    });
    t.teardown(() => preservation.close());
    for (const name of names) preservation.ranOut(name);
    clock.advance(JUDGED_AFTER);
    t.equal(looks, names.length, "the first Service keeps all of them");
    t.same(gone, [], "the last of a Service");

    for (const name of names.slice(300)) preservation.forget(name);
    clock.advance(JUDGED_AFTER);
    t.equal(looks, 3 * names.length + 1);
    t.same(gone.splice(0), names.slice(0, 300), "15 % of it, of each");
    t.equal(preservation.unconfirmed, 300, "until they are removed");
    t.end();
  },
);

void t.test("of two that are the last of a Service one goes alone", (t) => {
  const clock = fakeClock();
  const judged: (readonly [string, boolean])[] = [];
  const preservation = new Preservation({
    clock,
    grace: 0,
    leases: () => 100,
    serving: () => ({
      servicesOf: (workload) =>
        workload === "shop/c" ? ["shop/other"] : ["shop/web", "shop/other"],
      endpointsOf: (service) =>
        service === "shop/web"
          ? ["shop/a", "shop/b"]
          : ["shop/a", "shop/b", "shop/c"],
    }),
    whyWaits: () => undefined,
    onJudged: (workload, { kind }) => judged.push([workload, kind === "goes"]),
  });
  t.teardown(() => preservation.close());
  preservation.ranOut("shop/c");
  preservation.ranOut("shop/b");
  clock.advance(JUDGED_AFTER);
  t.same(judged, [
    ["shop/c", true],
    ["shop/b", true],
  ]);
  judged.length = 0;
  preservation.forget("shop/c");
  preservation.ranOut("shop/a");
  clock.advance(JUDGED_AFTER);
  t.same(judged, [
    ["shop/b", false],
    ["shop/a", false],
  ]);
  t.end();
});

void t.test(
  "leases that run out one by one are judged a second's worth at a time",
  (t) => {
    const clock = fakeClock();
    const judgedAt = new Set<number>();
    const judged = new Set<string>();
    const preservation = new Preservation({
      clock,
      grace: 0,
      leases: () => 100_000,
      serving: () => meshOf({}).serving(),
      whyWaits: () => undefined,
      onJudged: (workload) => {
        judgedAt.add(clock.now());
        judged.add(workload);
        preservation.forget(workload);
      },
    });
    t.teardown(() => preservation.close());
    for (let at = 0; at < 3000; at += 1) {
      preservation.ranOut(`shop/web-${at}`);
      clock.advance(1);
    }
    clock.advance(JUDGED_AFTER);
    t.same([...judgedAt], [5000, 6000, 7000, 8000]);
    t.equal(judged.size, 3000);
    t.end();
  },
);
