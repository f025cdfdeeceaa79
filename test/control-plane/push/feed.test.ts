import t from "tap";
import {
  Catalogue,
  difference,
} from "../../../src/control-plane/push/catalogue.ts";
import { startFeed, type Feed } from "../../../src/control-plane/push/feed.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { keyOf } from "../../../src/resources/envelope.ts";
import { fakeClock, type FakeClock } from "../../support/fake-clock.ts";
import { MESH, route, service } from "../../support/push-control-plane.ts";

const SELF = { namespace: "shop", labels: {}, name: "web-1" };

function at(resource: Resource, revision: number): Resource {
  return {
    ...resource,
    metadata: { ...resource.metadata, resourceVersion: String(revision) },
  };
}

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
    t.equal(feed.catalogue.scopeOf(SELF).entries.size, 200);
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

void t.test("an older version than the one there is says nothing new", (t) => {
  const catalogue = new Catalogue();
  catalogue.put(at(MESH, 5));
  catalogue.put(at(MESH, 3));
  t.equal(catalogue.get("Mesh//default")?.version, "5");
  catalogue.remove(at(MESH, 3), 4);
  t.ok(
    catalogue.get("Mesh//default"),
    "it was written again after that removal",
  );
  catalogue.remove(at(MESH, 5), 6);
  t.equal(catalogue.get("Mesh//default"), undefined);
  t.end();
});

void t.test(
  "sidecars of one scope share one set until something changes",
  (t) => {
    const catalogue = new Catalogue();
    catalogue.put(at(MESH, 1));
    catalogue.put(at(service("orders"), 2));
    const first = catalogue.scopeOf(SELF);
    t.equal(catalogue.scopeOf({ ...SELF, name: "web-2" }), first);
    catalogue.put(at(route("r", "orders"), 3));
    const second = catalogue.scopeOf(SELF);
    t.not(second, first);
    t.not(second.digest, first.digest);
    t.equal(first.entries.size, 2, "what was given out is never edited");
    t.end();
  },
);

void t.test("a workload sees itself, though no Service selects it", (t) => {
  const catalogue = new Catalogue();
  catalogue.put(
    at(
      {
        apiVersion: "mesh.wherry.dev/v1alpha1",
        kind: "Workload",
        metadata: { name: "web-1", namespace: "shop" },
        spec: { address: "10.0.0.1" },
      },
      1,
    ),
  );
  t.same([...catalogue.scopeOf(SELF).entries.keys()], ["Workload/shop/web-1"]);
  t.same([...catalogue.scopeOf({ ...SELF, name: "web-2" }).entries.keys()], []);
  t.end();
});

void t.test(
  "the difference is what is newer, what is missing and what is too much",
  (t) => {
    const catalogue = new Catalogue();
    catalogue.put(at(service("same"), 1));
    catalogue.put(at(service("newer"), 2));
    catalogue.put(at(service("missing"), 3));
    const held = new Map([
      ["Service/shop/same", { version: "1" }],
      ["Service/shop/newer", { version: "1" }],
      ["Service/shop/gone", { version: "1" }],
    ]);
    const { changed, removed } = difference(held, catalogue.scopeOf(SELF));
    t.same(changed.map(({ name }) => name).sort(), [
      "Service/shop/missing",
      "Service/shop/newer",
    ]);
    t.same(removed, ["Service/shop/gone"]);
    t.equal(catalogue.encoded, 0, "nothing is encoded before it is sent");
    for (const entry of changed) t.equal(entry.encoded(), entry.encoded());
    t.equal(catalogue.encoded, 2);
    t.end();
  },
);
