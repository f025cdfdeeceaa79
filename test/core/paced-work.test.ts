/** Work at a pace: unpaced until there is somebody to hold up, then a burst, then a share. */
import t from "tap";
import {
  PacedWork,
  WORK_BURST,
  WORK_SHARE,
} from "../../src/core/paced-work.ts";
import type { Steps } from "../../src/core/slices.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

/** A clock and a counter of CPU that move together, and steps that move them. */
function machine() {
  const clock = fakeClock();
  let cpu = 0;
  let steps = 0;
  return {
    clock,
    work: new PacedWork({ clock, cpu: () => cpu }),
    /** Steps of so many milliseconds each. */
    *of(count: number, ms = 1): Steps<string> {
      for (let step = 0; step < count; step += 1) {
        clock.advance(ms);
        cpu += ms;
        steps += 1;
        yield;
      }
      return "done";
    },
    get cpu() {
      return cpu;
    },
    get steps() {
      return steps;
    },
    /** Lets time pass, a millisecond and a turn after the other. */
    async pass(ms: number): Promise<void> {
      for (let passed = 0; passed < ms; passed += 1) {
        clock.advance(1);
        await new Promise((resolve) => void setImmediate(resolve));
      }
    },
  };
}

void t.test("before anybody is served it waits for turns alone", async (t) => {
  const eager = machine();
  t.equal(await eager.work.run(eager.of(10_000)), "done");
  t.equal(eager.clock.pending, 0);
});

void t.test("after that a burst is spent, and then a share", async (t) => {
  const paced = machine();
  paced.work.begin();
  void paced.work.run(paced.of(1_000_000));
  await paced.pass(20_000);
  const burst = paced.cpu;
  t.ok(burst <= WORK_BURST, `${burst} ms of the burst`);
  const from = { cpu: paced.cpu, now: paced.clock.now() };
  await paced.pass(20_000);
  const share = (paced.cpu - from.cpu) / (paced.clock.now() - from.now);
  t.ok(share <= WORK_SHARE, `${share} of the time`);
  t.ok(share >= WORK_SHARE / 10, "and it goes on");
});

void t.test("a burst begins at a pace of its own", async (t) => {
  const paced = machine();
  paced.work.begin();
  void paced.work.run(paced.of(1_000_000));
  const taken: number[] = [];
  for (let count = 0; count < 2; count += 1) {
    const from = paced.cpu;
    // The steps move the clock as well.
    await paced.pass(300);
    taken.push(paced.cpu - from);
  }
  const [first = 0, then = 0] = taken;
  t.ok(first >= 75, `${first} ms of CPU at first`);
  t.ok(then <= first / 2 && then >= 25, `${then} ms after it`);
});

void t.test("what holds the thread for long is rarer for it", async (t) => {
  const short = machine();
  const long = machine();
  for (const { work } of [short, long]) {
    work.begin();
    for (let spent = 0; spent < WORK_BURST / 3; spent += 1) work.spend(1);
  }
  void short.work.run(short.of(1_000_000));
  void long.work.run(long.of(1_000_000, 100));
  await short.pass(60_000);
  await long.pass(60_000);
  t.ok(short.steps > 1000, `${short.steps} steps of 1 ms`);
  t.ok(long.steps <= 2, `${long.steps} steps of 100 ms`);
});

void t.test("what fails is thrown, and the next work runs", async (t) => {
  const one = machine();
  const { work } = one;
  function* failing(): Steps<void> {
    yield;
    throw new Error("no");
  }
  await t.rejects(work.run(failing()), { message: "no" });
  t.equal(await work.run(one.of(1)), "done");
});

void t.test(
  "what comes bit by bit waits as well, and no longer than it may",
  async (t) => {
    const one = machine();
    const { work, clock } = one;
    let done = 0;
    const step = (longest: number): void =>
      void work
        .step(() => one.of(2).next(), longest)
        .then(() => {
          done += 1;
        });
    step(0);
    await one.pass(1);
    t.equal(done, 1, "unpaced it waits for nothing");
    work.begin();
    work.spend(WORK_BURST);
    step(250);
    await one.pass(249);
    t.equal(done, 1);
    // A pause that is due comes besides.
    await one.pass(15);
    t.equal(done, 2, "though the budget is spent");
    step(Infinity);
    await one.pass(10_000);
    t.equal(done, 2);
    t.equal(clock.pending, 1);
  },
);

void t.test(
  "steps that hold the thread leave a pause after them",
  async (t) => {
    const one = machine();
    one.work.begin();
    let done = 0;
    const run = async (): Promise<void> => {
      for (; done < 10; done += 1)
        await one.work.step(() => one.of(1).next(), Infinity);
    };
    void run();
    await one.pass(15);
    t.ok(done >= 2 && done < 10, `${done} in 15 ms of 10 ms of work`);
    await one.pass(60);
    t.equal(done, 10);
  },
);
