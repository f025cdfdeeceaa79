import t from "tap";
import { deepFreeze } from "../../src/core/frozen.ts";

void t.test("nothing in it can be changed", (t) => {
  const data = { list: [{ a: 1 }], text: "x", none: null, more: { b: {} } };
  t.equal(deepFreeze(data), data);
  t.throws(() => Object.assign(data, { text: "y" }), TypeError);
  t.throws(() => data.list.push({ a: 2 }), TypeError);
  t.throws(() => Object.assign(data.list[0] ?? {}, { a: 2 }), TypeError);
  t.throws(() => Object.assign(data.more.b, { c: 1 }), TypeError);
  t.equal(deepFreeze(data), data, "once more");
  t.end();
});
