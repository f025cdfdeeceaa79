/** The SQLite store keeps the contract, and its file survives kills, restarts and mistakes. */
import { copyFileSync, existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import {
  key,
  service,
  storeContract,
  take,
} from "../../support/store-contract.ts";

storeContract("sqlite store", ({ directory, clock, history }) =>
  Promise.resolve(
    openSqliteStore({
      file: join(directory, "store.sqlite"),
      clock,
      ...(history === undefined ? {} : { history }),
    }),
  ),
);

/** What a kill at this moment would leave: the files as they are, without a close. */
function snapshotFiles(from: string, to: string): void {
  for (const suffix of ["", "-wal"])
    if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix);
}

void t.test("every acknowledged write is in the files at once", async (t) => {
  const directory = t.testdir();
  const file = join(directory, "store.sqlite");
  const store = openSqliteStore({ file, clock: fakeClock() });
  for (let count = 1; count <= 20; count += 1) {
    await store.put(service("a", count), undefined);
    const copy = join(directory, `copy-${count}.sqlite`);
    snapshotFiles(file, copy);
    const after = openSqliteStore({ file: copy, clock: fakeClock() });
    t.equal(after.id, store.id);
    t.equal(await after.revision(), count);
    t.same((await after.get(key("a")))?.spec, { ports: [{ port: count }] });
    await after.close();
  }
  await store.close();
});

void t.test(
  "a write cut short leaves a database that opens, without that write",
  async (t) => {
    const directory = t.testdir();
    const file = join(directory, "store.sqlite");
    const store = openSqliteStore({ file, clock: fakeClock() });
    await store.put(service("a", 1), undefined);
    await store.put(service("a", 2), undefined);
    const torn = join(directory, "torn.sqlite");
    snapshotFiles(file, torn);
    const { size } = statSync(`${torn}-wal`);
    const { truncate } = await import("node:fs/promises");
    await truncate(`${torn}-wal`, size - 100);
    const after = openSqliteStore({ file: torn, clock: fakeClock() });
    t.equal(await after.revision(), 1);
    await after.close();
    await store.close();
  },
);

void t.test(
  "identity, revisions and history outlive the process",
  async (t) => {
    const file = join(t.testdir(), "sub", "store.sqlite");
    const options = {
      file,
      clock: fakeClock(),
      history: { rows: 3, bytes: 1e6 },
    };
    const first = openSqliteStore(options);
    for (let count = 1; count <= 4; count += 1)
      await first.put(service("a", count), undefined);
    await first.remove(key("a"));
    await first.close();
    const second = openSqliteStore(options);
    t.equal(second.id, first.id);
    t.equal(await second.revision(), 5, "kept although the last write removed");
    t.same(
      (await take(second, 2, 3)).map(({ revision, type }) => [revision, type]),
      [
        [3, "put"],
        [4, "put"],
        [5, "remove"],
      ],
    );
    await t.rejects(take(second, 1, 1), { name: "CompactedError" });
    t.equal(
      (await second.put(service("b"), "absent")).metadata.resourceVersion,
      "6",
    );
    await t.rejects(take(second, 2, 1), { name: "CompactedError" });
    await second.close();
  },
);

void t.test("the file is its owner's alone", async (t) => {
  const directory = t.testdir({ "open.sqlite": "" });
  const file = join(directory, "open.sqlite");
  const store = openSqliteStore({ file, clock: fakeClock() });
  await store.put(service("a"), undefined);
  for (const path of [file, `${file}-wal`])
    t.equal(statSync(path).mode & 0o777, 0o600, path);
  await store.close();
});

void t.test(
  "a file that cannot serve is refused with what to do",
  async (t) => {
    const directory = t.testdir();
    const open = (name: string): void => {
      openSqliteStore({
        file: join(directory, name),
        clock: fakeClock(),
        lockTimeout: 10,
      });
    };
    writeFileSync(join(directory, "text"), "no database ".repeat(100));
    t.throws(() => open("text"), {
      name: "StoreError",
      message: /damaged or not a database.*backup/,
    });

    const other = new DatabaseSync(join(directory, "other"));
    other.exec("CREATE TABLE things (name TEXT)");
    other.close();
    t.throws(() => open("other"), /database of another program/);

    openSqliteStore({ file: join(directory, "newer"), clock: fakeClock() });
    t.throws(() => open("newer"), /in use by another process/);

    const made = openSqliteStore({
      file: join(directory, "schema"),
      clock: fakeClock(),
    });
    void made.close();
    const schema = new DatabaseSync(join(directory, "schema"));
    schema.exec("PRAGMA user_version = 9");
    schema.close();
    t.throws(() => open("schema"), /schema version 9.*reads version 1/);

    t.throws(() => open(`text/x`), /cannot be opened/);

    const broken = openSqliteStore({
      file: join(directory, "body"),
      clock: fakeClock(),
    });
    await broken.put(service("a"), "absent");
    await broken.close();
    const body = new DatabaseSync(join(directory, "body"));
    body.exec("UPDATE resources SET body = '{'");
    body.close();
    t.throws(() => open("body"), {
      name: "StoreError",
      message: /damaged or not a database.*backup/,
    });
  },
);
