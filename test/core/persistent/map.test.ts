import t from "tap";
import { PersistentMap } from "../../../src/core/persistent/map.ts";
import { dice, seeded } from "../../support/resources/random-policy.ts";

function contentOf(map: PersistentMap<number>): Record<string, number> {
  return Object.fromEntries([...map.entries()].sort());
}

void t.test("every copy stays as it was, whatever becomes of the next", (t) => {
  const { pick, upTo, chance } = dice(seeded(7));
  const keys = Array.from({ length: 3000 }, (_none, index) => `key-${index}`);
  const versions: [PersistentMap<number>, Map<string, number>][] = [
    [new PersistentMap(), new Map<string, number>()],
  ];
  for (let round = 0; round < 40; round += 1) {
    // Any of them may be the one that is changed.
    const [from, model] = pick(versions);
    const edit = from.edit();
    const expected = new Map(model);
    for (let count = upTo(300); count > 0; count -= 1) {
      const key = pick(keys);
      if (chance(0.3)) {
        edit.delete(key);
        expected.delete(key);
      } else {
        edit.set(key, count);
        expected.set(key, count);
      }
      if (edit.get(key) !== expected.get(key)) t.fail(`the edit has ${key}`);
    }
    t.equal(edit.size, expected.size);
    versions.push([edit.done(), expected]);
  }
  for (const [map, model] of versions) {
    t.equal(map.size, model.size);
    t.strictSame(contentOf(map), Object.fromEntries([...model].sort()));
    for (const key of keys)
      if (map.get(key) !== model.get(key)) t.fail(`${key} is wrong`);
  }
  t.end();
});

void t.test("what is not changed is the same map", (t) => {
  const edit = new PersistentMap<number>().edit();
  edit.set("a", 1);
  const map = edit.done();
  t.equal(edit.done(), map);
  t.equal(map.edit().done(), map);
  const idle = map.edit();
  idle.delete("not there");
  t.equal(idle.done(), map);
  edit.set("b", 2);
  t.not(edit.done(), map, "an edit may go on");
  t.strictSame(contentOf(map), { a: 1 });
  t.end();
});

void t.test("any text is a key", (t) => {
  const edit = new PersistentMap<number>().edit();
  const keys = ["", "__proto__", "constructor", "ä", "a\0b", "x".repeat(1000)];
  for (const [index, key] of keys.entries()) edit.set(key, index);
  const map = edit.done();
  for (const [index, key] of keys.entries()) t.equal(map.get(key), index);
  t.equal(map.get("toString"), undefined);
  t.end();
});
