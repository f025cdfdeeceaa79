/** How late the event loop is: once, for good, and in the last minute. */
import t from "tap";
import {
  IN_A_ROW,
  LOOK_EVERY,
  LoopDelay,
} from "../../src/control-plane/loop-delay.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

/** A loop whose looks come late by what `late` says. */
function looked(late: readonly number[]): LoopDelay {
  const clock = fakeClock();
  let stood = 0;
  let look = (): void => undefined;
  const delay = new LoopDelay({
    now: () => clock.now() + stood,
    every(ms, run) {
      look = run;
      return clock.every(ms, () => undefined);
    },
  });
  for (const ms of late) {
    clock.advance(LOOK_EVERY);
    stood += ms;
    look();
  }
  return delay;
}

void t.test("a loop that has not been looked at is not late", (t) => {
  t.equal(looked([]).standing, 0);
  t.same(looked([]).delays(), { median: 0, p99: 0, most: 0 });
  t.end();
});

void t.test("a stall that is over is no standing delay", (t) => {
  t.equal(looked([5000]).standing, 0);
  t.equal(looked([0, 0, 5000]).standing, 0);
  t.equal(looked([5000, 5000, 0]).standing, 0);
  t.end();
});

void t.test("what is late at each look is late for good", (t) => {
  t.equal(IN_A_ROW, 3);
  t.equal(looked([0, 300, 250, 400]).standing, 250);
  t.equal(looked(Array.from({ length: 4000 }, () => 300)).standing, 300);
  t.end();
});

void t.test("the delays are of the last minute's looks", (t) => {
  const early = Array.from({ length: 3000 }, () => 9000);
  const late = Array.from({ length: 3000 }, (_, at) => at);
  t.same(looked([...early, ...late]).delays(), {
    median: 1500,
    p99: 2970,
    most: 2999,
  });
  t.same(looked([7]).delays(), { median: 7, p99: 7, most: 7 });
  t.end();
});

void t.test("a real clock's looks end when it is closed", (t) => {
  const clock = fakeClock();
  const delay = new LoopDelay(clock);
  clock.advance(LOOK_EVERY * 10);
  t.same(delay.delays(), { median: 0, p99: 0, most: 0 });
  delay.close();
  t.equal(clock.pending, 0);
  t.end();
});
