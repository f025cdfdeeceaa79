import t from "tap";
import { startFeed, type Feed } from "../../../src/control-plane/push/feed.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { keyOf } from "../../../src/resources/envelope.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import {
  MESH,
  service,
} from "../../support/control-plane/push-control-plane.ts";

const SELF = { namespace: "shop", labels: {}, name: "web-1" };

interface Setting {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly feed: Feed;
  readonly settled: () => number;
}

async function set(
  t: { after(run: () => Promise<void>): void },
  history?: { rows: number; bytes: number },
): Promise<Setting> {
  const clock = fakeClock();
  const store = openMemoryStore({
    clock,
    ...(history === undefined ? {} : { history }),
  });
  await store.put(MESH, "absent");
  let settled = 0;
  const feed = await startFeed({
    store,
    clock,
    logger: silentLogger,
    gather: { quiet: 50, most: 500 },
    onSettled: () => (settled += 1),
  });
  t.after(() => feed.close());
  return { clock, store, feed, settled: () => settled };
}

/** The watch brings changes in turns of the event loop, not of the clock. */
async function reaches(feed: Feed, revision: number): Promise<void> {
  for (let turn = 0; feed.revision < revision; turn += 1) {
    if (turn === 1000) throw new Error(`the feed is at ${feed.revision}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

void t.test("a feed starts with what the store holds", async (t) => {
  const { feed, settled } = await set(t);
  t.equal(feed.revision, 1);
  t.ok(feed.catalogue.get("Mesh//default"));
  t.equal(settled(), 0);
});

void t.test(
  "changes that come together settle together, 50 ms after the last",
  async (t) => {
    const { clock, store, feed, settled } = await set(t);
    for (let index = 0; index < 5; index += 1) {
      await store.put(service(`s${index}`), "absent");
      await reaches(feed, index + 2);
      clock.advance(49);
    }
    t.equal(settled(), 0);
    clock.advance(1);
    t.equal(settled(), 1);
    clock.advance(10_000);
    t.equal(settled(), 1);
  },
);

void t.test("changes that never rest settle every 500 ms", async (t) => {
  const { clock, store, feed, settled } = await set(t);
  for (let index = 0; index < 27; index += 1) {
    await store.put(service(`s${index}`), "absent");
    await reaches(feed, index + 2);
    clock.advance(40);
  }
  t.equal(settled(), 2);
});

void t.test(
  "records of the control plane's own move nothing but the revision",
  async (t) => {
    const { clock, store, feed, settled } = await set(t);
    await store.put({ ...MESH, kind: "ApiToken" }, "absent");
    await reaches(feed, 2);
    clock.advance(1000);
    t.equal(settled(), 0);
    t.equal(feed.catalogue.get("ApiToken//default"), undefined);
  },
);

void t.test(
  "a feed that fell behind the history lists again and misses nothing",
  async (t) => {
    const { clock, store, feed, settled } = await set(t, {
      rows: 2,
      bytes: 1_000_000,
    });
    const writes: Promise<unknown>[] = [];
    for (let index = 0; index < 200; index += 1)
      writes.push(store.put(service(`s${index}`), "absent"));
    writes.push(store.remove(keyOf(service("s7"))));
    await Promise.all(writes);
    for (let turn = 0; feed.revision < 202 && turn < 1000; turn += 1) {
      clock.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    clock.advance(500);
    t.ok(settled() > 0);
    t.equal(feed.catalogue.get("Service/shop/s7"), undefined);
    t.equal(feed.catalogue.open(SELF).set.entries.size, 200);
  },
);

void t.test(
  "a closed feed leaves no timer and ends with its store",
  async (t) => {
    const { clock, store, feed } = await set(t);
    await store.put(service("s"), "absent");
    await reaches(feed, 2);
    await feed.close();
    t.equal(clock.pending, 0);
    const second = await startFeed({
      store,
      clock,
      logger: silentLogger,
      gather: { quiet: 50, most: 500 },
      onSettled: () => undefined,
    });
    await store.close();
    await second.close();
  },
);
