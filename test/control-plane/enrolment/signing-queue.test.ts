/** Many signatures at once are bounded in number and in time. */
import t from "tap";
import { SigningQueue } from "../../../src/control-plane/enrolment/signing-queue.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { nextTurn } from "../../../src/core/slices.ts";

interface Signing {
  readonly signal: AbortSignal;
  readonly done: (value: string) => void;
  readonly failed: (reason: Error) => void;
}

/** A queue whose signatures end when the test says so. */
function rig(limits: { atOnce: number; waiting: number }): {
  readonly clock: ReturnType<typeof fakeClock>;
  readonly signings: Signing[];
  readonly ask: () => Promise<string>;
} {
  const clock = fakeClock();
  const queue = new SigningQueue(clock, { ...limits, timeout: 10_000 });
  const signings: Signing[] = [];
  return {
    clock,
    signings,
    ask: () =>
      queue.run(
        (signal) =>
          new Promise<string>((done, failed) => {
            signings.push({ signal, done, failed });
          }),
      ),
  };
}

void t.test(
  "of a thousand at once a few are signed at a time, and all of them in the end",
  async (t) => {
    const { ask, signings, clock } = rig({ atOnce: 16, waiting: 2000 });
    const asked = Promise.allSettled(Array.from({ length: 1000 }, ask));
    let most = 0;
    for (let ended = 0; ended < 1000; ended += 1) {
      await nextTurn();
      most = Math.max(most, signings.length - ended);
      // Also those that fail give their place on.
      if (ended % 10 === 9) signings[ended]?.failed(new Error("not this one"));
      else signings[ended]?.done(`${ended}`);
    }
    const results = await asked;
    t.equal(most, 16);
    t.equal(results.filter((each) => each.status === "rejected").length, 100);
    t.same(results[10], { status: "fulfilled", value: "10" }, "in their order");
    t.equal(clock.pending, 0);
  },
);

void t.test("what is too much is refused at once", async (t) => {
  const { ask, signings } = rig({ atOnce: 1, waiting: 2 });
  const asked = [ask(), ask(), ask()];
  await t.rejects(ask(), { message: /2 signatures are waited for already/ });
  for (const each of [0, 1, 2]) {
    await nextTurn();
    signings[each]?.done("signed");
  }
  t.same(await Promise.all(asked), ["signed", "signed", "signed"]);
});

void t.test(
  "what takes too long is ended, and takes no place from the next",
  async (t) => {
    const { ask, signings, clock } = rig({ atOnce: 1, waiting: 2 });
    const slow = [ask(), ask()];
    await nextTurn();
    clock.advance(10_000);
    for (const each of await Promise.allSettled(slow))
      t.match(each, { reason: { message: /was not signed within 10 s/ } });
    t.equal(signings[0]?.signal.aborted, true, "its work is ended");
    // It comes to nothing after all: nobody hears of it.
    signings[0]?.failed(new Error("late"));
    const next = ask();
    await nextTurn();
    t.equal(signings.length, 2, "the one that waited was never begun");
    signings[1]?.done("signed");
    t.equal(await next, "signed");
    t.equal(clock.pending, 0);
  },
);
