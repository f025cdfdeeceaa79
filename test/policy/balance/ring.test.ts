// Consistent hashing: who gets which requests, and what moves when one leaves.
import t from "tap";
import { newLoad } from "../../../src/policy/balance/algorithm.ts";
import {
  hashedChoice,
  type HashedMember,
} from "../../../src/policy/balance/hashed.ts";
import {
  hashText,
  makeRing,
  placeOf,
} from "../../../src/policy/balance/ring.ts";

const HASHES = Array.from({ length: 20_000 }, (_, index) =>
  hashText(`user-${index}`),
);

function member(key: string, weight = 1): HashedMember {
  return { key, weight, load: newLoad(30, 0, 0), open: true };
}

const members = (count: number): HashedMember[] =>
  Array.from({ length: count }, (_, index) => member(`m${index}`));

function owners(
  of: readonly HashedMember[],
  factor = 0,
): (string | undefined)[] {
  const choice = hashedChoice(of, factor);
  const open = of.filter((each) => each.open);
  return HASHES.map((hash) => choice.choose(hash, open, undefined)?.key);
}

function share(of: readonly (string | undefined)[], key: string): number {
  return of.filter((each) => each === key).length / of.length;
}

void t.test("hashes of like texts are far apart", (t) => {
  const high = new Set(HASHES.map((hash) => hash >>> 24));
  const low = new Set(HASHES.map((hash) => hash & 0xff));
  t.equal(high.size, 256);
  t.equal(low.size, 256);
  t.equal(hashText(""), hashText(""));
  t.end();
});

void t.test("a hash beyond the last place belongs to the first", (t) => {
  const ring = makeRing(members(3));
  t.ok(ring.places.length >= 700);
  t.equal(placeOf(ring, 0xffffffff), 0);
  t.equal(placeOf(ring, 0), 0);
  const middle = ring.places[500] ?? 0;
  t.equal(placeOf(ring, middle), 500);
  t.end();
});

void t.test("each gets its share, by weight", (t) => {
  const even = owners(members(5));
  for (const { key } of members(5))
    t.ok(Math.abs(share(even, key) - 0.2) < 0.06, `${key} ${share(even, key)}`);
  const weighted = owners([member("a", 3), member("b", 1)]);
  t.ok(Math.abs(share(weighted, "a") - 0.75) < 0.08);
  t.end();
});

void t.test("the order in which members are named does not matter", (t) => {
  t.strictSame(owners(members(5)), owners(members(5).reverse()));
  t.end();
});

void t.test(
  "where one leaves, only its own requests move; where it comes back, they return",
  (t) => {
    const all = members(5);
    const before = owners(all);
    const after = owners(all.filter(({ key }) => key !== "m2"));
    for (const [index, owner] of before.entries())
      if (owner !== "m2" && after[index] !== owner)
        t.fail("moved without need");
    t.notOk(after.includes("m2"));
    const out = all[2];
    if (out !== undefined) out.open = false;
    t.strictSame(owners(all), after, "an ejected one as one that is gone");
    t.end();
  },
);

void t.test(
  "one that was tried is passed over, and taken where there is no other",
  (t) => {
    const all = members(3);
    const choice = hashedChoice(all, 0);
    const [hash = 0] = HASHES;
    const first = choice.choose(hash, all, undefined)?.key ?? "";
    const second = choice.choose(hash, all, new Set([first]))?.key ?? "";
    t.not(second, first);
    t.equal(choice.choose(hash, all, new Set(["m0", "m1", "m2"]))?.key, first);
    for (const each of all) each.open = false;
    t.equal(choice.choose(hash, [], undefined), undefined);
    t.end();
  },
);

void t.test(
  "with a bound, a hot key's requests spill over to the next ones",
  (t) => {
    const all = members(4);
    const choice = hashedChoice(all, 125);
    const [hash = 0] = HASHES;
    for (let index = 0; index < 40; index += 1) {
      const picked = choice.choose(hash, all, undefined);
      if (picked !== undefined) picked.load.inflight += 1;
    }
    const loads = all.map(({ load }) => load.inflight);
    t.equal(Math.max(...loads), 13, "1.25 of the average of 41 over four");
    t.equal(
      loads.reduce((sum, each) => sum + each, 0),
      40,
    );
    t.end();
  },
);
