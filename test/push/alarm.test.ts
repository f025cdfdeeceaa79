import t from "tap";
import { alarm } from "../../src/push/alarm.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const DAY = 86_400_000;

void t.test("an alarm rings at its date, once, however far that is", (t) => {
  const clock = fakeClock();
  let rung = 0;
  alarm(clock, clock.wall() + 60 * DAY, () => (rung += 1));
  clock.advance(60 * DAY - 1);
  t.equal(rung, 0);
  clock.advance(1);
  t.equal(rung, 1);
  clock.advance(DAY);
  t.equal(rung, 1);
  t.equal(clock.pending, 0);
  t.end();
});

void t.test(
  "a date in the past rings soon, and not before the call returns",
  (t) => {
    const clock = fakeClock();
    let rung = 0;
    alarm(clock, clock.wall() - DAY, () => (rung += 1));
    t.equal(rung, 0);
    clock.advance(0);
    t.equal(rung, 1);
    t.end();
  },
);

void t.test("a cancelled alarm never rings", (t) => {
  const clock = fakeClock();
  const cancel = alarm(clock, clock.wall() + DAY, () => t.fail("it rang"));
  clock.advance(DAY / 2);
  cancel();
  clock.advance(DAY);
  t.equal(clock.pending, 0);
  t.end();
});
