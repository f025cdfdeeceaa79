/** Work that is asked for too often is done a tenth of the time at most, and nobody gets what was made before the question. */
import t from "tap";
import { sparing } from "../../../src/sidecar/admin/sparing.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const turn = (): Promise<void> =>
  new Promise((resolve) => void setImmediate(resolve));

void t.test("those who ask together share one run", async (t) => {
  let runs = 0;
  const ask = sparing(fakeClock(), () => ++runs);
  t.strictSame(await Promise.all([ask(), ask(), ask()]), [1, 1, 1]);
  t.equal(await ask(), 2, "who asks later gets one of its own");
});

void t.test("after a run of 10 ms there is none for 90 ms", async (t) => {
  const clock = fakeClock();
  let runs = 0;
  const ask = sparing(clock, () => {
    clock.advance(10);
    return ++runs;
  });
  t.equal(await ask(), 1);
  const second = ask();
  const third = ask();
  await turn();
  clock.advance(89);
  await turn();
  t.equal(runs, 1);
  clock.advance(1);
  t.strictSame(await Promise.all([second, third]), [2, 2]);
});

void t.test(
  "a run that takes long is followed by a second of rest",
  async (t) => {
    const clock = fakeClock();
    const ask = sparing(clock, () => clock.advance(5000));
    await ask();
    const second = ask();
    await turn();
    clock.advance(1000);
    await second;
    t.pass("it came");
  },
);

void t.test(
  "who asks while a run is on gets the next one, which waits for it",
  async (t) => {
    const ends: ((value: number) => void)[] = [];
    const ask = sparing(
      fakeClock(),
      () => new Promise<number>((resolve) => void ends.push(resolve)),
    );
    const first = ask();
    await turn();
    const second = ask();
    await turn();
    t.equal(ends.length, 1);
    ends[0]?.(1);
    t.equal(await first, 1);
    await turn();
    t.equal(ends.length, 2);
    ends[1]?.(2);
    t.equal(await second, 2);
  },
);

void t.test(
  "a run that fails fails for those who wait for it alone",
  async (t) => {
    let runs = 0;
    const ask = sparing(fakeClock(), () => {
      runs += 1;
      if (runs === 1) throw new Error("not now");
      return runs;
    });
    await t.rejects(ask(), { message: "not now" });
    t.equal(await ask(), 2);
  },
);
