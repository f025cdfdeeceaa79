import t from "tap";
import { SlotMap } from "../../src/core/slot-map.ts";
import { seeded } from "../support/resources/random-policy.ts";

interface Value {
  readonly slot: number;
  readonly text: string;
}

function mapOf(values: Iterable<Value>): SlotMap<Value> {
  let map = SlotMap.empty<Value>();
  for (const value of values) map = map.with(value);
  return map;
}

function contents(map: SlotMap<Value>): [number, string][] {
  return map
    .values()
    .map(({ slot, text }): [number, string] => [slot, text])
    .sort(([a], [b]) => a - b);
}

void t.test("a map and its next versions, which leave it as it was", (t) => {
  const one = { slot: 1, text: "one" };
  const first = mapOf([one, { slot: 33, text: "other" }]);
  const second = first.with({ slot: 1, text: "uno" });
  const third = second.without(33);
  t.same(contents(first), [
    [1, "one"],
    [33, "other"],
  ]);
  t.same(contents(second), [
    [1, "uno"],
    [33, "other"],
  ]);
  t.same(contents(third), [[1, "uno"]]);
  t.same([first.size, second.size, third.size], [2, 2, 1]);
  t.equal(first.get(1), one);
  t.equal(first.get(65), undefined, "which begins with the same bits");
  t.equal(first.with(one), first, "what is there changes nothing");
  t.equal(first.without(65), first);
  t.end();
});

void t.test("slots up to the last of 32 bits stay apart", (t) => {
  const slots = [0, 1, 2 ** 30, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1];
  const map = mapOf(slots.map((slot) => ({ slot, text: String(slot) })));
  t.same(
    slots.map((slot) => map.get(slot)?.text),
    slots.map(String),
  );
  t.equal(map.size, slots.length);
  t.end();
});

void t.test(
  "random histories: each version is as a Map would have it, and two compare as two Maps do",
  (t) => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const draw = seeded(seed);
      const most = seed % 2 === 0 ? 40 : 4000;
      const model = new Map<number, Value>();
      const versions: [SlotMap<Value>, Map<number, Value>][] = [];
      let map = SlotMap.empty<Value>();
      for (let step = 0; step < 200; step += 1) {
        const slot = Math.floor(draw() * most);
        if (draw() < 0.6) {
          const value = { slot, text: `${step}` };
          model.set(slot, value);
          map = map.with(value);
        } else {
          model.delete(slot);
          map = map.without(slot);
        }
        versions.push([map, new Map(model)]);
      }
      for (const [version, wanted] of versions)
        if (
          version.size !== wanted.size ||
          version.values().some((value) => wanted.get(value.slot) !== value)
        )
          t.fail(`seed ${seed}: a version is not what it was`);
      for (let pair = 0; pair < 50; pair += 1) {
        const pick = (): [SlotMap<Value>, Map<number, Value>] =>
          versions[Math.floor(draw() * versions.length)] ?? [map, model];
        const [[before, had], [after, has]] = [pick(), pick()];
        const found: string[] = [];
        SlotMap.compare(before, after, (left, right) =>
          found.push(
            `${left?.slot ?? right?.slot} ${left?.text} ${right?.text}`,
          ),
        );
        const wanted: string[] = [];
        for (const slot of new Set([...had.keys(), ...has.keys()]))
          if (had.get(slot) !== has.get(slot))
            wanted.push(
              `${slot} ${had.get(slot)?.text} ${has.get(slot)?.text}`,
            );
        if (found.sort().join() !== wanted.sort().join())
          t.same(found, wanted, `seed ${seed}`);
      }
    }
    t.pass("all are the same");
    t.end();
  },
);

void t.test("what two versions share is not looked at", (t) => {
  let map = SlotMap.empty<Value>();
  for (let slot = 0; slot < 10_000; slot += 1)
    map = map.with({ slot, text: "" });
  let reads = 0;
  const watched = {
    get slot() {
      reads += 1;
      return 7777;
    },
    text: "new",
  };
  const next = map.with(watched);
  const seen: unknown[] = [];
  reads = 0;
  SlotMap.compare(map, next, (before, after) =>
    seen.push([before?.slot, after?.text]),
  );
  t.same(seen, [[7777, "new"]]);
  t.ok(reads <= 2, "the path to it alone");
  t.end();
});
