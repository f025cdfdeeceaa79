/** A backup that is put beside the write-ahead log of the database before it: SQLite reads pages of both as one. */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  key,
  put,
  service,
} from "../../support/control-plane/store-contract/fixtures.ts";

function open(file: string): Promise<Store> {
  const history = { rows: 100, bytes: 1_000_000 };
  return openSqliteStore({ file, clock: fakeClock(), history });
}

/** Writes as many Services that stay as make some pages, then others until these have left the history and the log. */
async function write(store: Store, port: number): Promise<void> {
  await store.transact(
    Array.from({ length: 100 }, (_, index) =>
      put(`s${index}`, undefined, port),
    ),
  );
  for (let more = 0; more < 1500; more += 5)
    await store.transact(
      Array.from({ length: 5 }, (_, index) =>
        put(`churn${index}`, undefined, port + more),
      ),
    );
}

void t.test("a mixture of two databases is not opened", async (t) => {
  const directory = t.testdir();
  const file = join(directory, "store.sqlite");
  const torn = join(directory, "torn.sqlite");
  const before = await open(file);
  await write(before, 1000);
  await before.close();
  copyFileSync(file, torn);
  const after = await open(file);
  await write(after, 3000);
  // As a kill leaves it.
  copyFileSync(`${file}-wal`, `${torn}-wal`);
  await after.close();
  for (const time of ["first", "second"])
    await t.rejects(
      open(torn),
      {
        name: "StoreError",
        damaged: true,
        message: /another database.*backup/,
      },
      `the ${time} time`,
    );
  const whole = await open(file);
  t.teardown(() => whole.close());
  t.match(await whole.get(key("s7")), { spec: { ports: [{ port: 3000 }] } });
});

void t.test("a version that knows no sum may write in between", async (t) => {
  const file = join(t.testdir(), "store.sqlite");
  const first = await open(file);
  await first.put(service("a"), "absent");
  await first.close();
  const older = new DatabaseSync(file);
  const body = JSON.stringify({
    ...service("b"),
    metadata: { name: "b", namespace: "shop", resourceVersion: "2" },
  });
  const sql = "INSERT INTO resources VALUES ('Service', 'shop', 'b', ?)";
  older.prepare(sql).run(body);
  older.prepare("INSERT INTO history VALUES (2, 'create', ?)").run(body);
  older.close();
  const second = await open(file);
  await second.remove(key("a"));
  await second.put(service("b", 81), undefined);
  await second.close();
  const third = await open(file);
  t.equal(await third.revision(), 4);
  await third.close();
  const lost = new DatabaseSync(file);
  lost.exec("DELETE FROM history WHERE revision = 4");
  lost.close();
  await t.rejects(open(file), { name: "StoreError" });
});
