/** A write-ahead log that is damaged is told apart from one whose last write was cut short. */
import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import { stateOfWal } from "../../../src/control-plane/store/wal.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { service } from "../../support/control-plane/store-contract/fixtures.ts";

const WRITES = 100;

/** The files of a store that was killed, and the sizes that its log had after each write. */
async function killed(
  t: Test,
): Promise<{ readonly file: string; readonly sizes: readonly number[] }> {
  const file = join(t.testdir(), "store.sqlite");
  const store = await openSqliteStore({ file, clock: fakeClock() });
  const sizes: number[] = [];
  for (let count = 0; count < WRITES; count += 1) {
    await store.put(service(`s${count}`), "absent");
    sizes.push(statSync(`${file}-wal`).size);
  }
  const copy = `${file}-copy`;
  for (const suffix of ["", "-wal"]) copyFileSync(file + suffix, copy + suffix);
  await store.close();
  return { file: copy, sizes };
}

void t.test(
  "a flipped bit loses no acknowledged write in silence",
  async (t) => {
    const { file, sizes } = await killed(t);
    const wal = readFileSync(`${file}-wal`);
    const clock = fakeClock();
    const end = sizes.at(-1) ?? 0;
    const beforeLast = sizes.at(-2) ?? 0;
    t.equal(stateOfWal(`${file}-wal`), "whole");
    t.equal(stateOfWal(`${file}-none`), "whole");
    for (const [what, at, state] of [
      ["its magic", 0, "damaged"],
      ["the size of its pages", 9, "damaged"],
      ["its salts", 17, "damaged"],
      ["its sum", 25, "damaged"],
      ["the first frame's page", 40, "damaged"],
      ["the first frame's salts", 41, "damaged"],
      ["the first frame's sum", 49, "damaged"],
      ["a page in the middle", Math.floor(end / 2), "damaged"],
      ["the last write but one", beforeLast - 100, "damaged"],
      ["the last write", end - 100, "cut"],
    ] as const) {
      const flipped = Buffer.from(wal);
      flipped[at] = (flipped[at] ?? 0) ^ 4;
      writeFileSync(`${file}-wal`, flipped);
      t.equal(stateOfWal(`${file}-wal`), state, what);
      if (state !== "damaged") continue;
      await t.rejects(openSqliteStore({ file, clock }), {
        name: "StoreError",
        damaged: true,
        message: /store\.sqlite-copy-wal is damaged.*backup/,
      });
      t.ok(readFileSync(`${file}-wal`).equals(flipped), "it stays as it is");
    }
  },
);

void t.test("a log that was cut anywhere is no damage", async (t) => {
  const { file, sizes } = await killed(t);
  const wal = readFileSync(`${file}-wal`);
  const [before = 0, end = 0] = sizes.slice(-2);
  for (const size of [0, 10, 40, 2000, before, before + 1, end - 1, end]) {
    writeFileSync(`${file}-wal`, wal.subarray(0, size));
    t.equal(stateOfWal(`${file}-wal`), "whole", `${size} bytes`);
  }
});

void t.test("a log begun anew has frames of the one before", async (t) => {
  const file = join(t.testdir(), "store.sqlite");
  const store = await openSqliteStore({ file, clock: fakeClock() });
  for (let round = 0; round < 1500; round += 1)
    await store.put(service("a", 1 + (round % 9)), undefined);
  t.equal(stateOfWal(`${file}-wal`), "whole");
  await store.close();
});
