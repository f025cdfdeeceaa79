/** What callers are told of a workload whose lease has run out, and what they say of it. */
import t from "tap";
import {
  LONGEST_UNCONFIRMED,
  type MeshAround,
} from "../../../src/control-plane/registry/expiry.ts";
import {
  GRACE,
  JUDGED_AFTER,
} from "../../../src/control-plane/registry/preservation.ts";
import {
  REPORT_COUNTS,
  Reports,
} from "../../../src/control-plane/registry/reports.ts";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import type { Registry } from "../../../src/control-plane/registry/registry.ts";
import { MOST_REPORTED } from "../../../src/push/names.ts";
import { UNCONFIRMED_SINCE } from "../../../src/resources/workload/schema.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  meshOf,
  namesLeft,
  openRegistry,
  PEER,
  settle,
  SPEC,
} from "../../support/control-plane/registry.ts";

const TTL = 10_000;
const PAIR = { "shop/web": ["shop/web-1", "shop/web-2"] };
const SECOND: Peer = {
  ...PEER,
  name: "web-2",
  key: "key-2",
  source: "10.0.0.2",
};

function caller(name: string): Peer {
  return {
    ...PEER,
    name,
    identity: "spiffe://cluster.local/ns/shop/sa/cart",
    serviceAccount: "cart",
    key: name,
  };
}

function say(
  registry: Registry,
  names: readonly string[],
  reached = false,
  has = true,
): void {
  const seen = ["shop/web-1"];
  for (const name of names)
    registry.report(
      caller(name),
      reached
        ? { reached: seen, unreached: [] }
        : { reached: [], unreached: seen },
      () => has,
    );
}

type Opened = Awaited<ReturnType<typeof openRegistry>> & {
  readonly mark: () => Promise<string | undefined>;
  readonly pass: (passes?: number) => Promise<readonly string[]>;
};

/** Two instances, of which the first is lost and the second is held. */
async function lost(
  t: Parameters<typeof openRegistry>[0],
  mesh: MeshAround = meshOf(PAIR, 3),
): Promise<Opened> {
  const opened = await openRegistry(t);
  const { registry, clock, workload } = opened;
  registry.spare(mesh);
  await registry.register(PEER, SPEC);
  await registry.register(SECOND, { ...SPEC, address: SECOND.source });
  registry.hold(SECOND);
  clock.advance(TTL);
  return {
    ...opened,
    mark: async () =>
      (await workload())?.metadata.annotations?.[UNCONFIRMED_SINCE],
    async pass(passes = 1) {
      for (let count = 0; count < passes; count += 1) {
        clock.advance(JUDGED_AFTER);
        await settle(registry, ["web-1", "web-2"]);
      }
      return namesLeft(opened);
    },
  };
}

const [BOTH, ONE] = [["web-1", "web-2"], ["web-2"]];

void t.test(
  "callers are told of a loss once it is judged, and of its end at once",
  async (t) => {
    const { registry, clock, mark, pass, store } = await lost(t);
    const since = new Date(clock.wall()).toISOString();
    await settle(registry);
    t.equal(await mark(), undefined, "it may be one of many");
    await pass();
    t.equal(await mark(), since, "the end of its lease");
    const revision = await store.revision();
    await pass(5);
    t.equal(await store.revision(), revision, "said once");
    const release = registry.hold(PEER);
    await settle(registry);
    t.equal(await mark(), undefined);
    release();
    clock.advance(TTL);
    await pass();
    t.ok(await mark());
    await registry.register(PEER, SPEC);
    t.equal(await mark(), undefined);
    t.match(registry.lease("shop/web-1"), { confirmed: true });
  },
);

void t.test("many that are lost together are not pushed", async (t) => {
  const { registry, clock, store } = await openRegistry(t);
  const names = Array.from({ length: 10 }, (_, at) => `web-${at + 1}`);
  for (const [at, name] of names.entries()) {
    const source = `10.0.1.${at + 1}`;
    const peer = { ...PEER, name, key: name, source };
    await registry.register(peer, { ...SPEC, address: source });
    if (at > 3) registry.hold(peer);
  }
  const revision = await store.revision();
  clock.advance(TTL);
  for (let count = 0; count < 100; count += 1) {
    clock.advance(JUDGED_AFTER);
    await settle(registry, names);
  }
  t.equal(await store.revision(), revision);
  t.match(registry.lease("shop/web-1"), {
    unconfirmed: { why: /^many leases have run out together/ },
  });
});

void t.test("it goes once two callers cannot reach it", async (t) => {
  const { registry, pass } = await lost(t);
  await pass();
  say(registry, ["cart-1", "cart-1"]);
  t.same(await pass(), BOTH, "one caller said it twice");
  t.match(registry.lease("shop/web-1"), {
    unconfirmed: { unreached: 1, why: /^too few callers/ },
  });
  say(registry, ["cart-2"]);
  t.same(await pass(), ONE);
  t.equal(registry.lease("shop/web-1"), undefined);
});

void t.test("one is enough where no other has it", async (t) => {
  const { registry, pass } = await lost(t, meshOf(PAIR, 1));
  await pass();
  say(registry, ["cart-1"]);
  t.same(await pass(), ONE);
});

void t.test(
  "law 17: a caller that reaches it outweighs all others",
  async (t) => {
    const { registry, pass } = await lost(t);
    await pass();
    say(registry, ["cart-1", "cart-2", "cart-3"]);
    say(registry, ["cart-4"], true);
    t.same(await pass(), BOTH);
    t.match(registry.lease("shop/web-1"), {
      unconfirmed: { reached: 1, unreached: 3, why: "callers reach it" },
    });
    say(registry, ["cart-4"]);
    t.same(await pass(), ONE, "the newest report of each counts");
  },
);

void t.test("a report counts for half a minute", async (t) => {
  const { registry, clock, pass } = await lost(t);
  await pass();
  say(registry, ["cart-1"]);
  clock.advance(REPORT_COUNTS);
  say(registry, ["cart-2"]);
  t.same(await pass(), BOTH);
});

void t.test("reports do not keep what has long been gone", async (t) => {
  const { registry, pass } = await lost(t);
  const passes = LONGEST_UNCONFIRMED / JUDGED_AFTER;
  for (let count = 1; count < passes; count += 1) {
    t.same(await pass(), BOTH);
    say(registry, ["cart-1"], true);
  }
  t.same(await pass(), ONE);
});

void t.test(
  "no report counts of a confirmed one, of what the caller does not have, or of itself",
  async (t) => {
    const { registry, clock, pass } = await lost(t);
    registry.hold(PEER)();
    say(registry, ["cart-1", "cart-2"]);
    clock.advance(TTL);
    t.same(await pass(2), BOTH, "it was confirmed then");
    say(registry, ["cart-1", "cart-2"], false, false);
    t.same(await pass(), BOTH, "they do not have it");
    say(registry, ["cart-1", "web-1"]);
    t.same(await pass(), BOTH, "it speaks of itself");
    registry.report(
      caller("cart-2"),
      {
        reached: [],
        unreached: [...Array<string>(MOST_REPORTED).fill("a/b"), "shop/web-1"],
      },
      () => true,
    );
    t.same(await pass(), BOTH, "too much is said at once");
  },
);

void t.test(
  "no report takes the last endpoint of a Service, or one of many",
  async (t) => {
    const { registry, pass } = await lost(
      t,
      meshOf({ ...PAIR, "shop/only": ["shop/web-1"] }, 3),
    );
    for (
      let count = 0;
      count < 2 + LONGEST_UNCONFIRMED / JUDGED_AFTER;
      count += 1
    ) {
      say(registry, ["cart-1", "cart-2"]);
      t.same(await pass(), BOTH);
    }
    t.match(registry.lease("shop/web-1"), {
      unconfirmed: { why: "a Service of it would have no endpoint left" },
    });
  },
);

void t.test(
  "one that was to go stays where the other has left meanwhile",
  async (t) => {
    const endpoints = ["shop/web-1", "shop/web-2"];
    let left = false;
    const mesh = meshOf({ "shop/web": endpoints }, 1);
    const { registry, pass } = await lost(t, {
      ...mesh,
      caughtUp() {
        if (left) endpoints.splice(1);
        return Promise.resolve();
      },
    });
    await pass();
    say(registry, ["cart-1"]);
    left = true;
    t.same(await pass(), BOTH);
  },
);

void t.test("a restart goes on where it was", async (t) => {
  const { registry, clock, restart, pass, mark, store } = await lost(t);
  await pass();
  const marked = await mark();
  await registry.close();
  clock.advance(LONGEST_UNCONFIRMED / 2);
  const next = await restart();
  next.spare(meshOf(PAIR, 3));
  next.hold(SECOND);
  t.match(next.lease("shop/web-1"), { confirmed: false });
  t.equal(
    Date.parse(marked ?? ""),
    next.lease("shop/web-1")?.unconfirmed?.since,
  );
  clock.advance(GRACE - 1);
  await settle(next);
  say(next, ["cart-1", "cart-2"]);
  t.equal(
    (await namesLeft({ registry: next, store })).length,
    2,
    "just started",
  );
  clock.advance(LONGEST_UNCONFIRMED / 2);
  t.same(await namesLeft({ registry: next, store }), ONE);
});

void t.test(
  "after a restart its minutes begin anew: the clock may be wrong",
  async (t) => {
    for (const ms of [25, -25].map((hours) => hours * 3_600_000)) {
      const { registry, clock, restart, pass, mark, store } = await lost(t);
      await pass();
      const marked = await mark();
      await registry.close();
      clock.jump(ms);
      const next = await restart();
      next.spare(meshOf(PAIR, 3));
      next.hold(SECOND);
      clock.advance(LONGEST_UNCONFIRMED - 1);
      const left = await namesLeft({ registry: next, store });
      t.equal(left.length, 2, `${ms} ms`);
      t.equal(await mark(), marked);
      const { unconfirmed } = next.lease("shop/web-1") ?? {};
      t.equal(unconfirmed?.since, Date.parse(marked ?? ""));
      clock.jump(-ms);
      clock.advance(2 * JUDGED_AFTER);
      t.same(await namesLeft({ registry: next, store }), ONE);
      await next.close();
    }
  },
);

void t.test("of many reporters those that reach it are kept", (t) => {
  const clock = fakeClock();
  const reports = new Reports(clock);
  for (let count = 0; count < 100; count += 1)
    reports.add("shop/a", `cart-${count}`, false);
  t.same(reports.count("shop/a"), { reached: 0, unreached: 64 });
  reports.add("shop/a", "one", true);
  t.same(reports.count("shop/a"), { reached: 1, unreached: 63 });
  t.notOk(reports.agree("shop/a", 100));
  clock.advance(REPORT_COUNTS);
  reports.add("shop/a", "late", false);
  t.same(reports.count("shop/a"), { reached: 0, unreached: 1 });
  reports.forget("shop/a");
  t.same(reports.count("shop/a"), { reached: 0, unreached: 0 });
  t.end();
});

void t.test("a mark that cannot be written is tried again", async (t) => {
  const opened = await openRegistry(t);
  const { registry, clock, store, workload } = opened;
  registry.spare(meshOf(PAIR));
  await registry.register(PEER, SPEC);
  clock.advance(TTL + JUDGED_AFTER);
  await settle(registry);
  const put = store.put.bind(store);
  store.put = () => Promise.reject(new Error("the disk is full"));
  registry.hold(PEER);
  await settle(registry);
  store.put = put;
  clock.advance(5000);
  await settle(registry);
  t.notHas((await workload())?.metadata.annotations, {
    [UNCONFIRMED_SINCE]: String,
  });
});
