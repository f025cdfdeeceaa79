import { pino } from "pino";
import t from "tap";
import { FORGOTTEN_AFTER } from "../../../../src/control-plane/push/learned/account-uses.ts";
import {
  MOST_ACCOUNTS,
  openLearned,
  WRITE_EVERY,
  type LearnedServices,
} from "../../../../src/control-plane/push/learned/learned.ts";
import { openMemoryStore } from "../../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../../src/control-plane/store/store.ts";
import { nextTurn } from "../../../../src/core/slices.ts";
import {
  fakeClock,
  type FakeClock,
} from "../../../support/clocks/fake-clock.ts";

const WEB = { identity: "spiffe://cluster.local/ns/shop/sa/web" };
const ORDERS = { identity: "spiffe://cluster.local/ns/shop/sa/orders" };

interface Parts {
  readonly clock: FakeClock;
  readonly store: Store;
  /** How many accounts each write was of. */
  readonly writes: number[];
  readonly there: Set<string>;
  /** Services that connected sidecars use. */
  readonly inUse: [typeof WEB, string][];
  /** Writes fail with it. */
  failure: Error | undefined;
  /** Warnings. */
  readonly warnings: string[];
  readonly open: () => Promise<LearnedServices>;
  /** Time goes on, and all that it brings is done. */
  readonly pass: (ms: number) => Promise<void>;
}

function parts(): Parts {
  const clock = fakeClock();
  const store = openMemoryStore({ clock });
  const made: Parts = {
    clock,
    writes: [],
    there: new Set(["shop/a", "shop/b"]),
    inUse: [],
    failure: undefined,
    warnings: [],
    store,
    open: () =>
      openLearned({
        store: {
          notes: (prefix) => store.notes(prefix),
          async setNotes(notes) {
            made.writes.push(notes.size);
            if (made.failure !== undefined) throw made.failure;
            await store.setNotes(notes);
          },
        },
        exists: (service) => made.there.has(service),
        inUse: () => made.inUse,
        clock,
        logger: pino(
          { level: "warn" },
          { write: (line: string) => void made.warnings.push(line) },
        ),
      }),
    async pass(ms) {
      clock.advance(ms);
      for (let turn = 0; turn < 20; turn += 1) await nextTurn();
    },
  };
  return made;
}

void t.test(
  "what an account's sidecars use is given to that account alone",
  async (t) => {
    const { open } = parts();
    const learned = await open();
    learned.used(WEB, "shop/a");
    learned.used(WEB, "shop/b");
    t.same(learned.extra(WEB), ["shop/b", "shop/a"]);
    t.same(learned.extra(ORDERS), []);
    await learned.close();
  },
);

void t.test("it outlives the process", async (t) => {
  const { open, store } = parts();
  const first = await open();
  first.used(WEB, "shop/a");
  first.used(ORDERS, "shop/b");
  await first.close();
  t.same([...(await store.notes("learned/")).keys()].sort(), [
    `learned/${ORDERS.identity}`,
    `learned/${WEB.identity}`,
  ]);
  const second = await open();
  t.same(second.extra(WEB), ["shop/a"]);
  t.same(second.extra(ORDERS), ["shop/b"]);
  await second.close();
});

void t.test("an account is written once a minute at most", async (t) => {
  const { open, writes, pass } = parts();
  const learned = await open();
  for (let number = 0; number < 500; number += 1)
    learned.used(WEB, `shop/s${number}`);
  await pass(WRITE_EVERY - 1);
  t.same(writes, []);
  await pass(1);
  t.same(writes, [1]);
  learned.used(WEB, "shop/s1");
  await pass(WRITE_EVERY);
  t.same(writes, [1], "nothing is known that was not written");
  learned.used(WEB, "shop/more");
  learned.used(ORDERS, "shop/more");
  await pass(WRITE_EVERY);
  t.same(writes, [1, 2], "both in one transaction");
  await learned.close();
  t.same(writes, [1, 2]);
});

void t.test("many accounts are written in several transactions", async (t) => {
  const { open, writes, pass } = parts();
  const learned = await open();
  for (let number = 0; number < 40; number += 1)
    learned.used({ identity: `spiffe://td/ns/shop/sa/${number}` }, "shop/a");
  await pass(WRITE_EVERY);
  t.same(writes, [16, 16, 8]);
  await learned.close();
});

void t.test(
  "what could not be written is written later, and is said once",
  async (t) => {
    const mine = parts();
    const { open, store, warnings, pass } = mine;
    const learned = await open();
    learned.used(WEB, "shop/a");
    mine.failure = new Error("the disk is full");
    await pass(WRITE_EVERY);
    await pass(WRITE_EVERY);
    t.equal(mine.writes.length, 2);
    t.equal(warnings.length, 1);
    t.same(learned.extra(WEB), ["shop/a"]);
    mine.failure = undefined;
    await pass(WRITE_EVERY);
    t.equal((await store.notes("learned/")).size, 1);
    await learned.close();
  },
);

void t.test(
  "Services that are gone or were not used for long are forgotten, and accounts without any",
  async (t) => {
    const { open, store, there, pass } = parts();
    const learned = await open();
    learned.used(WEB, "shop/a");
    learned.used(WEB, "shop/b");
    learned.used(ORDERS, "shop/a");
    there.delete("shop/a");
    await pass(60 * WRITE_EVERY);
    await pass(WRITE_EVERY);
    t.same(learned.extra(WEB), ["shop/b"]);
    const kept = await store.notes("learned/");
    t.same([...kept.keys()], [`learned/${WEB.identity}`]);
    t.notMatch(kept.get(`learned/${WEB.identity}`), /shop\/a/);
    await pass(FORGOTTEN_AFTER);
    await pass(WRITE_EVERY);
    t.same(learned.extra(WEB), []);
    t.equal((await store.notes("learned/")).size, 0);
    await learned.close();
  },
);

void t.test(
  "what a connected sidecar uses is not forgotten, however long ago it said so",
  async (t) => {
    const { open, inUse, pass } = parts();
    const learned = await open();
    learned.used(WEB, "shop/a");
    learned.used(WEB, "shop/b");
    inUse.push([WEB, "shop/a"], [WEB, "shop/gone"]);
    for (let day = 0; day < 8; day += 1) {
      await pass(FORGOTTEN_AFTER / 7);
      await pass(WRITE_EVERY);
    }
    t.same(learned.extra(WEB), ["shop/a"]);
    await learned.close();
  },
);

void t.test(
  "of too many accounts the one whose last use is longest ago goes, with its note",
  async (t) => {
    const { open, store, pass, clock } = parts();
    const learned = await open();
    learned.used(WEB, "shop/a");
    learned.used(ORDERS, "shop/a");
    await pass(WRITE_EVERY);
    learned.used(WEB, "shop/b");
    for (let number = 0; number < MOST_ACCOUNTS - 1; number += 1) {
      clock.advance(1);
      learned.used({ identity: `spiffe://td/ns/shop/sa/${number}` }, "shop/a");
    }
    t.same(learned.extra(ORDERS), []);
    t.same(learned.extra(WEB), ["shop/b", "shop/a"]);
    await learned.close();
    const kept = await store.notes("learned/");
    t.equal(kept.size, MOST_ACCOUNTS);
    t.notOk(kept.has(`learned/${ORDERS.identity}`));
    const again = await open();
    again.used(ORDERS, "shop/a");
    t.same(again.extra(WEB), [], "the order of last uses is known again");
    await again.close();
  },
);

void t.test("a note that cannot be read is said and removed", async (t) => {
  const { open, store, warnings } = parts();
  await store.setNote(`learned/${WEB.identity}`, "{");
  const learned = await open();
  t.same(learned.extra(WEB), []);
  t.match(warnings, [/cannot be read/]);
  await learned.close();
  t.equal((await store.notes("learned/")).size, 0);
});
