/** Whose entries of the audit log go, after a restart as before it, and in the file of an older version. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import type { Act } from "../../../src/control-plane/audit/audit.ts";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const AUDIT = { entries: 12, bytes: 1e9, age: 1e9 };

function actBy(by: string): Act {
  return {
    ...{ by, from: "127.0.0.1", request: "r" },
    ...{ verb: "v", kind: "K", namespace: "shop", name: "n" },
  };
}

async function authorsIn(store: Store): Promise<string> {
  const { entries } = await store.audited({ readable: "all", limit: 100 });
  return entries.map(({ by }) => by).join("");
}

void t.test("what each takes is known after a restart", async (t) => {
  const file = join(t.testdir(), "store.sqlite");
  const open = (): Promise<Store> =>
    openSqliteStore({ file, clock: fakeClock(), audit: AUDIT });
  const first = await open();
  await first.record(["a", "b", "a", ...Array<string>(9).fill("x")].map(actBy));
  await first.close();

  // As a version without an index left it.
  const older = new DatabaseSync(file);
  older.exec("DROP INDEX audit_by_author");
  older.close();

  const second = await open();
  await second.record(["x", "x", "c"].map(actBy));
  t.equal(await authorsIn(second), "cxxxxxxxxaba");
  await second.close();
});
