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
