/** A clock that jumps is noticed within a second; one that is slewed, and time that goes by, are not jumps. */
import t from "tap";
import { JUMP, watchJumps } from "../../src/core/clock.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

void t.test("what is a jump", (t) => {
  const clock = fakeClock();
  const jumps: number[] = [];
  const stop = watchJumps(clock, (ms) => jumps.push(ms));
  clock.advance(3_600_000);
  t.same(jumps, [], "time goes by");
  for (let second = 0; second < 60; second += 1) {
    clock.jump(JUMP / 10);
    clock.advance(1000);
  }
  t.same(jumps, [], "half a second a second");
  for (const ms of [JUMP, -JUMP, 100_000, -90_000_000]) {
    clock.jump(ms);
    clock.advance(1000);
    t.equal(jumps.pop(), ms);
    clock.advance(10_000);
    t.same(jumps, [], "once");
  }
  stop();
  t.equal(clock.pending, 0);
  t.end();
});
