import fc from "fast-check";
import t from "tap";
import { StreamTable } from "../../../../src/wire/http2/streams/stream-table.ts";

/** The table looks at nothing but the id. */
interface Numbered {
  readonly id: number;
}

void t.test("holds what a Map would hold, whatever comes and goes", (t) => {
  // Few different homes, so that streams collide and holes are filled; ids far apart, as of one that stays open for hours.
  const ids = fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 40 }).map((each) => each * 64),
    fc.integer({ min: 0, max: 2 ** 30 - 1 }),
  );
  const steps = fc.array(
    fc.record({ id: ids.map((each) => each * 2 + 1), remove: fc.boolean() }),
    { maxLength: 300 },
  );
  fc.assert(
    fc.property(steps, (each) => {
      const table = new StreamTable<Numbered>();
      const map = new Map<number, Numbered>();
      for (const { id, remove } of each) {
        if (remove) {
          table.delete(id);
          map.delete(id);
        } else {
          const stream = { id };
          table.set(id, stream);
          map.set(id, stream);
        }
      }
      if (table.size !== map.size) return false;
      for (const { id } of each)
        if (table.get(id) !== map.get(id)) return false;
      return new Set(table.values()).size === map.size;
    }),
  );
  t.pass();
  t.end();
});

void t.test("clear leaves nothing, and values are those of the moment", (t) => {
  const table = new StreamTable<Numbered>();
  for (let id = 1; id < 200; id += 2) table.set(id, { id });
  const before = table.values();
  t.equal(before.length, 100);
  table.clear();
  t.equal(table.size, 0);
  t.equal(table.get(1), undefined);
  t.equal(before.length, 100);
  t.end();
});
