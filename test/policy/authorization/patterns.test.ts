/** Many patterns beside one after the other. */
import t from "tap";
import {
  anyOf,
  matchText,
} from "../../../src/policy/authorization/patterns.ts";
import { dice, seeded } from "../../support/resources/random-policy.ts";

const SEED = 1;

void t.test("many patterns take what one of them takes", (t) => {
  const { pick, upTo } = dice(seeded(SEED));
  const word = (most: number): string =>
    Array.from({ length: upTo(most) }, () => pick(["a", "b"])).join("");
  const pattern = (): string =>
    pick([() => word(4) || "a", () => `${word(3)}*`, () => `*${word(3)}`])();
  for (let round = 0; round < 300; round += 1) {
    const patterns = Array.from({ length: upTo(20) }, () =>
      matchText(pattern()),
    );
    const takes = anyOf(patterns);
    for (let asked = 0; asked < 20; asked += 1) {
      const value = word(5);
      const expected = patterns.some(({ meets }) => meets(value));
      if (takes(value) !== expected) t.equal(takes(value), expected, value);
    }
  }
  t.pass("all of them");
  t.end();
});
