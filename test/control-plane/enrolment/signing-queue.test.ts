/** Many signatures at once are bounded in number and in time. */
import t from "tap";
import { SigningQueue } from "../../../src/control-plane/enrolment/signing-queue.ts";
import { makeControlPlaneMeters } from "../../../src/control-plane/meters.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
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
  readonly ask: (asker?: string) => Promise<string>;
  /** Issuer, result, number and seconds of each series. */
  readonly results: () => readonly (readonly (string | number)[])[];
  /** In progress, waiting. */
  readonly open: () => readonly number[];
} {
  const clock = fakeClock();
  const { signing } = makeControlPlaneMeters(makeMetrics({ maxSeries: 100 }));
  const bounds = { ...limits, timeout: 10_000 };
  const queue = new SigningQueue(clock, bounds, signing, "vault");
  const signings: Signing[] = [];
  return {
    clock,
    signings,
    results: () =>
      [...signing.duration.series()].map(([labels, { count, sum }]) => [
        ...labels,
        ...[count, sum],
      ]),
    open: () =>
      ["in_progress", "waiting"].map(
        (state) => signing.signatures.with(state).value,
      ),
    ask: (asker = "one") =>
      queue.run(
        asker,
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
    const limits = { atOnce: 16, waiting: 2000 };
    const { ask, signings, clock, open, results } = rig(limits);
    const asked = Promise.allSettled(Array.from({ length: 1000 }, () => ask()));
    t.same(open(), [16, 984], "the gauge");
    let most = 0;
    for (let next = 0; next < 1000; next += 1) {
      await nextTurn();
      most = Math.max(most, signings.length - next);
      // Also those that fail give their place on.
      if (next % 10 === 9) signings[next]?.failed(new Error("not this one"));
      else signings[next]?.done(`${next}`);
    }
    const ended = await asked;
    t.equal(most, 16);
    t.equal(ended.filter((each) => each.status === "rejected").length, 100);
    t.same(ended[10], { status: "fulfilled", value: "10" }, "in their order");
    t.equal(clock.pending, 0);
    t.same(open(), [0, 0]);
    t.same(results(), [
      ["vault", "signed", 900, 0],
      ["vault", "failed", 100, 0],
    ]);
  },
);

void t.test("one that asks for many keeps no other waiting", async (t) => {
  const { ask, signings, clock } = rig({ atOnce: 1, waiting: 2000 });
  const order: string[] = [];
  const asked = [
    ...Array.from({ length: 5 }, () => "many"),
    "first",
    "second",
    "first",
  ].map((asker) => ask(asker).then(() => order.push(asker)));
  for (let ended = 0; ended < asked.length; ended += 1) {
    await nextTurn();
    signings[ended]?.done("signed");
  }
  await Promise.all(asked);
  t.same(order, [
    ...["many", "many", "first", "second"],
    ...["many", "first", "many", "many"],
  ]);
  t.equal(clock.pending, 0);
});

void t.test("what is too much is refused at once", async (t) => {
  const { ask, signings, results } = rig({ atOnce: 1, waiting: 2 });
  const asked = [ask(), ask(), ask()];
  await t.rejects(ask(), { message: /2 signatures are waited for already/ });
  t.same(results(), [["vault", "full", 1, 0]]);
  for (const each of [0, 1, 2]) {
    await nextTurn();
    signings[each]?.done("signed");
  }
  t.same(await Promise.all(asked), ["signed", "signed", "signed"]);
});

void t.test(
  "what takes too long is ended, and takes no place from the next",
  async (t) => {
    const { ask, signings, clock, results, open } = rig({
      ...{ atOnce: 1, waiting: 2 },
    });
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
    t.same(open(), [0, 0]);
    t.same(results(), [
      ["vault", "late", 2, 20],
      ["vault", "signed", 1, 0],
    ]);
  },
);
