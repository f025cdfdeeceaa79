/** Which revisions are in a store's history, after openings, copies and writes that failed. */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Branches } from "../../../src/control-plane/store/branches.ts";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { service } from "../../support/control-plane/store-contract/fixtures.ts";

function open(file: string): Promise<Store> {
  return openSqliteStore({ file, clock: fakeClock() });
}

void t.test("openings that write nothing begin no branch", async (t) => {
  const file = join(t.testdir(), "store.sqlite");
  const empty = await open(file);
  t.equal(empty.branch, "");
  await empty.close();
  const first = await open(file);
  await first.put(service("a"), "absent");
  const { branch } = first;
  t.not(branch, "");
  await first.put(service("b"), "absent");
  t.equal(first.branch, branch, "a branch is that of all writes of an opening");
  await first.setNote("x", "y");
  await first.close();
  const second = await open(file);
  t.teardown(() => second.close());
  t.equal(second.branch, branch);
  t.ok(second.has({ branch, revision: 2 }));
  await second.put(service("c"), "absent");
  t.not(second.branch, branch);
  for (const [known, is] of [
    [{ branch, revision: 0 }, true],
    [{ branch, revision: 2 }, true],
    [{ branch, revision: 3 }, false],
    [{ branch: second.branch, revision: 1 }, false],
    [{ branch: second.branch, revision: 3 }, true],
    [{ branch: second.branch, revision: 4 }, false],
    [{ branch: "", revision: 1 }, false],
    [{ branch: "0011223344556677", revision: 1 }, false],
  ] as const)
    t.equal(second.has(known), is, JSON.stringify(known));
});

void t.test("two copies of a store go on in two branches", async (t) => {
  const directory = t.testdir();
  const [one, two] = [join(directory, "1"), join(directory, "2")];
  const first = await open(one);
  await first.put(service("a"), "absent");
  await first.close();
  copyFileSync(one, two);
  const [left, right] = [await open(one), await open(two)];
  for (const store of [left, right]) {
    t.teardown(() => store.close());
    await store.put(service("b"), "absent");
  }
  t.notOk(left.has({ branch: right.branch, revision: 2 }));
  t.notOk(right.has({ branch: left.branch, revision: 2 }));
});

void t.test(
  "the oldest branches are forgotten, and are not there then",
  (t) => {
    let branches = Branches.before(undefined).begin(0);
    const oldest = branches.present;
    for (let opening = 1; opening <= 4096; opening += 1) {
      if (opening === 4096)
        t.ok(branches.have({ branch: oldest, revision: 1 }, opening));
      branches = Branches.before(branches.toString()).begin(opening);
    }
    t.notOk(branches.have({ branch: oldest, revision: 1 }, 5000));
    t.end();
  },
);
