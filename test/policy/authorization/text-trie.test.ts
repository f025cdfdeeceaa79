/** The trie finds what a scan over all of its texts finds. */
import t from "tap";
import { TextTrie } from "../../../src/policy/authorization/text-trie.ts";
import { dice, seeded } from "../../support/resources/random-policy.ts";

const SEED = 1;

void t.test(
  "a trie finds each text that a value begins or ends with, the shortest first",
  (t) => {
    const draw = seeded(SEED);
    const { pick, upTo } = dice(draw);
    const text = (most: number): string =>
      Array.from({ length: upTo(most) }, () => pick(["a", "b", "/"])).join("");
    for (const direction of ["beginnings", "ends"] as const)
      for (let round = 0; round < 200; round += 1) {
        const trie = new TextTrie<string>(direction);
        const texts = new Set(
          Array.from({ length: 1 + upTo(30) }, () => text(6)),
        );
        for (const each of texts) trie.add(each, each);
        for (let asked = 0; asked < 20; asked += 1) {
          const value = text(9);
          const found: (readonly string[])[] = [];
          trie.collect(value, found);
          const expected = [...texts]
            .filter((each) =>
              direction === "beginnings"
                ? value.startsWith(each)
                : value.endsWith(each),
            )
            .sort((left, right) => left.length - right.length);
          if (JSON.stringify(found.flat()) !== JSON.stringify(expected))
            t.strictSame(
              found.flat(),
              expected,
              `${direction} of ${value} among ${[...texts].join(" ")}`,
            );
        }
      }
    t.pass("all of them");
    t.end();
  },
);
