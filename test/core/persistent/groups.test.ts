import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { PersistentGroups } from "../../../src/core/persistent/groups.ts";
import { dice, seeded } from "../../support/resources/random-policy.ts";

interface Item {
  readonly rank: number;
}

const byRank = (left: Item, right: Item): number => left.rank - right.rank;

/** As many additions and removals in a round: fewer than are sorted whole, and more. */
for (const most of [5, 200])
  void t.test(`lists stay in order, ${most} changes a round`, (t) => {
    const { pick, upTo, chance } = dice(seeded(most));
    let groups = new PersistentGroups<Item>(byRank);
    let model = new Map<string, readonly Item[]>();
    let ranks = 0;
    for (let round = 0; round < 60; round += 1) {
      const edit = groups.edit();
      const next = new Map(model);
      for (let count = upTo(most); count > 0; count -= 1) {
        const key = pick(["a", "b", "c"]);
        const list = next.get(key) ?? [];
        if (chance(0.45) && list.length > 0) {
          const item = pick(list);
          edit.remove(key, item);
          next.set(
            key,
            list.filter((each) => each !== item),
          );
          if (chance(0.2)) {
            edit.add(key, item);
            next.set(key, list);
          }
        } else {
          // Odd and even ones come at different times, so that they go in between.
          const item = { rank: chance(0.5) ? (ranks += 1) : -(ranks += 1) };
          edit.add(key, item);
          next.set(key, [...list, item].sort(byRank));
        }
        if (edit.count(key) !== next.get(key)?.length) t.fail("the count");
        if (chance(0.02)) atOnce(edit.settle());
        if (chance(0.02)) t.strictSame(edit.get(key), next.get(key) ?? []);
      }
      const before = groups;
      if (chance(0.5)) atOnce(edit.settle());
      groups = edit.done();
      for (const key of ["a", "b", "c", "none"]) {
        t.strictSame(groups.get(key), next.get(key) ?? []);
        t.strictSame(before.get(key), model.get(key) ?? []);
      }
      t.strictSame(
        [...groups.keys()].sort(),
        [...next]
          .flatMap(([key, list]) => (list.length > 0 ? [key] : []))
          .sort(),
      );
      model = next;
    }
    t.end();
  });

void t.test("a list that is not changed is the same object", (t) => {
  const edit = new PersistentGroups<string>().edit();
  edit.add("a", "1");
  edit.set("b", ["2", "3"]);
  const groups = edit.done();
  t.equal(edit.done(), groups);
  const next = groups.edit();
  next.remove("a", "1");
  const changed = next.done();
  t.equal(changed.get("b"), groups.get("b"));
  t.strictSame(changed.get("a"), []);
  t.equal(changed.get("a"), groups.get("none"), "there is one empty list");
  t.strictSame(groups.get("a"), ["1"]);
  t.end();
});

void t.test("what is not there is not removed", (t) => {
  const edit = new PersistentGroups<string>().edit();
  const many = Array.from({ length: 40 }, String);
  edit.set("few", ["a", "b"]);
  edit.set("many", many);
  for (const key of ["few", "many"]) edit.remove(key, "none");
  const groups = edit.done();
  t.strictSame(groups.get("few"), ["a", "b"]);
  t.strictSame(groups.get("many"), many);
  t.end();
});
