/** Notes are kept beside the resources, and are no revisions. */
import type { Test } from "tap";
import { StoreError } from "../../../../src/control-plane/store/store.ts";
import { fakeClock } from "../../clocks/fake-clock.ts";
import { type OpenStore } from "./fixtures.ts";

export function notesContract(t: Test, open: OpenStore): void {
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
}
