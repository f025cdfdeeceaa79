/** Leases that run out by no fault of their workloads: many at once, after a stall, and the last of a Service. */
import t from "tap";
import {
  GRACE,
  JUDGED_AFTER,
  Preservation,
  STALL,
} from "../../../src/control-plane/registry/preservation.ts";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { openRegistry, PEER, settle, SPEC } from "../../support/registry.ts";

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

async function left({ registry, store }: Opened): Promise<number> {
  await settle(registry);
  return (await store.list("Workload")).resources.length;
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
    clock.advance(TTL + JUDGED_AFTER);
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

void t.test("no Service loses its last endpoint to a lease", async (t) => {
  const opened = await openRegistry(t);
  const { registry, clock } = opened;
  const all = peers(2);
  await registered(opened, all);
  registry.spare((workload) => [
    ["shop/web-1", "shop/web-2"],
    // Not an endpoint of this one, such as one that is not ready.
    workload === "shop/web-2" ? ["shop/other-1"] : [],
  ]);
  clock.advance(10 * 60_000);
  t.equal(await left(opened), 2, "both have run out");
  registry.hold(all[0] ?? PEER);
  clock.advance(JUDGED_AFTER);
  t.equal(await left(opened), 1, "the other one goes once one is back");
});

void t.test("many of one Service are no coincidence either", async (t) => {
  const opened = await openRegistry(t);
  const { registry, clock } = opened;
  const all = peers(40);
  await registered(opened, all);
  registry.spare(() => [
    ["shop/web-1", "shop/web-2", "shop/web-3", "shop/web-4"],
  ]);
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
    registry.spare(() => [["shop/web-1"]]);
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
  const preservation = new Preservation({
    clock: { ...clock, now: () => clock.now() + stalled },

    leases: () => 100,
    servicesOf: () => [],
  });
  t.teardown(() => preservation.close());
  preservation.ranOut("shop/web-1");
  t.ok(preservation.whyKept("shop/web-1"), "it has just started");
  clock.advance(GRACE);
  t.equal(preservation.whyKept("shop/web-1"), undefined);
  stalled = STALL + 1001;
  t.ok(preservation.whyKept("shop/web-1"));
  clock.advance(GRACE - 1);
  t.ok(preservation.whyKept("shop/web-1"));
  clock.advance(1);
  t.equal(preservation.whyKept("shop/web-1"), undefined);
  t.end();
});
