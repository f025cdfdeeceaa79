/** What every store must do, run against each of them. */
import { getEventListeners } from "node:events";
import t from "tap";
import type { Clock } from "../../src/core/clock.ts";
import {
  CompactedError,
  ConflictError,
  StoreError,
  type Change,
  type Expected,
  type HistoryLimits,
  type Put,
  type Store,
} from "../../src/control-plane/store/store.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { fakeClock } from "./fake-clock.ts";

/** Opens an empty store; `directory` is empty and the test's own. */
export type OpenStore = (options: {
  readonly directory: string;
  readonly clock: Clock;
  readonly history?: HistoryLimits;
}) => Promise<Store>;

export function service(
  name: string,
  port = 80,
  more: Partial<Resource["metadata"]> = {},
): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name, namespace: "shop", ...more },
    spec: { ports: [{ port }] },
  };
}

export function key(
  name: string,
  namespace = "shop",
): { kind: string; namespace: string; name: string } {
  return { kind: "Service", namespace, name };
}

/** A put of a Service. */
export function put(name: string, expected?: Expected, port?: number): Put {
  return { resource: service(name, port), expected };
}

/** The next `count` changes after a revision. */
export async function take(
  store: Store,
  after: number,
  count: number,
): Promise<Change[]> {
  const stop = new AbortController();
  const changes: Change[] = [];
  for await (const change of store.watch(after, stop.signal)) {
    changes.push(change);
    if (changes.length === count) break;
  }
  return changes;
}

const summary = ({ revision, type, created, resource }: Change): string =>
  `${revision} ${created === true ? "new" : type} ${resource.metadata.name}`;

export function storeContract(name: string, open: OpenStore): void {
  void t.test(name, (t) => {
    void t.test(
      "trap 18: the store owns the metadata that orders resources",
      async (t) => {
        const clock = fakeClock();
        const store = await open({ directory: t.testdir(), clock });
        t.equal(await store.revision(), 0);
        const created = await store.put(
          service("orders", 80, {
            uid: "mine",
            creationTimestamp: "1999-01-01T00:00:00Z",
            generation: 7,
            resourceVersion: "99",
            labels: { app: "orders" },
          }),
          undefined,
        );
        t.match(created.metadata.uid, /^[0-9a-f]{8}-[0-9a-f-]{27}$/);
        t.equal(created.metadata.creationTimestamp, "2026-01-01T00:00:00.000Z");
        t.equal(created.metadata.resourceVersion, "1");
        t.equal(created.metadata.generation, 1);
        clock.advance(1000);
        const changed = await store.put(service("orders", 81), 1);
        t.equal(changed.metadata.uid, created.metadata.uid);
        t.equal(
          changed.metadata.creationTimestamp,
          created.metadata.creationTimestamp,
        );
        t.equal(changed.metadata.resourceVersion, "2");
        t.equal(changed.metadata.generation, 2);
        t.equal(changed.metadata.labels, undefined);
        t.same(await store.get(key("orders")), changed);
        await store.close();
      },
    );

    void t.test(
      "only a change of the spec counts as a generation",
      async (t) => {
        const store = await open({
          directory: t.testdir(),
          clock: fakeClock(),
        });
        await store.put(service("a"), "absent");
        const labelled = await store.put(
          service("a", 80, { labels: { x: "1" }, annotations: { y: "2" } }),
          undefined,
        );
        t.equal(labelled.metadata.generation, 1);
        t.equal(labelled.metadata.resourceVersion, "2");
        await store.close();
      },
    );

    void t.test("a write that changes nothing makes no revision", async (t) => {
      const store = await open({ directory: t.testdir(), clock: fakeClock() });
      const first = await store.put(service("a", 80, { labels: {} }), "absent");
      const again = await store.put(
        { ...service("a"), status: { conditions: [] } },
        undefined,
      );
      t.same(again, first);
      t.equal(again.status, undefined);
      t.equal(await store.revision(), 1);
      await store.close();
    });

    void t.test(
      "what a writer does to its object later changes nothing",
      async (t) => {
        const store = await open({
          directory: t.testdir(),
          clock: fakeClock(),
        });
        const labels: Record<string, string> = { a: "1" };
        const ports = [{ port: 80 }];
        await store.put(
          { ...service("a", 80, { labels }), spec: { ports } },
          undefined,
        );
        labels["a"] = "2";
        ports.push({ port: 81 });
        const stored = await store.get(key("a"));
        t.same(stored?.metadata.labels, { a: "1" });
        t.same(stored?.spec, { ports: [{ port: 80 }] });
        await store.close();
      },
    );

    void t.test(
      "compare-and-swap refuses what the writer did not expect",
      async (t) => {
        const store = await open({
          directory: t.testdir(),
          clock: fakeClock(),
        });
        await t.rejects(store.put(service("a"), 1), ConflictError);
        await t.rejects(store.remove(key("a"), 1), ConflictError);
        await store.put(service("a"), "absent");
        await t.rejects(store.put(service("a", 81), "absent"), {
          name: "ConflictError",
          actual: 1,
          message: /Service shop\/a is at resourceVersion 1/,
        });
        await t.rejects(store.put(service("a", 81), 7), ConflictError);
        await t.rejects(store.remove(key("a"), 7), ConflictError);
        t.equal(await store.revision(), 1, "nothing changed");
        t.equal(await store.remove(key("a"), 1), 2);
        t.equal(await store.get(key("a")), undefined);
        await store.close();
      },
    );

    void t.test("of two writers with one expectation one wins", async (t) => {
      const store = await open({ directory: t.testdir(), clock: fakeClock() });
      await store.put(service("counter", 1), "absent");
      const increment = async (): Promise<number> => {
        for (let tries = 1; ; tries += 1) {
          const current = await store.get(key("counter"));
          const spec = current?.spec as { ports: [{ port: number }] };
          try {
            await store.put(
              service("counter", spec.ports[0].port + 1),
              Number(current?.metadata.resourceVersion),
            );
            return tries;
          } catch (thrown) {
            if (!(thrown instanceof ConflictError)) throw thrown;
          }
        }
      };
      const tries = await Promise.all(Array.from({ length: 20 }, increment));
      t.ok(Math.max(...tries) > 1, "writers did meet");
      t.same((await store.get(key("counter")))?.spec, {
        ports: [{ port: 21 }],
      });
      t.equal(await store.revision(), 21);
      await store.close();
    });

    void t.test("removing what is not there makes no revision", async (t) => {
      const store = await open({ directory: t.testdir(), clock: fakeClock() });
      await store.put(service("a"), undefined);
      t.equal(await store.remove(key("b")), 1);
      t.equal(await store.revision(), 1);
      await store.close();
    });

    void t.test("trap 18: a resource made anew is another one", async (t) => {
      const clock = fakeClock();
      const store = await open({ directory: t.testdir(), clock });
      const first = await store.put(service("a"), undefined);
      await store.remove(key("a"));
      clock.advance(5000);
      const second = await store.put(service("a", 90), "absent");
      t.not(second.metadata.uid, first.metadata.uid);
      t.equal(second.metadata.generation, 1);
      t.equal(second.metadata.creationTimestamp, "2026-01-01T00:00:05.000Z");
      await store.close();
    });

    void t.test(
      "a listing is sorted, of one kind, and names its revision",
      async (t) => {
        const store = await open({
          directory: t.testdir(),
          clock: fakeClock(),
        });
        await store.put(service("b"), undefined);
        await store.put(service("a", 80, { namespace: "zoo" }), undefined);
        await store.put(service("a-1"), undefined);
        await store.put(service("a"), undefined);
        await store.put(
          {
            apiVersion: "mesh.wherry.dev/v1alpha1",
            kind: "Mesh",
            metadata: { name: "default" },
            spec: {},
          },
          undefined,
        );
        const names = async (namespace?: string): Promise<string[]> =>
          (await store.list("Service", namespace)).resources.map(
            ({ metadata }) => `${metadata.namespace ?? ""}/${metadata.name}`,
          );
        t.same(await names(), ["shop/a", "shop/a-1", "shop/b", "zoo/a"]);
        t.same(await names("zoo"), ["zoo/a"]);
        t.same(await names("none"), []);
        t.equal((await store.list("Service")).revision, 5);
        t.same((await store.list("Absent")).resources, []);
        t.ok(await store.get({ kind: "Mesh", namespace: "", name: "default" }));
        await store.close();
      },
    );

    void t.test(
      "a watch from a listing's revision misses nothing",
      async (t) => {
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
        t.same((await changes).map(summary), [
          "2 new b",
          "3 put b",
          "4 remove a",
        ]);
        t.same((await take(store, 0, 4)).map(summary), [
          "1 new a",
          "2 new b",
          "3 put b",
          "4 remove a",
        ]);
        await store.close();
      },
    );

    void t.test(
      "a watch waits for what comes and ends when told",
      async (t) => {
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
      },
    );

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
        for (const last of [
          put("b", "absent", 81),
          put("b", 7, 81),
          put("d", 1),
        ])
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
          Array.from(
            { length: 200 },
            (_, count) => `${count + 1} new s${count}`,
          ),
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

    void t.test(
      "notes are set together, and found by how they begin",
      async (t) => {
        const store = await open({
          directory: t.testdir(),
          clock: fakeClock(),
        });
        t.same([...(await store.notes("a/"))], []);
        await store.setNote("b/1", "other");
        await store.setNotes(
          new Map([
            ["a/1", "one"],
            ["a/2", "two"],
            ["a/é", "three"],
            ["a", "four"],
          ]),
        );
        const before = await store.notes("a/");
        await store.setNotes(
          new Map([
            ["a/1", "new"],
            ["a/2", undefined],
            ["a/never", undefined],
          ]),
        );
        t.same([...(await store.notes("a/"))].sort(), [
          ["a/1", "new"],
          ["a/é", "three"],
        ]);
        t.equal(before.get("a/1"), "one", "what was read stays as it was");
        t.equal(await store.note("a/2"), undefined);
        t.equal(
          (await store.notes("")).size,
          4,
          "and nothing of the store's own",
        );
        t.equal(await store.revision(), 0);
        await store.close();
        await t.rejects(store.notes(""), StoreError);
        await t.rejects(store.setNotes(new Map()), StoreError);
      },
    );

    void t.test("notes are no revisions", async (t) => {
      const store = await open({ directory: t.testdir(), clock: fakeClock() });
      t.equal(await store.note("id"), undefined, "what is the store's own");
      await store.setNote("id", "a");
      await store.setNote("other", "b");
      await store.setNote("id", "c");
      t.equal(await store.note("id"), "c");
      t.equal(await store.note("other"), "b");
      t.not(store.id, "c");
      t.equal(await store.revision(), 0);
      t.same(await store.transact([]), []);
      await store.close();
    });
    t.end();
  });
}
