/** A store owns the metadata of what is put, and refuses what the writer did not expect. */
import type { Test } from "tap";
import { ConflictError } from "../../../../src/control-plane/store/store.ts";
import { fakeClock } from "../../clocks/fake-clock.ts";
import { key, service, type OpenStore } from "./fixtures.ts";

export function resourcesContract(t: Test, open: OpenStore): void {
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

  void t.test("only a change of the spec counts as a generation", async (t) => {
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
  });

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
}
