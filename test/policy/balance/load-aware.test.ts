// Load-aware balancing: hot and cold, failing ones, what was reported and for how long it counts.
import t from "tap";
import {
  failingNow,
  newLoad,
  recordOutcome,
  Report,
  type Candidate,
} from "../../../src/policy/balance/algorithm.ts";
import {
  loadAware,
  recordReport,
  recordSent,
  REPORT_AGE,
  reports,
} from "../../../src/policy/balance/load-aware.ts";
import {
  INITIAL_LATENCY,
  recordLatency,
} from "../../../src/policy/balance/peak-ewma.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";

interface Named extends Candidate {
  readonly name: string;
}

/** Requests in flight and milliseconds as reported at 0; `failures` just before. */
function candidate(
  name: string,
  inFlight: number,
  latency: number,
  failures = 0,
): Named {
  const load = newLoad(INITIAL_LATENCY, 0, 0);
  recordReport(load, inFlight, latency, 0, 0, 0);
  for (let index = 0; index < failures; index += 1)
    recordOutcome(load, true, 0);
  return { name, weight: 1, load };
}

/** Shares in percent, by name. */
function shares(
  candidates: readonly Named[],
  now = 0,
  seed = 1,
): Record<string, number> {
  const algorithm = loadAware(seededRandom(seed));
  const picks: Record<string, number> = {};
  for (let index = 0; index < 2000; index += 1) {
    const { name } = algorithm.choose(candidates, now);
    picks[name] = (picks[name] ?? 0) + 100 / 2000;
  }
  return picks;
}

/** Names of those with more than the one percent in all that explores. */
function chosen(candidates: readonly Named[], now = 0): string[] {
  return Object.entries(shares(candidates, now))
    .filter(([, share]) => share > 2)
    .map(([name]) => name)
    .sort();
}

void t.test(
  "of three cold ones the fastest is taken, however many it has in flight",
  (t) => {
    t.strictSame(
      chosen([
        candidate("a", 3, 10),
        candidate("b", 0, 20),
        candidate("c", 1, 30),
      ]),
      ["a"],
    );
    t.end();
  },
);

void t.test(
  "latencies that differ by noise are the same: the fewest in flight decide",
  (t) => {
    t.strictSame(
      chosen([
        candidate("a", 3, 10),
        candidate("b", 1, 14),
        candidate("c", 2, 12),
      ]),
      ["b"],
    );
    t.end();
  },
);

void t.test(
  "the busiest sixth is hot: it is taken where all three are, and then the least busy",
  (t) => {
    const many = Array.from({ length: 12 }, (_, index) =>
      candidate(`c${index}`, index < 2 ? 50 + index : 1, index < 2 ? 1 : 100),
    );
    const picks = shares(many);
    t.ok(
      (picks["c0"] ?? 0) + (picks["c1"] ?? 0) < 1,
      "however fast they say they are",
    );
    t.end();
  },
);

void t.test(
  "of two, one that is far busier than the other is hot, whatever it was like before",
  (t) => {
    t.strictSame(chosen([candidate("stuck", 4, 1), candidate("b", 0, 50)]), [
      "b",
    ]);
    t.strictSame(chosen([candidate("a", 3, 1), candidate("b", 0, 50)]), ["a"]);
    t.end();
  },
);

void t.test("an endpoint that is at its own limit is hot", (t) => {
  const full = candidate("full", 5, 5);
  recordReport(full.load, 5, 5, 5, 0, 0);
  t.strictSame(chosen([full, candidate("b", 9, 50), candidate("c", 9, 50)]), [
    "b",
    "c",
  ]);
  t.end();
});

void t.test(
  "a failing one is hot however idle, and the last of the hot",
  (t) => {
    t.strictSame(
      chosen([
        candidate("failing", 0, 1, 1),
        candidate("b", 9, 500),
        candidate("c", 9, 500),
      ]),
      ["b", "c"],
    );
    t.strictSame(
      chosen([candidate("failing", 0, 1, 3), candidate("hot", 90, 500)]),
      ["hot"],
    );
    t.end();
  },
);

void t.test("what it failed costs, long after it counts as cold again", (t) => {
  const failed = candidate("failed", 0, 5, 1);
  const others = [candidate("b", 0, 100), candidate("c", 0, 100)];
  const at = (now: number): string[] => {
    for (const { load } of [failed, ...others])
      recordReport(load, 0, load.report[Report.LATENCY] ?? 0, 0, 0, now);
    return chosen([failed, ...others], now);
  };
  t.ok(failingNow(failed.load, 5000) < 0.1, "not hot any more");
  t.strictSame(at(5000), ["b", "c"]);
  t.strictSame(at(60_000), ["failed"]);
  t.end();
});

void t.test(
  "one that asked to be left alone is left alone, until then",
  (t) => {
    const busy = candidate("busy", 0, 1);
    busy.load.hotUntil = 900;
    const all = [busy, candidate("b", 0, 50), candidate("c", 0, 50)];
    t.strictSame(chosen(all, 0), ["b", "c"]);
    for (const { load } of all)
      recordReport(load, 0, load.report[Report.LATENCY] ?? 0, 0, 0, 900);
    t.strictSame(chosen(all, 900), ["busy"]);
    t.end();
  },
);

void t.test(
  "own requests that the report cannot have in yet are counted",
  (t) => {
    const one = candidate("a", 0, 10);
    const all = [one, candidate("b", 2, 10), candidate("c", 2, 10)];
    t.strictSame(chosen(all), ["a"]);
    for (let index = 0; index < 3; index += 1) recordSent(one.load);
    t.strictSame(chosen(all), ["b", "c"]);
    recordReport(one.load, 0, 10, 0, 0, 0);
    t.strictSame(chosen(all), ["a"]);
    one.load.inflight = 3;
    t.strictSame(chosen(all), ["b", "c"], "never below one's own");
    t.end();
  },
);

void t.test(
  "a bad latency that nobody has measured since returns to the median",
  (t) => {
    const bad = candidate("bad", 0, 200);
    const all = [bad, candidate("b", 1, 10), candidate("c", 1, 10)];
    t.strictSame(chosen(all), ["b", "c"]);
    // It goes on reporting the same old sample.
    for (const { load, name } of all)
      recordReport(
        load,
        name === "bad" ? 0 : 1,
        name === "bad" ? 200 : 10,
        0,
        name === "bad" ? 5000 : 0,
        5000,
      );
    t.strictSame(chosen(all, 5000), ["bad"]);
    t.end();
  },
);

void t.test(
  "reports count for a second; where nobody reports it is peak EWMA",
  (t) => {
    const all = [candidate("a", 0, 1), candidate("b", 9, 900)];
    const [a, b] = all;
    if (a === undefined || b === undefined) throw new Error("two");
    t.equal(reports(a.load, REPORT_AGE - 1), true);
    t.equal(reports(a.load, REPORT_AGE), false);
    a.load.latency = 80;
    b.load.latency = 20;
    t.strictSame(chosen(all, 0), ["a"]);
    t.strictSame(chosen(all, REPORT_AGE), ["b"], "by what was measured here");
    t.end();
  },
);

void t.test(
  "one that does not report is judged by what was measured here",
  (t) => {
    const stranger: Named = {
      name: "stranger",
      weight: 1,
      load: newLoad(15, 0, 0),
    };
    const all = [stranger, candidate("b", 1, 40), candidate("c", 1, 40)];
    t.strictSame(chosen(all), ["stranger"]);
    recordLatency(stranger.load, 200, 0);
    t.strictSame(chosen(all), ["b", "c"]);
    t.end();
  },
);

void t.test(
  "one in a hundred explores, but not what has failed lately",
  (t) => {
    const slow = candidate("slow", 1, 500);
    const picks = shares([
      slow,
      ...["b", "c", "d"].map((name) => candidate(name, 0, 10)),
    ]);
    t.ok((picks["slow"] ?? 0) > 0 && (picks["slow"] ?? 0) < 1);
    const failed = candidate("failed", 1, 500, 1);
    const none = shares([
      failed,
      ...["b", "c", "d"].map((name) => candidate(name, 0, 10)),
    ]);
    t.equal(none["failed"], undefined);
    t.end();
  },
);

void t.test("one or two candidates are no matter", (t) => {
  t.strictSame(chosen([candidate("a", 9, 900)]), ["a"]);
  t.strictSame(chosen([candidate("a", 1, 10), candidate("b", 1, 90)]), ["a"]);
  t.end();
});

void t.test(
  "the share of failures: a failure adds 15 %, time and successes take it away",
  (t) => {
    const load = newLoad(30, 0, 0);
    recordOutcome(load, false, 0);
    t.equal(failingNow(load, 0), 0);
    recordOutcome(load, true, 0);
    t.equal(failingNow(load, 0), 0.15);
    t.ok(Math.abs(failingNow(load, 10_000) - 0.15 / Math.E) < 1e-9);
    recordOutcome(load, false, 0);
    t.ok(Math.abs(failingNow(load, 0) - 0.15 * 0.85) < 1e-9);
    t.end();
  },
);
