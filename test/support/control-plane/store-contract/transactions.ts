/** Several writes are made together, a revision each, or none of them is. */
import type { Test } from "tap";
import {
  CompactedError,
  StoreError,
} from "../../../../src/control-plane/store/store.ts";
import { fakeClock } from "../../clocks/fake-clock.ts";
import {
  key,
  put,
  service,
  summary,
  take,
  type OpenStore,
} from "./fixtures.ts";

export function transactionsContract(t: Test, open: OpenStore): void {
  void t.test(
    "a transaction writes all of its puts, a revision each and one time",
    async (t) => {
      const clock = fakeClock();
      // Time goes on with every look at it.
      const store = await open({
        directory: t.testdir(),
        clock: { ...clock, wall: () => (clock.advance(1), clock.wall()) },
      });
      const [first] = await store.transact([put("a")]);
      const done = await store.transact([
        put("b", "absent"),
        put("a", 1),
        put("a", undefined, 81),
        put("c"),
      ]);
      t.same(
        done.map(({ before, resource }) => [
          before?.metadata.resourceVersion,
          resource.metadata.name,
          resource.metadata.resourceVersion,
        ]),
        [
          [undefined, "b", "2"],
          ["1", "a", "1"],
          ["1", "a", "3"],
          [undefined, "c", "4"],
        ],
      );
      t.equal(done[1]?.before, done[1]?.resource, "it changed nothing");
      t.same(done[2]?.before, first?.resource);
      t.equal(
        done[0]?.resource.metadata.creationTimestamp,
        done[3]?.resource.metadata.creationTimestamp,
      );
      t.same(await store.get(key("a")), done[2]?.resource);
      t.same((await take(store, 0, 4)).map(summary), [
        "1 new a",
        "2 new b",
        "3 put a",
        "4 new c",
      ]);
      t.same(await store.transact([]), []);
      t.equal(await store.revision(), 4);
      await store.close();
    },
  );

  void t.test(
    "a transaction of which one put meets another version writes none",
    async (t) => {
      const store = await open({
        directory: t.testdir(),
        clock: fakeClock(),
      });
      await store.put(service("b"), "absent");
      const { revision } = await store.list("Service");
      for (const last of [put("b", "absent", 81), put("b", 7, 81), put("d", 1)])
        await t.rejects(
          store.transact([put("a"), put("b", 1, 82), put("c"), last]),
          { name: "ConflictError", key: key(last.resource.metadata.name) },
        );
      t.equal(await store.revision(), revision);
      t.same(
        (await store.list("Service")).resources.map(({ metadata, spec }) => [
          metadata.name,
          spec,
        ]),
        [["b", { ports: [{ port: 80 }] }]],
      );
      await store.put(service("after"), "absent");
      t.same(
        (await take(store, 0, 2)).map(summary),
        ["1 new b", "2 new after"],
        "nor is it in the history",
      );
      await store.close();
    },
  );

  void t.test(
    "a watcher sees a transaction when all of it is there, in order",
    async (t) => {
      const store = await open({
        directory: t.testdir(),
        clock: fakeClock(),
      });
      const seen: string[] = [];
      const there: number[] = [];
      const stop = new AbortController();
      const watching = (async () => {
        for await (const change of store.watch(0, stop.signal)) {
          seen.push(summary(change));
          there.push(await store.revision());
          if (seen.length === 200) stop.abort();
        }
      })();
      await store.transact(
        Array.from({ length: 200 }, (_, count) => put(`s${count}`)),
      );
      await watching;
      t.same(
        seen,
        Array.from({ length: 200 }, (_, count) => `${count + 1} new s${count}`),
      );
      t.same([...new Set(there)], [200]);
      await store.close();
    },
  );

  void t.test(
    "a transaction larger than the history leaves its newest part",
    async (t) => {
      const store = await open({
        directory: t.testdir(),
        clock: fakeClock(),
        history: { rows: 3, bytes: 1_000_000 },
      });
      await store.transact(
        Array.from({ length: 5 }, (_, count) => put(`s${count}`)),
      );
      t.equal((await store.list("Service")).resources.length, 5);
      await t.rejects(take(store, 1, 1), CompactedError);
      t.same((await take(store, 2, 3)).map(summary), [
        "3 new s2",
        "4 new s3",
        "5 new s4",
      ]);
      await store.close();
    },
  );

  void t.test(
    "all of a list is removed, a revision each, or nothing of it",
    async (t) => {
      const store = await open({
        directory: t.testdir(),
        clock: fakeClock(),
      });
      const done = await store.transact([put("a"), put("b"), put("c")]);
      const removal = (name: string, expected?: number) => ({
        key: key(name),
        expected,
      });
      for (const last of [removal("c", 2), removal("d", 1)])
        await t.rejects(
          store.removeAll([removal("a"), removal("b", 2), last]),
          { name: "ConflictError", key: last.key },
        );
      await t.rejects(
        store.removeAll([removal("a"), removal("a", 1)]),
        { name: "ConflictError" },
        "it is gone by then",
      );
      t.equal(await store.revision(), 3);
      t.equal((await store.list("Service")).resources.length, 3);
      t.same(
        await store.removeAll([
          removal("c"),
          removal("gone"),
          removal("a", 1),
          removal("c"),
        ]),
        [done[2]?.resource, undefined, done[0]?.resource, undefined],
      );
      t.equal(await store.revision(), 5);
      t.same((await take(store, 3, 2)).map(summary), [
        "4 remove c",
        "5 remove a",
      ]);
      t.same(
        (await store.list("Service")).resources.map(
          ({ metadata }) => metadata.name,
        ),
        ["b"],
      );
      t.same(await store.removeAll([removal("a")]), [undefined]);
      t.same(await store.removeAll([]), []);
      t.equal(await store.revision(), 5);
      await store.close();
      await t.rejects(store.removeAll([]), StoreError);
    },
  );
}
