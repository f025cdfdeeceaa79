/** The audit log is written with what it tells of, or not at all; it is read from the newest on, and bounded. */
import type { Test } from "tap";
import type {
  Act,
  AuditEntry,
  AuditQuery,
  Author,
} from "../../../../src/control-plane/audit/audit.ts";
import {
  ConflictError,
  StoreError,
  type Store,
} from "../../../../src/control-plane/store/store.ts";
import { fakeClock } from "../../clocks/fake-clock.ts";
import { key, put, service, type OpenStore } from "./fixtures.ts";

const AUTHOR: Author = { by: "ApiToken/1", from: "127.0.0.1", request: "r1" };

const ALL: AuditQuery = { readable: "all", limit: 100 };

async function read(
  store: Store,
  query: Partial<AuditQuery> = {},
): Promise<readonly AuditEntry[]> {
  return (await store.audited({ ...ALL, ...query })).entries;
}

/** "VERB NAMESPACE/NAME @REVISION" */
const line = ({ verb, namespace, name, revision }: AuditEntry): string =>
  `${verb} ${namespace}/${name} @${revision ?? "-"}`;

export function auditContract(t: Test, open: OpenStore): void {
  void t.test("each change of an author is an entry", async (t) => {
    const clock = fakeClock();
    const store = await open({ directory: t.testdir(), clock });
    await store.put(service("nobody"), "absent");
    await store.put(service("a"), "absent", AUTHOR);
    await store.put(service("a"), undefined, AUTHOR);
    await store.transact([put("a", 2, 81), put("b")], {
      ...AUTHOR,
      request: "r2",
    });
    await store.remove(key("a"), undefined, { ...AUTHOR, by: "ApiToken/2" });
    await store.removeAll(
      [
        { key: key("b"), expected: undefined },
        { key: key("none"), expected: undefined },
      ],
      AUTHOR,
    );
    t.same((await read(store)).map(line), [
      "delete shop/b @6",
      "delete shop/a @5",
      "create shop/b @4",
      "update shop/a @3",
      "create shop/a @2",
    ]);
    t.match((await read(store, { verb: "update" }))[0], {
      ...AUTHOR,
      request: "r2",
      at: clock.wall(),
      kind: "Service",
      changes: [{ path: "spec.ports[0].port", before: 80, after: 81 }],
    });
    await store.close();
    await t.rejects(store.audited(ALL), StoreError);
    await t.rejects(store.record([]), StoreError);
  });

  void t.test("what is not written is not told of", async (t) => {
    const store = await open({ directory: t.testdir(), clock: fakeClock() });
    await store.put(service("a"), "absent");
    await t.rejects(
      store.transact([put("b"), put("a", "absent")], AUTHOR),
      ConflictError,
    );
    await t.rejects(store.remove(key("a"), 7, AUTHOR), ConflictError);
    t.same(await read(store), []);
    await store.close();
  });

  void t.test("an act beside resources is told of as it is", async (t) => {
    const store = await open({ directory: t.testdir(), clock: fakeClock() });
    const act = {
      ...AUTHOR,
      ...{ verb: "rotate", kind: "Authority", namespace: "", name: "root" },
      note: "step 1",
    };
    await Promise.all([store.record([act]), store.put(service("a"), "absent")]);
    t.match(await read(store), [{ ...act, id: 1, at: /^\d+$/ }]);
    t.equal(await store.revision(), 1, "it is no revision");
    await store.close();
  });

  void t.test(
    "entries are found by each field, and page by page",
    async (t) => {
      const clock = fakeClock();
      const store = await open({ directory: t.testdir(), clock });
      for (const [index, namespace] of ["", "shop", "infra"].entries())
        await store.record([
          {
            ...{ by: `ApiToken/${index}`, from: "10.0.0.1" },
            ...{ request: `r${index}`, verb: `v${index}`, kind: `K${index}` },
            ...{ namespace, name: `n${index}` },
          },
        ]);
      const names = async (query: Partial<AuditQuery>): Promise<string[]> =>
        (await read(store, query)).map(({ name }) => name);
      for (const query of [
        { by: "ApiToken/1" },
        { request: "r1" },
        { verb: "v1" },
        { kind: "K1" },
        { namespace: "shop" },
        { name: "n1" },
      ])
        t.same(await names(query), ["n1"], JSON.stringify(query));
      t.same(await names({ namespace: "shop", verb: "v2" }), []);
      t.same(await names({ readable: "namespaced" }), ["n2", "n1"]);
      t.same(await names({ readable: ["shop", "other"] }), ["n1"]);
      t.same(await names({ readable: [] }), []);
      t.same(await names({ namespace: "", readable: "all" }), ["n0"]);
      clock.advance(1000);
      await store.record([
        { ...AUTHOR, verb: "v", kind: "K", namespace: "", name: "late" },
      ]);
      t.same(await names({ since: clock.wall() }), ["late"]);
      const seen: string[] = [];
      let before: number | undefined;
      do {
        const page = await store.audited({
          ...{ readable: "all", limit: 3 },
          ...(before === undefined ? {} : { before }),
        });
        seen.push(...page.entries.map(({ name }) => name));
        before = page.next;
      } while (before !== undefined);
      t.same(seen, ["late", "n2", "n1", "n0"]);
      await store.close();
    },
  );

  void t.test(
    "a filter that nothing passes is looked at in steps",
    async (t) => {
      const store = await open({ directory: t.testdir(), clock: fakeClock() });
      const act = { ...AUTHOR, verb: "v", kind: "K", namespace: "", name: "n" };
      await store.record(Array.from({ length: 12_000 }, () => act));
      let steps = 0;
      let before: number | undefined;
      do {
        const { entries, next } = await store.audited({
          ...{ ...ALL, name: "none" },
          ...(before === undefined ? {} : { before }),
        });
        t.same(entries, []);
        before = next;
        steps += 1;
      } while (before !== undefined);
      t.equal(steps, 3);
      await store.close();
    },
  );

  void t.test("it is bounded by entries, bytes and age", async (t) => {
    const act = { ...AUTHOR, verb: "v", kind: "K", namespace: "", name: "n" };
    for (const [audit, left] of [
      [{ entries: 5, bytes: 1e9, age: 1e9 }, 5],
      [{ entries: 1e9, bytes: 500, age: 1e9 }, 4],
      [{ entries: 1e9, bytes: 1e9, age: 1000 }, 1],
    ] as const) {
      const clock = fakeClock();
      const directory = t.testdir();
      const store = await open({ directory, clock, audit });
      for (let count = 0; count < 8; count += 1) {
        await store.record([act]);
        clock.advance(1001);
      }
      const entries = await read(store);
      t.ok(
        entries.length <= left && entries.length > 0,
        `${JSON.stringify(audit)}: ${entries.length}`,
      );
      t.equal(entries[0]?.id, 8, "the newest stay");
      await store.close();
    }
  });

  void t.test(
    "a clock that is ahead for a moment takes no entry for old",
    async (t) => {
      const act = { ...AUTHOR, verb: "v", kind: "K", namespace: "", name: "n" };
      const clock = fakeClock();
      const audit = { entries: 1e9, bytes: 1e9, age: 1000 };
      const store = await open({ directory: t.testdir(), clock, audit });
      await store.record([act]);
      clock.jump(1e9);
      await store.record([act]);
      clock.jump(-1e9);
      await store.record([act]);
      t.equal((await read(store)).length, 3);
      await store.close();
    },
  );

  void t.test(
    "a large entry takes the place of all that it needs",
    async (t) => {
      const act = { ...AUTHOR, verb: "v", kind: "K", namespace: "", name: "n" };
      const audit = { entries: 1e9, bytes: 1_000_000, age: 1e9 };
      const directory = t.testdir();
      const store = await open({ directory, clock: fakeClock(), audit });
      await store.record(Array.from({ length: 5000 }, () => act));
      await store.record([{ ...act, note: "x".repeat(900_000) }]);
      const entries = await read(store, { limit: 5001 });
      t.equal(entries[0]?.id, 5001, "the newest stays");
      const bytes = JSON.stringify(entries).length;
      t.ok(bytes < 1.2 * audit.bytes, `${bytes} bytes are left`);
      t.ok(entries.length > 1, "and others for which there is room");
      await store.close();
    },
  );

  for (const [what, audit] of [
    ["entries", { entries: 12, bytes: 1e9, age: 1e9 }],
    ["bytes", { entries: 1e9, bytes: 12 * bytesOf("x"), age: 1e9 }],
  ] as const)
    void t.test(
      `a busy author takes the place of no other: ${what}`,
      async (t) => {
        const clock = fakeClock();
        const directory = t.testdir();
        const store = await open({ directory, clock, audit });
        for (const author of ["a", "b", "a", "c"])
          await store.record([actBy(author)]);
        await store.record(Array.from({ length: 500 }, () => actBy("x")));
        for (let count = 0; count < 500; count += 1)
          await store.record([actBy("x")]);
        const authors = (await read(store)).map(({ by }) => by).join("");
        t.match(authors, /^x{7,9}caba$/, "its own oldest have gone, in order");
        await store.record([actBy("b")]);
        t.match(
          (await read(store)).map(({ by }) => by).join(""),
          /^bx{6,8}caba$/,
          "others have room yet",
        );
        const ids = (await read(store)).map(({ id }) => id);
        t.equal(ids[0], 1005);
        t.same(ids.slice(-4), [4, 3, 2, 1]);
        const pages: number[] = [];
        let before: number | undefined;
        do {
          const page = await store.audited({
            ...{ readable: "all", limit: 3 },
            ...(before === undefined ? {} : { before }),
          });
          pages.push(...page.entries.map(({ id }) => id));
          before = page.next;
        } while (before !== undefined);
        t.same(pages, ids, "pages lead over what is gone");
        await store.close();
      },
    );

  void t.test("two that are busy share what others leave", async (t) => {
    const audit = { entries: 20, bytes: 1e9, age: 1e9 };
    const store = await open({
      ...{ directory: t.testdir(), clock: fakeClock(), audit },
    });
    const add = (author: string, count: number): Promise<void> =>
      store.record(Array.from({ length: count }, () => actBy(author)));
    await add("a", 40);
    await add("b", 4);
    await add("c", 40);
    const counts = new Map<string, number>();
    for (const { by } of await read(store))
      counts.set(by, (counts.get(by) ?? 0) + 1);
    t.same([...counts].sort(), [
      ["a", 8],
      ["b", 4],
      ["c", 8],
    ]);
    await store.close();
  });

  void t.test("where each has one entry, the oldest goes", async (t) => {
    const audit = { entries: 3, bytes: 1e9, age: 1e9 };
    const store = await open({
      ...{ directory: t.testdir(), clock: fakeClock(), audit },
    });
    for (const author of ["a", "b", "c", "d", "e"])
      await store.record([actBy(author)]);
    t.same(
      (await read(store)).map(({ by }) => by),
      ["e", "d", "c"],
    );
    await store.close();
  });
}

function actBy(by: string): Act {
  const act = { ...AUTHOR, verb: "v", kind: "K", namespace: "", name: "n" };
  return { ...act, by };
}

/** About what an entry takes. */
function bytesOf(author: string): number {
  return JSON.stringify({ ...actBy(author), id: 1000, at: fakeClock().wall() })
    .length;
}
