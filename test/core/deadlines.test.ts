// One timer for many times, by a clock that the test moves.
import t from "tap";
import { Deadlines, MOST_TOLD, type Timed } from "../../src/core/deadlines.ts";
import type { Clock } from "../../src/core/clock.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

/** Deadlines that write down who was told, and how many timers they took. */
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
  const deadlines = new Deadlines(counted);
  const make = (name: string, then?: () => void): Timed => ({
    dueAt: 0,
    dueSlot: undefined,
    due() {
      told.push(name);
      then?.();
    },
  });
  return {
    clock,
    deadlines,
    told,
    make,
    get timers() {
      return timers;
    },
  };
}

void t.test("each is told once, when its time has passed", (t) => {
  const { clock, deadlines, told, make } = rig();
  const now = clock.now();
  deadlines.set(make("third"), now + 300);
  deadlines.set(make("first"), now + 100);
  deadlines.set(make("second"), now + 200);
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

void t.test(
  "after a stall of the event loop, what has arrived is heard first",
  async (t) => {
    const clock = fakeClock();
    let stalled = 0;
    const deadlines = new Deadlines({
      ...clock,
      now: () => clock.now() + stalled,
    });
    const told: string[] = [];
    const make = (name: string): Timed => ({
      dueAt: 0,
      dueSlot: undefined,
      due: () => told.push(name),
    });
    const heard = make("heard");
    deadlines.set(heard, 100);
    deadlines.set(make("silent"), 100);
    deadlines.set(make("later"), 1000);
    stalled = 500;
    clock.advance(100);
    t.strictSame(told, []);
    deadlines.set(heard, 2000);
    await new Promise((resolve) => setImmediate(resolve));
    t.strictSame(told, ["silent"]);
    clock.advance(500);
    t.strictSame(told, ["silent", "later"]);
    deadlines.close();
  },
);

void t.test("of many that are due, few are told in one turn", (t) => {
  const all = rig();
  const { clock, deadlines, told, make } = all;
  const at = clock.now() + 100;
  for (let count = 0; count < 2.5 * MOST_TOLD; count += 1)
    deadlines.set(make(String(count)), at);
  const turns = all.timers;
  clock.advance(100);
  t.equal(told.length, 2.5 * MOST_TOLD);
  t.equal(new Set(told).size, told.length, "each once");
  t.equal(all.timers - turns, 2, "in three turns");
  t.end();
});

void t.test("of many that are due, some are called off by others", (t) => {
  const { clock, deadlines, told, make } = rig();
  const at = clock.now() + 100;
  const later = make("later");
  const never = make("never");
  deadlines.set(
    make("first", () => {
      deadlines.set(later, at + 50);
      deadlines.clear(never);
    }),
    at,
  );
  for (let count = 1; count < MOST_TOLD; count += 1)
    deadlines.set(make("other"), at);
  deadlines.set(later, at);
  deadlines.set(never, at);
  clock.advance(100);
  t.equal(told.length, MOST_TOLD);
  t.notOk(told.includes("later"));
  clock.advance(48);
  t.notOk(told.includes("later"));
  clock.advance(3);
  t.ok(told.includes("later"), "at the time to which it was put off");
  t.notOk(told.includes("never"));
  t.end();
});

void t.test("what is called off is not told, and set again it is", (t) => {
  const { clock, deadlines, told, make } = rig();
  const now = clock.now();
  const [one, other, last] = [make("one"), make("other"), make("last")];
  deadlines.set(one, now + 10);
  deadlines.set(other, now + 10);
  deadlines.set(last, now + 10);
  deadlines.clear(one);
  deadlines.clear(one);
  deadlines.clear(make("never set"));
  clock.advance(20);
  t.same([...told].sort(), ["last", "other"]);
  deadlines.set(one, now + 30);
  deadlines.set(one, now + 50);
  clock.advance(20);
  t.equal(told.length, 2, "later than it was set before");
  clock.advance(15);
  t.same(told.slice(2), ["one"]);
  t.end();
});

void t.test("calls that are over in time share a timer", (t) => {
  const all = rig();
  const { clock, deadlines, make } = all;
  const calls = Array.from({ length: 50 }, (_, index) => make(String(index)));
  for (let round = 0; round < 20; round += 1)
    for (const call of calls) {
      deadlines.set(call, clock.now() + 15_000);
      clock.advance(1);
      deadlines.clear(call);
    }
  t.equal(all.timers, 1);
  clock.advance(20_000);
  t.same(all.told, []);
  t.equal(all.timers, 1, "and none when nobody is left");
  t.end();
});

void t.test("who is told may call off others, and set more", (t) => {
  const { clock, deadlines, told, make } = rig();
  const now = clock.now();
  const many = Array.from({ length: 9 }, (_, index) => make(`many ${index}`));
  const next = make("next");
  const spoiler = make("spoiler", () => {
    for (const one of many) deadlines.clear(one);
    deadlines.set(next, clock.now() + 5);
  });
  for (const one of many.slice(0, 4)) deadlines.set(one, now + 50);
  deadlines.set(spoiler, now + 10);
  for (const one of many.slice(4)) deadlines.set(one, now + 50);
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
    const { clock, deadlines, told, make } = all;
    const now = clock.now();
    const count = 20_000;
    for (let index = 0; index < count; index += 1)
      deadlines.set(make("late"), now + 100 + index / 20);
    for (let ms = 0; ms < 1200; ms += 1) clock.advance(1);
    t.equal(told.length, count);
    const looks = all.timers - count / MOST_TOLD;
    t.ok(looks < 300, `${looks} looks in a second`);
    t.end();
  },
);

void t.test("with Infinity it is a member and never told", (t) => {
  const all = rig();
  const { clock, deadlines, told, make } = all;
  const [forever, now] = [make("forever"), make("now")];
  deadlines.set(forever, Infinity);
  deadlines.set(now, clock.now() + 10);
  t.same(deadlines.members, [forever, now]);
  clock.advance(1e9);
  t.same(told, ["now"]);
  t.same(deadlines.members, [forever]);
  t.equal(all.timers, 1);
  deadlines.set(forever, clock.now() + 5);
  clock.advance(5);
  t.same(told, ["now", "forever"]);
  t.end();
});

void t.test("what is told may be set again at once, like a tick", (t) => {
  const { clock, deadlines } = rig();
  const ticks: number[] = [];
  const tick: Timed = {
    dueAt: 0,
    dueSlot: undefined,
    due(now) {
      ticks.push(now);
      deadlines.set(tick, now + 100);
    },
  };
  deadlines.set(tick, clock.now() + 100);
  clock.advance(350);
  t.same(ticks, [100, 200, 300]);
  t.end();
});

void t.test("the last to leave takes the timer along", (t) => {
  const { clock, deadlines, make } = rig();
  const [one, other] = [make("one"), make("other")];
  deadlines.set(one, clock.now() + 10);
  deadlines.set(other, clock.now() + 20);
  deadlines.leave(one);
  t.equal(clock.pending, 1);
  deadlines.clear(other);
  t.equal(clock.pending, 1, "what may be set again leaves it be");
  deadlines.leave(other);
  t.equal(clock.pending, 0);
  t.end();
});

void t.test("close forgets all and the timer", (t) => {
  const { clock, deadlines, told, make } = rig();
  const one = make("one");
  deadlines.set(one, clock.now() + 10);
  deadlines.close();
  t.equal(clock.pending, 0);
  clock.advance(20);
  t.same(told, []);
  deadlines.clear(one);
  deadlines.set(one, clock.now() + 10);
  clock.advance(10);
  t.same(told, ["one"]);
  t.end();
});
