/** How long the silences of a connection usually are. */
import t from "tap";
import { UsualSilence } from "../../../../src/proxy/upstream/pool/usual-silence.ts";

function after(
  ...silences: readonly (readonly [looks: number, times: number])[]
): number {
  const usual = new UsualSilence(10);
  for (const [looks, times] of silences)
    for (let count = 0; count < times; count += 1) usual.add(looks);
  return usual.longest;
}

void t.test("99 of 100 silences are no longer", (t) => {
  t.equal(after(), 0, "nothing is known");
  t.equal(after([3, 1]), 0, "one may be chance");
  t.equal(after([3, 2]), 3, "two are not");
  t.equal(after([0, 298], [5, 4]), 0);
  t.equal(after([0, 298], [5, 5]), 5);
  t.equal(after([0, 100], [2, 100], [9, 3]), 2);
  t.equal(after([500, 10]), 10, "what is longer than the most counts as that");
  t.end();
});

void t.test("what was long ago weighs less and less", (t) => {
  t.equal(after([8, 100], [0, 100]), 8);
  t.equal(after([8, 100], [0, 3000]), 0);
  t.end();
});
