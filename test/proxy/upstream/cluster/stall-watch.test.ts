/** An endpoint that stops answering: doubted, asked, ejected, asked again, tried, and in again; by a clock that the test moves. */
import t from "tap";
import type { CheckResult } from "../../../../src/policy/health.ts";
import {
  ASK_AGAIN,
  TRIAL_PATIENCE,
} from "../../../../src/proxy/upstream/cluster/stall-watch.ts";
import {
  watchBench,
  type WatchBench,
} from "../../../support/clocks/watch-bench.ts";

const WELL: CheckResult = { kind: "healthy" };
const SICK: CheckResult = { kind: "unhealthy", evidence: "it says nothing" };
const UNKNOWN: CheckResult = { kind: "unknown", evidence: "not allowed" };

/** Two endpoints at work, then three requests to "a" that it does not answer, until it is doubted. */
function doubted(): WatchBench {
  const made = watchBench();
  made.pass(500);
  for (let index = 0; index < 3; index += 1) made.send("a");
  made.pass(130, "a");
  return made;
}

void t.test(
  "one that stops answering is out at once, asked, and ejected with the evidence",
  async (t) => {
    const made = doubted();
    t.equal(made.detector.isHeld("a"), true);
    t.same(made.asked, ["a"]);
    t.same(made.ejections, [], "a doubt is no ejection");
    made.pass(100, "a");
    t.equal(new Set(made.told).size, 3, "what waits goes elsewhere besides");
    await made.answer(SICK);
    made.pass(50, "a");
    t.match(made.ejections, [
      /^a stalled x1: 3 requests without a response, the oldest for \d+ ms; siblings respond to 99 % within \d+ ms; it says nothing$/,
    ]);
    made.watch.close();
    t.equal(made.clock.pending, 0);
  },
);

void t.test(
  "one answer to a request of our own clears it; the next must be an answer to somebody else's",
  async (t) => {
    const made = doubted();
    await made.answer(WELL);
    made.pass(30, "a");
    t.equal(made.detector.isHeld("a"), false);
    t.equal(made.told.length, 0, "nothing was sent twice");
    made.pass(5000, "a");
    t.same(made.ejections, [], "what waited before is slow, not lost");
    for (let index = 0; index < 3; index += 1) made.send("a");
    made.pass(150, "a");
    t.equal(made.detector.isHeld("a"), true);
    t.same(made.asked, ["a", "a"]);
    await made.answer(WELL);
    made.pass(1000, "a");
    t.match(made.ejections, [/^a stalled/], "it answers nobody but us");
    made.watch.close();
  },
);

void t.test(
  "one request alone goes elsewhere before a second has passed, where others are served",
  (t) => {
    const made = watchBench();
    made.pass(500);
    const call = made.send("a");
    made.pass(490, "a");
    t.same(made.asked, [], "not yet");
    made.pass(120, "a");
    t.same(made.asked, ["a"]);
    t.same([...new Set(made.told)], [call]);
    t.same(made.ejections, [], "that takes a second");
    made.watch.close();
    t.end();
  },
);

void t.test(
  "what still waits when it is ejected is told again, four times a second",
  async (t) => {
    const made = await ejected();
    t.equal(made.ejections.length, 1);
    made.told.length = 0;
    made.pass(300, "a");
    t.equal(made.told.length, 3, "once");
    made.pass(500, "a");
    t.equal(made.told.length, 9);
    made.watch.close();
  },
);

void t.test(
  "what is in flight at one that was ejected for something else is left alone while it may be slow",
  (t) => {
    const made = watchBench();
    made.pass(500);
    const call = made.send("a");
    made.detector.eject("a", "consecutive-5xx", "five", made.clock.now());
    made.watch.ejected("a", made.clock.now());
    made.pass(490, "a");
    t.same(made.told, []);
    made.pass(260, "a");
    t.same([...new Set(made.told)], [call]);
    made.watch.close();
    t.end();
  },
);

void t.test("an answer to a waiting request ends the doubt", (t) => {
  const made = watchBench();
  made.pass(500);
  const calls = [made.send("a"), made.send("a"), made.send("a")];
  made.pass(150, "a");
  t.equal(made.detector.isHeld("a"), true);
  for (const call of calls)
    made.calls.get("a")?.headed(call, true, made.clock.now());
  for (const call of calls)
    made.calls.get("a")?.over(call, true, made.clock.now());
  made.pass(30, "a");
  t.equal(made.detector.isHeld("a"), false);
  t.equal(made.detector.until("a"), 0);
  made.watch.close();
  t.end();
});

void t.test("never: the only endpoint, all at once, more than the cap", (t) => {
  const alone = watchBench(["a"]);
  alone.pass(500);
  for (let index = 0; index < 9; index += 1) alone.send("a");
  alone.clock.advance(10_000);
  t.equal(alone.detector.isHeld("a"), false);
  alone.watch.close();

  const all = watchBench(["a", "b", "c"]);
  all.pass(500);
  for (const key of ["a", "b", "c"])
    for (let index = 0; index < 9; index += 1) all.send(key);
  all.clock.advance(10_000);
  t.same(all.asked, [], "nobody is quicker");
  all.watch.close();

  const two = watchBench(["a", "b", "c"]);
  two.pass(500);
  for (const key of ["a", "b"])
    for (let index = 0; index < 9; index += 1) two.send(key);
  for (let passed = 0; passed < 300; passed += 5) {
    two.serve("c");
    two.clock.advance(5);
  }
  t.same(
    ["a", "b", "c"].map((key) => two.detector.isHeld(key)),
    [true, false, false],
    "half of three is one",
  );
  t.ok(
    two.told.length > 0,
    "what waits at the other goes elsewhere all the same",
  );
  two.watch.close();
  t.end();
});

async function ejected(): Promise<WatchBench> {
  const made = doubted();
  await made.answer(SICK);
  made.pass(50, "a");
  return made;
}

void t.test(
  "its ejection over, it is asked before any call goes there, and again when it does not answer",
  async (t) => {
    const made = await ejected();
    t.equal(made.asked.length, 1);
    made.pass(1050, "a");
    t.equal(made.asked.length, 2);
    t.equal(made.detector.isHeld("a"), true, "no call while it is asked");
    await made.answer(SICK);
    made.pass(50, "a");
    t.match(made.ejections.at(-1), "a probe x2: it says nothing");
    made.pass(2100, "a");
    t.equal(made.asked.length, 3, "later than the first time");
    await made.answer(WELL);
    made.pass(30, "a");
    t.equal(made.detector.isHeld("a"), false);
    t.equal(made.detector.onProbation("a"), true, "a call at a time from here");
    t.equal(made.watch.isOffered("a"), false, "one that may be repeated");
    made.pass(TRIAL_PATIENCE, "a");
    t.equal(made.watch.isOffered("a"), true, "or any, where none such comes");
    made.detector.record("a", "success", made.clock.now());
    made.pass(100);
    t.equal(made.detector.onProbation("a"), false);
    made.watch.close();
  },
);

void t.test(
  "a request of our own that this machine fails is no word of the endpoint",
  async (t) => {
    for (const [code, ejections] of [
      ["EMFILE", 1],
      ["ECONNREFUSED", 2],
    ] as const) {
      const made = await ejected();
      made.pass(1050, "a");
      const failure = Object.assign(new Error(code), { code });
      await made.answer(Promise.reject(failure));
      made.pass(50, "a");
      t.equal(made.ejections.length, ejections, code);
      made.watch.close();
    }
  },
);

/** Milliseconds until it is asked. */
function untilAsked(made: WatchBench): number {
  const { length } = made.asked;
  const from = made.clock.now();
  while (made.asked.length === length && made.clock.now() - from < 120_000)
    made.pass(10, "a");
  return made.clock.now() - from;
}

/** Asked in vain until it is out for the sixth time: for 32 s. */
async function longOut(): Promise<WatchBench> {
  const made = await ejected();
  while (made.ejections.at(-1)?.startsWith("a probe x6") !== true) {
    untilAsked(made);
    await made.answer(SICK);
    made.pass(50, "a");
  }
  t.ok(made.detector.until("a") - made.clock.now() > 31_000);
  return made;
}

void t.test(
  "one that was silent when asked is asked again before a long ejection is over",
  async (t) => {
    const made = await longOut();
    const between = [];
    for (const result of [SICK, UNKNOWN]) {
      between.push(untilAsked(made));
      await made.answer(result);
      made.pass(50, "a");
      t.equal(made.detector.isHeld("a"), true);
      t.match(made.ejections.at(-1), "a probe x6", "it does not count");
    }
    t.ok(
      between.every(
        (ms) => ms > 0.5 * ASK_AGAIN - 100 && ms < 1.5 * ASK_AGAIN + 100,
      ),
      between.join(" "),
    );
    t.ok(made.detector.until("a") > made.clock.now());
    made.watch.close();
  },
);

void t.test("and comes back once it responds", async (t) => {
  const made = await longOut();
  untilAsked(made);
  await made.answer(WELL);
  made.pass(50, "a");
  t.equal(made.detector.isHeld("a"), false);
  t.equal(made.detector.onProbation("a"), true);
  t.ok(made.detector.until("a") <= made.clock.now());
  made.watch.close();
});

void t.test(
  "one whose application is there again is asked at once, however long its ejection lasts",
  async (t) => {
    for (const [result, held] of [
      [WELL, false],
      [UNKNOWN, false],
      [SICK, true],
    ] as const) {
      const made = await longOut();
      const tell = (ready: boolean): void =>
        made.watch.update([
          { key: "a", ready },
          { key: "b", ready: true },
        ]);
      tell(true);
      tell(false);
      made.pass(100, "a");
      const { length } = made.asked;
      tell(true);
      made.pass(30, "a");
      t.equal(made.asked.length, length + 1, result.kind);
      await made.answer(result);
      made.pass(30, "a");
      t.equal(made.detector.isHeld("a"), held, result.kind);
      t.equal(made.detector.onProbation("a"), true);
      t.match(made.ejections.at(-1), "a probe x6", "it does not count");
      made.watch.close();
    }
  },
);

void t.test("an open question is put again", async (t) => {
  const made = await longOut();
  untilAsked(made);
  const { length } = made.asked;
  for (const ready of [false, true]) made.watch.update([{ key: "a", ready }]);
  made.pass(30, "a");
  t.equal(made.asked.length, length + 1);
  await made.answer(SICK);
  made.pass(30, "a");
  t.equal(made.detector.isHeld("a"), true, "the first is not listened to");
  await made.answer(WELL);
  made.pass(30, "a");
  t.equal(made.detector.isHeld("a"), false);
  made.watch.close();
});

void t.test(
  "what cannot be asked is tried; a trial without an answer costs a moment",
  async (t) => {
    const made = await ejected();
    made.pass(1050, "a");
    await made.answer(UNKNOWN);
    made.pass(30, "a");
    t.equal(made.detector.onProbation("a"), true);
    t.equal(made.detector.isHeld("a"), false);
    const trial = made.send("a");
    made.pass(100, "a");
    t.equal(made.detector.isHeld("a"), true, "one is enough");
    made.pass(100, "a");
    t.ok(made.told.includes(trial), "and its caller is served elsewhere");
    made.watch.close();
  },
);

void t.test(
  "a late response to what waits brings it back before its time",
  async (t) => {
    const made = watchBench();
    made.pass(500);
    const calls = [made.send("a"), made.send("a"), made.send("a")];
    made.pass(150, "a");
    await made.answer(SICK);
    made.pass(50, "a");
    t.equal(made.ejections.length, 1);
    const [, , last] = calls;
    if (last !== undefined)
      made.calls.get("a")?.headed(last, true, made.clock.now());
    made.pass(30, "a");
    t.equal(made.asked.length, 2);
    await made.answer(WELL);
    made.pass(30, "a");
    t.equal(made.detector.isHeld("a"), false);
    t.ok(made.detector.until("a") <= made.clock.now());
    made.watch.close();
  },
);

void t.test(
  "ejected for another reason, it comes back by the same way; one that is gone is forgotten",
  async (t) => {
    const made = watchBench();
    made.pass(100);
    made.detector.eject("a", "consecutive-5xx", "five", made.clock.now());
    made.watch.ejected("a", made.clock.now());
    made.clock.advance(999);
    t.same(made.asked, []);
    made.clock.advance(60);
    t.same(made.asked, ["a"]);
    await made.answer(WELL);
    made.clock.advance(60);
    t.equal(made.detector.onProbation("a"), true);
    made.watch.update([{ key: "b", ready: true }]);
    made.clock.advance(100_000);
    t.equal(made.clock.pending, 0, "no tick where there is nothing to watch");
  },
);

void t.test(
  "silence to a request that nobody is known to respond to proves nothing",
  async (t) => {
    const made = await ejected();
    made.state.responds = false;
    made.pass(1050, "a");
    t.equal(made.asked.length, 2);
    made.pass(1050, "a");
    t.equal(made.ejections.length, 1, "it is not ejected for that");
    t.equal(made.detector.isHeld("a"), false, "and it is tried");
    t.equal(made.detector.onProbation("a"), true);
    made.watch.close();

    const known = await ejected();
    known.pass(1050, "a");
    known.pass(1050, "a");
    t.match(
      known.ejections.at(-1),
      /^a probe x2: no response to a request of our own/,
    );
    known.watch.close();
  },
);
