/** A watch misses nothing, and ends when it is told or cannot follow. */
import type { Test } from "tap";
import { getEventListeners } from "node:events";
import {
  CompactedError,
  StoreError,
} from "../../../../src/control-plane/store/store.ts";
import { fakeClock } from "../../clocks/fake-clock.ts";
import { key, service, summary, take, type OpenStore } from "./fixtures.ts";

export function watchesContract(t: Test, open: OpenStore): void {
  void t.test("a watch from a listing's revision misses nothing", async (t) => {
    const store = await open({
      directory: t.testdir(),
      clock: fakeClock(),
    });
    await store.put(service("a"), undefined);
    const { revision } = await store.list("Service");
    await store.put(service("b"), undefined);
    const changes = take(store, revision, 3);
    await store.put(service("b", 81), undefined);
    await store.remove(key("a"));
    t.same((await changes).map(summary), ["2 new b", "3 put b", "4 remove a"]);
    t.same((await take(store, 0, 4)).map(summary), [
      "1 new a",
      "2 new b",
      "3 put b",
      "4 remove a",
    ]);
    await store.close();
  });

  void t.test("a watch waits for what comes and ends when told", async (t) => {
    const store = await open({
      directory: t.testdir(),
      clock: fakeClock(),
    });
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const change of store.watch(0, stop.signal))
        seen.push(summary(change));
    })();
    for (let count = 1; count <= 200; count += 1)
      await store.put(service(`s${count}`), undefined);
    await new Promise(setImmediate);
    t.equal(seen.length, 200);
    stop.abort();
    await watching;
    t.equal(getEventListeners(stop.signal, "abort").length, 0);
    await store.put(service("late"), undefined);
    t.equal(seen.length, 200);
    await store.close();
  });

  void t.test("an abort between two changes is the end", async (t) => {
    const store = await open({ directory: t.testdir(), clock: fakeClock() });
    await store.put(service("a"), undefined);
    await store.put(service("b"), undefined);
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const change of store.watch(0, stop.signal)) {
      seen.push(summary(change));
      stop.abort();
    }
    t.same(seen, ["1 new a"]);
    await store.close();
  });

  for (const [title, history, oldest] of [
    ["rows", { rows: 3, bytes: 1_000_000 }, 2],
    ["bytes", { rows: 1000, bytes: 1 }, 4],
  ] as const)
    void t.test(
      `the history is bounded in ${title}; a late watcher is told to list`,
      async (t) => {
        const store = await open({
          directory: t.testdir(),
          clock: fakeClock(),
          history,
        });
        for (let count = 1; count <= 5; count += 1)
          await store.put(service("a", count), undefined);
        await t.rejects(take(store, oldest - 1, 1), CompactedError);
        t.same((await take(store, oldest, 1)).map(summary), [
          `${oldest + 1} put a`,
        ]);
        await t.rejects(
          take(store, 6, 1),
          { name: "CompactedError", after: 6 },
          "a revision of another history",
        );
        await store.close();
      },
    );

  void t.test(
    "a watcher that falls behind is told, and costs no memory",
    async (t) => {
      const store = await open({
        directory: t.testdir(),
        clock: fakeClock(),
        history: { rows: 10, bytes: 1_000_000 },
      });
      await store.put(service("a"), undefined);
      const changes = store.watch(0, new AbortController().signal);
      const reader = changes[Symbol.asyncIterator]();
      await reader.next();
      for (let count = 1; count <= 50; count += 1)
        await store.put(service("a", 1000 + count), undefined);
      await t.rejects(reader.next(), CompactedError);
      await store.close();
    },
  );

  void t.test(
    "closing ends the watches and takes no more writes",
    async (t) => {
      const store = await open({
        directory: t.testdir(),
        clock: fakeClock(),
      });
      const reading = take(store, 0, 1);
      await store.close();
      await store.close();
      t.same(await reading, []);
      await t.rejects(store.put(service("a"), undefined), StoreError);
      await t.rejects(store.transact([]), StoreError);
      await t.rejects(store.remove(key("a")), StoreError);
      await t.rejects(store.get(key("a")), StoreError);
      await t.rejects(store.list("Service"), StoreError);
      await t.rejects(store.note("n"), StoreError);
      await t.rejects(store.setNote("n", "a"), StoreError);
    },
  );
}
