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

void t.test("a map tells what makes it of an older one", (t) => {
  const { pick, upTo, chance } = dice(seeded(8));
  const keys = Array.from({ length: 2000 }, (_none, index) => `key-${index}`);
  const versions = [new PersistentMap<number>()];
  for (let round = 0; round < 30; round += 1) {
    const edit = pick(versions).edit();
    for (let count = upTo(200); count > 0; count -= 1)
      if (chance(0.3)) edit.delete(pick(keys));
      else edit.set(pick(keys), upTo(3));
    versions.push(edit.done());
  }
  for (const before of versions)
    for (const after of versions) {
      const expected = keys
        .filter((key) => before.get(key) !== after.get(key))
        .map((key) => `${key}: ${before.get(key)} → ${after.get(key)}`);
      const found = [...after.since(before)].map(
        (each) => `${each.key}: ${each.before} → ${each.after}`,
      );
      t.equal(found.sort().join("\n"), expected.sort().join("\n"));
    }
  t.end();
});

void t.test("it is read as any other map", (t) => {
  const edit = new PersistentMap<number>().edit();
  const model = new Map<string, number>();
  for (let index = 0; index < 300; index += 1) {
    edit.set(`key-${index}`, index);
    model.set(`key-${index}`, index);
  }
  const map: ReadonlyMap<string, number> = edit.done();
  const seen = new Map<string, number>();
  map.forEach((value, key, all) => {
    t.equal(all, map);
    seen.set(key, value);
  });
  t.strictSame([...seen].sort(), [...model].sort());
  t.strictSame([...map].sort(), [...model].sort());
  t.strictSame([...map.keys()].sort(), [...model.keys()].sort());
  t.strictSame([...map.values()].sort(), [...model.values()].sort());
  t.ok(map.has("key-7"));
  t.notOk(map.has("key-300"));
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
