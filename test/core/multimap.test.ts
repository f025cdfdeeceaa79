import t from "tap";
import { Multimap } from "../../src/core/multimap.ts";

void t.test("values under a key, until the last one goes", (t) => {
  const map = new Multimap<string, number>();
  t.same([...map.get("a")], []);
  map.add("a", 1);
  map.add("a", 1);
  map.add("a", 2);
  map.add("b", 3);
  t.same([...map.get("a")], [1, 2]);
  map.delete("a", 1);
  map.delete("a", 9);
  map.delete("c", 9);
  t.same([...map.get("a")], [2]);
  map.delete("a", 2);
  t.same([...map.keys()], ["b"]);
  t.end();
});

void t.test("what was given out does not lose what is deleted", (t) => {
  const map = new Multimap<string, number>();
  map.add("a", 1);
  map.add("a", 2);
  map.delete("a", 2);
  t.same([...map.get("a")], [1], "one is left");
  const one = map.get("a");
  map.add("a", 3);
  map.delete("a", 1);
  t.same([...one], [1]);
  t.same([...map.get("a")], [3]);
  map.delete("a", 3);
  t.same([...map.get("a")], []);
  t.same([...map.keys()], []);
  t.end();
});

void t.test("values that are sets themselves", (t) => {
  const map = new Multimap<string, Set<number>>();
  const value = new Set([1, 2]);
  map.add("a", value);
  t.equal([...map.get("a")][0], value);
  t.equal(map.get("a").size, 1);
  map.delete("a", value);
  t.equal(map.get("a").size, 0);
  t.end();
});
