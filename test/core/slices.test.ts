import t from "tap";
import {
  atOnce,
  filterSteps,
  inSlices,
  nextTurn,
  pauses,
  sortSteps,
} from "../../src/core/slices.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { dice, seeded } from "../support/resources/random-policy.ts";

void t.test(
  "long work lets others go first, and short work does not wait",
  async (t) => {
    const clock = fakeClock();
    let turns = 0;
    const count = (): void => {
      turns += 1;
      handle = setImmediate(count);
    };
    let handle = setImmediate(count);
    function* work(steps: number, ms: number): Generator<undefined, string> {
      for (let step = 0; step < steps; step += 1) {
        clock.advance(ms);
        yield;
      }
      return `${steps} steps`;
    }
    t.equal(await inSlices(work(100, 0), pauses(clock)), "100 steps");
    t.equal(turns, 0, "it took no time");
    t.equal(await inSlices(work(100, 0.5), pauses(clock)), "100 steps");
    t.equal(turns, 25, "a turn after each 2 ms");
    turns = 0;
    const pause = pauses(clock);
    for (let works = 0; works < 8; works += 1)
      await inSlices(work(2, 0.5), pause);
    t.equal(turns, 4, "works that follow each other share their slices");
    turns = 0;
    t.equal(atOnce(work(100, 5)), "100 steps");
    t.equal(turns, 0);
    await nextTurn();
    t.ok(turns > 0);
    clearImmediate(handle);
  },
);

void t.test("what it throws is thrown", async (t) => {
  // oxlint-disable-next-line require-yield
  function* work(): Generator<undefined, void> {
    throw new Error("no");
  }
  await t.rejects(inSlices(work(), pauses(fakeClock())), { message: "no" });
  t.throws(
    () => {
      atOnce(work());
    },
    { message: "no" },
  );
});

void t.test("a list is filtered some hundreds of items a step", (t) => {
  for (const length of [0, 1, 255, 256, 257, 3000]) {
    const items = Array.from({ length }, (_, at) =>
      at % 3 === 0 ? `${at}` : at,
    );
    let looked = 0;
    let most = 0;
    const filtering = filterSteps(items, (item) => {
      looked += 1;
      return typeof item === "string";
    });
    let step = filtering.next();
    for (; step.done !== true; step = filtering.next()) {
      most = Math.max(most, looked);
      looked = 0;
    }
    t.strictSame(
      step.value,
      items.filter((item) => typeof item === "string"),
    );
    t.ok(Math.max(most, looked) <= 256, `${most} of ${length} in one step`);
  }
  t.end();
});

interface Item {
  readonly rank: number;
  readonly at: number;
}

const byRank = (left: Item, right: Item): number => left.rank - right.rank;

void t.test("a list is sorted as by `sort`, equals in their order", (t) => {
  const { upTo } = dice(seeded(3));
  for (const length of [0, 1, 2, 255, 256, 257, 513, 3000])
    for (const ranks of [2, 50, 100_000]) {
      const items = Array.from({ length }, (_, at) => ({
        rank: upTo(ranks),
        at,
      }));
      const before = [...items];
      t.strictSame(atOnce(sortSteps(items, byRank)), items.toSorted(byRank));
      t.strictSame(items, before, "the list itself stays");
    }
  t.end();
});

void t.test("no step compares more than a few thousand times", (t) => {
  const { upTo } = dice(seeded(4));
  for (const rank of [upTo, (at: number) => at, (at: number) => -at]) {
    const items = Array.from({ length: 20_000 }, (_, at) => ({
      rank: rank(at),
      at,
    }));
    let compared = 0;
    let most = 0;
    const sorting = sortSteps(items, (left, right) => {
      compared += 1;
      return byRank(left, right);
    });
    for (let step = sorting.next(); step.done !== true; step = sorting.next()) {
      most = Math.max(most, compared);
      compared = 0;
    }
    t.ok(most < 3000, `${most} comparisons`);
  }
  t.end();
});
