import t from "tap";
import { memo } from "../../src/core/memo.ts";

void t.test(
  "a text is worked out once, also where the result is undefined",
  (t) => {
    const asked: string[] = [];
    const length = memo((text) => {
      asked.push(text);
      return text === "" ? undefined : text.length;
    });
    t.same(
      [length("abc"), length("abc"), length(""), length("")],
      [3, 3, undefined, undefined],
    );
    t.same(asked, ["abc", ""]);
    t.end();
  },
);

void t.test(
  "long texts are not kept, and no more entries than allowed",
  (t) => {
    let computed = 0;
    const count = memo(
      (text) => {
        computed += 1;
        return text;
      },
      { entries: 2, longest: 3 },
    );
    for (const text of ["long", "long", "a", "b", "a", "b"]) count(text);
    t.equal(computed, 4, "the long one twice, the others once");
    count("c");
    count("a");
    t.equal(computed, 6, "the third made room by forgetting the two before it");
    t.end();
  },
);

void t.test("what no UTF-8 can hold is still worked out right", (t) => {
  const code = memo((text) => text.length);
  t.equal(code("\ud800"), 1);
  t.equal(code("\ud800"), 1);
  t.end();
});
