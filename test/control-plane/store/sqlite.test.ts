/** The SQLite store keeps the contract, and its file survives kills, restarts and mistakes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import type {
  AuditEntry,
  Author,
} from "../../../src/control-plane/audit/audit.ts";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { storeContract } from "../../support/control-plane/store-contract.ts";
import {
  key,
  put,
  service,
  take,
} from "../../support/control-plane/store-contract/fixtures.ts";

storeContract(t, "sqlite store", ({ directory, clock, history, audit }) =>
  openSqliteStore({
    file: join(directory, "store.sqlite"),
    clock,
    ...(history === undefined ? {} : { history }),
    ...(audit === undefined ? {} : { audit }),
  }),
);

const WRITER_PUTS = 200;
const AUTHOR: Author = { by: "ApiToken/1", from: "127.0.0.1", request: "r1" };

/** The revisions that the audit log tells of, the first one first. */
async function recorded(store: Store): Promise<readonly unknown[]> {
  const found: AuditEntry[] = [];
  let before: number | undefined;
  do {
    const { entries, next } = await store.audited({
      ...{ readable: "all", limit: 1000 },
      ...(before === undefined ? {} : { before }),
    });
    found.push(...entries);
    before = next;
  } while (before !== undefined);
  return found.map(({ revision }) => revision).reverse();
}

const upTo = (revision: number): readonly number[] =>
  Array.from({ length: revision }, (_, index) => index + 1);

/** Kills a process that writes transactions when it has acknowledged so many; gives the number of the last that it did. */
async function killWriter(file: string, acknowledged: number): Promise<number> {
  const sources = new URL("../../../src/", import.meta.url).href;
  const writer = spawn(
    process.execPath,
    [
      "--input-type=module",
      "--eval",
      `const { openSqliteStore } = await import("${sources}control-plane/store/sqlite.ts");
       const { systemClock } = await import("${sources}core/clock.ts");
       const store = await openSqliteStore({ file: process.argv[1], clock: systemClock });
       for (let port = 1 + (await store.revision()); ; port += 1) {
         await store.transact(Array.from({ length: ${WRITER_PUTS} }, (_, count) => ({
           resource: { apiVersion: "v1", kind: "Service", metadata: { name: "s" + count }, spec: { port } },
         })), ${JSON.stringify(AUTHOR)});
         process.stdout.write(port + "\\n");
       }`,
      file,
    ],
    { stdio: ["ignore", "pipe", "inherit"], env: {} },
  );
  const closed = once(writer, "close");
  let seen = 0;
  let last = 0;
  for await (const line of createInterface({ input: writer.stdout })) {
    last = Number(line);
    seen += 1;
    if (seen === acknowledged) writer.kill("SIGKILL");
  }
  await closed;
  return last;
}

/** What a kill at this moment would leave: the files as they are, without a close. */
function snapshotFiles(from: string, to: string): void {
  for (const suffix of ["", "-wal"])
    if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix);
}

void t.test("every acknowledged write is in the files at once", async (t) => {
  const directory = t.testdir();
  const file = join(directory, "store.sqlite");
  const store = await openSqliteStore({ file, clock: fakeClock() });
  for (let count = 1; count <= 20; count += 1) {
    await store.put(service("a", count), undefined);
    await store.setNote("count", String(count));
    const copy = join(directory, `copy-${count}.sqlite`);
    snapshotFiles(file, copy);
    const after = await openSqliteStore({ file: copy, clock: fakeClock() });
    t.equal(after.id, store.id);
    t.equal(await after.revision(), count);
    t.same((await after.get(key("a")))?.spec, { ports: [{ port: count }] });
    t.equal(await after.note("count"), String(count));
    await after.close();
  }
  await store.close();
});

void t.test("trap 18: a store that is opened again keeps times", async (t) => {
  const file = join(t.testdir(), "store.sqlite");
  const clock = fakeClock();
  const first = await openSqliteStore({ file, clock });
  const written = await first.put(service("a", 1), undefined);
  await first.close();
  clock.advance(3_600_000);
  const again = await openSqliteStore({ file, clock });
  const at = written.metadata.creationTimestamp;
  t.type(at, "string");
  t.equal((await again.get(key("a")))?.metadata.creationTimestamp, at);
  await again.put(service("a", 2), undefined);
  t.equal((await again.get(key("a")))?.metadata.creationTimestamp, at);
  await again.close();
});

void t.test(
  "a write cut short leaves a database that opens, without that write",
  async (t) => {
    const directory = t.testdir();
    const file = join(directory, "store.sqlite");
    const store = await openSqliteStore({ file, clock: fakeClock() });
    await store.put(service("a", 1), undefined);
    await store.put(service("a", 2), undefined);
    const torn = join(directory, "torn.sqlite");
    snapshotFiles(file, torn);
    const { size } = statSync(`${torn}-wal`);
    const { truncate } = await import("node:fs/promises");
    await truncate(`${torn}-wal`, size - 100);
    const after = await openSqliteStore({ file: torn, clock: fakeClock() });
    t.equal(await after.revision(), 1);
    await after.close();
    await store.close();
  },
);

void t.test(
  "a transaction cut short anywhere leaves all of it or nothing",
  async (t) => {
    const directory = t.testdir();
    const file = join(directory, "store.sqlite");
    const store = await openSqliteStore({ file, clock: fakeClock() });
    await store.put(service("a", 1), undefined, AUTHOR);
    const before = statSync(`${file}-wal`).size;
    await store.transact(
      Array.from({ length: 300 }, (_, count) => put(`s${count}`)),
      AUTHOR,
    );
    const after = statSync(`${file}-wal`).size;
    t.ok(after - before > 50_000, "it is of many pages");
    for (const share of [0, 0.1, 0.5, 0.9, 0.999, 1]) {
      const torn = join(directory, `torn-${share}.sqlite`);
      snapshotFiles(file, torn);
      truncateSync(
        `${torn}-wal`,
        before + Math.floor((after - before) * share),
      );
      const opened = await openSqliteStore({ file: torn, clock: fakeClock() });
      const { resources, revision } = await opened.list("Service");
      const whole = share === 1;
      t.equal(resources.length, whole ? 301 : 1, `${share} of it`);
      t.equal(revision, whole ? 301 : 1);
      t.equal((await take(opened, 0, revision)).length, revision);
      t.same(await recorded(opened), upTo(revision), "and the audit log");
      await opened.close();
    }
    await store.close();
  },
);

void t.test(
  "a process that is killed while it writes leaves whole transactions",
  async (t) => {
    const file = join(t.testdir(), "store.sqlite");
    for (const acknowledged of [1, 3, 6]) {
      const last = await killWriter(file, acknowledged);
      const store = await openSqliteStore({ file, clock: fakeClock() });
      const { resources } = await store.list("Service");
      const ports = new Set(
        resources.map(({ spec }) => (spec as { port: number }).port),
      );
      t.equal(resources.length, WRITER_PUTS);
      t.same(
        await recorded(store),
        upTo(await store.revision()),
        "each change is in the audit log, and nothing else is",
      );
      t.equal(ports.size, 1, "all are of one transaction");
      t.ok(
        Math.max(...ports) >= last,
        "and that which was acknowledged is there",
      );
      await store.close();
    }
  },
);

void t.test(
  "a transaction that the disk refuses halfway leaves the store as it was",
  async (t) => {
    const file = join(t.testdir(), "store.sqlite");
    const made = await openSqliteStore({ file, clock: fakeClock() });
    await made.put(service("a"), "absent");
    await made.close();
    const database = new DatabaseSync(file);
    database.exec(
      "CREATE TRIGGER full BEFORE INSERT ON resources WHEN NEW.name = 'c' BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
    );
    database.close();
    const store = await openSqliteStore({ file, clock: fakeClock() });
    await t.rejects(
      store.transact([put("b"), put("a", undefined, 81), put("c")]),
      /the disk is full/,
    );
    t.equal(await store.revision(), 1);
    t.equal(await store.get(key("b")), undefined);
    t.same((await store.get(key("a")))?.spec, { ports: [{ port: 80 }] });
    await store.transact([put("d"), put("e")]);
    t.same(
      (await take(store, 0, 3)).map(({ resource }) => resource.metadata.name),
      ["a", "d", "e"],
    );
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
    const first = await openSqliteStore(options);
    for (let count = 1; count <= 4; count += 1)
      await first.put(service("a", count), undefined);
    await first.remove(key("a"));
    await first.close();
    const second = await openSqliteStore(options);
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
  const store = await openSqliteStore({ file, clock: fakeClock() });
  await store.put(service("a"), undefined);
  for (const path of [file, `${file}-wal`])
    t.equal(statSync(path).mode & 0o777, 0o600, path);
  await store.close();
});

void t.test(
  "a damaged database is refused with the page, and stays as it is",
  async (t) => {
    const file = join(t.testdir(), "store.sqlite");
    const made = await openSqliteStore({ file, clock: fakeClock() });
    for (let count = 0; count < 200; count += 1)
      await made.put(service(`s${count}`), undefined);
    await made.close();
    const bytes = readFileSync(file);
    bytes.fill(0xff, 5 * 4096, bytes.length - 4096);
    writeFileSync(file, bytes);
    await t.rejects(openSqliteStore({ file, clock: fakeClock() }), {
      name: "StoreError",
      damaged: true,
      message:
        /malformed; its check found: .*page \d+.*Nothing was changed.*store\.sqlite-wal away.*backup/,
    });
    t.ok(readFileSync(file).equals(bytes));
  },
);

void t.test(
  "a file that cannot serve is refused with what to do",
  async (t) => {
    const directory = t.testdir();
    const open = async (name: string): Promise<void> => {
      await openSqliteStore({
        file: join(directory, name),
        clock: fakeClock(),
        lockTimeout: 10,
      });
    };
    writeFileSync(join(directory, "text"), "no database ".repeat(100));
    await t.rejects(open("text"), {
      name: "StoreError",
      message: /damaged or not a database.*backup/,
    });

    const other = new DatabaseSync(join(directory, "other"));
    other.exec("CREATE TABLE things (name TEXT)");
    other.close();
    await t.rejects(open("other"), /database of another program/);

    const newer = await openSqliteStore({
      file: join(directory, "newer"),
      clock: fakeClock(),
    });
    await t.rejects(open("newer"), /in use by another process/);
    await newer.close();

    const made = await openSqliteStore({
      file: join(directory, "schema"),
      clock: fakeClock(),
    });
    await made.close();
    const schema = new DatabaseSync(join(directory, "schema"));
    schema.exec("PRAGMA user_version = 9");
    schema.close();
    await t.rejects(open("schema"), /schema version 9.*reads version 1/);

    await t.rejects(open(`text/x`), /cannot be opened/);

    const broken = await openSqliteStore({
      file: join(directory, "body"),
      clock: fakeClock(),
    });
    await broken.put(service("a"), "absent");
    await broken.close();
    const body = new DatabaseSync(join(directory, "body"));
    body.exec("UPDATE resources SET body = '{'");
    body.close();
    await t.rejects(open("body"), {
      name: "StoreError",
      damaged: true,
      message: /damaged or not a database \(Service shop\/a: .*backup/,
    });
  },
);
