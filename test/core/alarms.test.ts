// One timer for many times, by a clock that the test moves.
import t from "tap";
import { makeAlarms, type Alarmed } from "../../src/core/alarms.ts";
import type { Clock } from "../../src/core/clock.ts";
import { fakeClock } from "../support/fake-clock.ts";

/** Alarms that write down who was told, and how many timers they took. */
function rig() {
  const clock = fakeClock();
  const told: string[] = [];
  let timers = 0;
  const counted: Clock = {
    ...clock,
    after(ms, run) {
      timers += 1;
      return clock.after(ms, run);
    },
  };
  const alarms = makeAlarms(counted);
  const make = (name: string, then?: () => void): Alarmed => ({
    alarmAt: 0,
    alarmPlace: undefined,
    alarm() {
      told.push(name);
      then?.();
    },
  });
  return {
    clock,
    alarms,
    told,
    make,
    get timers() {
      return timers;
    },
  };
}

void t.test("each is told once, when its time has passed", (t) => {
  const { clock, alarms, told, make } = rig();
  const now = clock.now();
  alarms.set(make("third"), now + 300);
  alarms.set(make("first"), now + 100);
  alarms.set(make("second"), now + 200);
  for (const [at, expected] of [
    [99, []],
    [101, ["first"]],
    [199, ["first"]],
    [201, ["first", "second"]],
    [400, ["first", "second", "third"]],
    [10_000, ["first", "second", "third"]],
  ] as const) {
    clock.advance(now + at - clock.now());
    t.same(told, expected, `after ${at} ms`);
  }
  t.end();
});

void t.test("what is called off is not told, and set again it is", (t) => {
  const { clock, alarms, told, make } = rig();
  const now = clock.now();
  const [one, other, last] = [make("one"), make("other"), make("last")];
  alarms.set(one, now + 10);
  alarms.set(other, now + 10);
  alarms.set(last, now + 10);
  alarms.clear(one);
  alarms.clear(one);
  alarms.clear(make("never set"));
  clock.advance(20);
  t.same([...told].sort(), ["last", "other"]);
  alarms.set(one, now + 30);
  alarms.set(one, now + 50);
  clock.advance(20);
  t.equal(told.length, 2, "later than it was set before");
  clock.advance(15);
  t.same(told.slice(2), ["one"]);
  t.end();
});

void t.test("calls that are over in time share a timer", (t) => {
  const all = rig();
  const { clock, alarms, make } = all;
  const calls = Array.from({ length: 50 }, (_, index) => make(String(index)));
  for (let round = 0; round < 20; round += 1)
    for (const call of calls) {
      alarms.set(call, clock.now() + 15_000);
      clock.advance(1);
      alarms.clear(call);
    }
  t.equal(all.timers, 1);
  clock.advance(20_000);
  t.same(all.told, []);
  t.equal(all.timers, 1, "and none when nobody is left");
  t.end();
});

void t.test("who is told may call off others, and set more", (t) => {
  const { clock, alarms, told, make } = rig();
  const now = clock.now();
  const many = Array.from({ length: 9 }, (_, index) => make(`many ${index}`));
  const next = make("next");
  const spoiler = make("spoiler", () => {
    for (const one of many) alarms.clear(one);
    alarms.set(next, clock.now() + 5);
  });
  for (const one of many.slice(0, 4)) alarms.set(one, now + 50);
  alarms.set(spoiler, now + 10);
  for (const one of many.slice(4)) alarms.set(one, now + 50);
  clock.advance(12);
  t.same(told, ["spoiler"]);
  clock.advance(10);
  t.same(told, ["spoiler", "next"]);
  clock.advance(100);
  t.same(told, ["spoiler", "next"]);
  t.end();
});

void t.test(
  "thousands, each a little later than the other, are looked at now and then",
  (t) => {
    const all = rig();
    const { clock, alarms, told, make } = all;
    const now = clock.now();
    const count = 20_000;
    for (let index = 0; index < count; index += 1)
      alarms.set(make("late"), now + 100 + index / 20);
    for (let ms = 0; ms < 1200; ms += 1) clock.advance(1);
    t.equal(told.length, count);
    t.ok(all.timers < 300, `${all.timers} looks in a second`);
    t.end();
  },
);
