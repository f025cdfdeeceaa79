import t from "tap";
import { atOnce, inSlices, nextTurn } from "../../src/core/slices.ts";
import { fakeClock } from "../support/fake-clock.ts";

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
    t.equal(await inSlices(work(100, 0), clock), "100 steps");
    t.equal(turns, 0, "it took no time");
    t.equal(await inSlices(work(100, 0.5), clock), "100 steps");
    t.equal(turns, 25, "a turn after each 2 ms");
    turns = 0;
    t.equal(atOnce(work(100, 5)), "100 steps");
    t.equal(turns, 0);
    await nextTurn();
    t.ok(turns > 0);
    clearImmediate(handle);
  },
);

void t.test("what it throws is thrown", async (t) => {
  // eslint-disable-next-line require-yield
  function* work(): Generator<undefined, void> {
    throw new Error("no");
  }
  await t.rejects(inSlices(work(), fakeClock()), { message: "no" });
  t.throws(
    () => {
      atOnce(work());
    },
    { message: "no" },
  );
});
