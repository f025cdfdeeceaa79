import t from "tap";
import {
  makeOutlierDetector,
  wilsonUpperBound,
  type EjectionEffect,
  type OutlierDetector,
} from "../../src/policy/outlier.ts";
import {
  TRAFFIC_DEFAULTS,
  type OutlierDetection,
} from "../../src/resources/traffic-policy/settings.ts";

const SETTINGS = TRAFFIC_DEFAULTS.outlierDetection;
/** No jitter: half of [0, 1) stands in the middle of a half to one and a half. */
const MIDDLE = (): number => 0.5;

function detector(
  hosts: readonly string[],
  over: Partial<OutlierDetection<number>> = {},
  random = MIDDLE,
): OutlierDetector {
  const made = makeOutlierDetector(random);
  made.update(hosts, { ...SETTINGS, ...over });
  return made;
}

function times(
  count: number,
  outlier: OutlierDetector,
  host: string,
  effect: EjectionEffect,
  now: number,
): void {
  for (let index = 0; index < count; index += 1)
    outlier.record(host, effect, now);
}

const FOUR = ["a", "b", "c", "d"];

void t.test("five failed responses in a row eject, four do not", (t) => {
  const outlier = detector(FOUR);
  times(4, outlier, "a", "failure", 0);
  outlier.record("a", "success", 0);
  times(4, outlier, "a", "failure", 0);
  t.equal(outlier.until("a"), 0);
  const ejection = outlier.record("a", "failure", 0);
  t.match(ejection, {
    endpoint: "a",
    reason: "consecutive-5xx",
    evidence: "5 failed responses in a row",
    at: 0,
    until: 1000,
    times: 1,
  });
  t.equal(outlier.until("a"), 1000);
  t.equal(outlier.until("b"), 0);
  t.equal(outlier.until("nobody"), 0);
  t.end();
});

void t.test(
  "failures to connect are counted apart from failed answers",
  (t) => {
    const outlier = detector(FOUR);
    times(4, outlier, "a", "failure", 0);
    times(4, outlier, "a", "local-origin", 0);
    t.equal(outlier.ejections.length, 0);
    const ejection = outlier.record("a", "local-origin", 0);
    t.equal(ejection?.reason, "consecutive-local-origin");
    t.end();
  },
);

void t.test("what counts for nothing changes nothing", (t) => {
  const outlier = detector(FOUR);
  times(4, outlier, "a", "failure", 0);
  times(50, outlier, "a", "none", 0);
  t.equal(outlier.ejections.length, 0);
  t.equal(outlier.record("a", "failure", 0)?.reason, "consecutive-5xx");
  t.equal(outlier.record("nobody", "failure", 0), undefined);
  t.end();
});

void t.test(
  "evidence that needs no count ejects at once, within the cap and once at a time",
  (t) => {
    const outlier = detector(["a", "b"], { consecutive5xxErrors: 0 });
    const evidence = "no acknowledgement of a PING within 1000 ms";
    const eject = (host: string, now: number): string | undefined =>
      outlier.eject(host, "silent-link", evidence, now)?.evidence;
    t.equal(eject("a", 0), evidence);
    t.equal(outlier.until("a"), 1000);
    t.ok(outlier.onProbation("a"));
    t.equal(eject("a", 500), undefined, "it is out already");
    t.equal(eject("b", 500), undefined, "one of two is the most");
    t.equal(eject("nobody", 500), undefined);
    t.equal(eject("a", 1000), evidence);
    t.match(outlier.ejections, [{ times: 1 }, { times: 2, until: 3000 }]);
    t.equal(detector(["a"]).eject("a", "silent-link", "", 0), undefined);
    t.end();
  },
);

void t.test("each detector can be turned off by 0", (t) => {
  const outlier = detector(FOUR, {
    consecutive5xxErrors: 0,
    consecutiveLocalOriginFailures: 0,
    successRate: { thresholdPercent: 0, minimumRequests: 20 },
  });
  for (const host of ["b", "c", "d"]) times(50, outlier, host, "success", 0);
  times(100, outlier, "a", "failure", 0);
  times(100, outlier, "a", "local-origin", 0);
  t.equal(outlier.ejections.length, 0);
  t.end();
});

void t.test(
  "the time out doubles from 1 s to 60 s, and comes down again in quiet times",
  (t) => {
    const outlier = detector(FOUR);
    let now = 0;
    const lengths: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      times(5, outlier, "a", "failure", now);
      lengths.push(outlier.until("a") - now);
      now = outlier.until("a");
    }
    t.strictSame(
      lengths,
      [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000],
    );
    now += 3 * SETTINGS.interval;
    times(5, outlier, "a", "failure", now);
    t.equal(
      outlier.until("a") - now,
      32_000,
      "three quiet intervals, one more ejection",
    );
    now = outlier.until("a") + 100 * SETTINGS.interval;
    times(5, outlier, "a", "failure", now);
    t.equal(outlier.until("a") - now, 1000);
    t.end();
  },
);

void t.test(
  "the time out is jittered by half either way, and never past its maximum",
  (t) => {
    const length = (random: number, over = {}): number => {
      const outlier = detector(FOUR, over, () => random);
      times(5, outlier, "a", "failure", 0);
      return outlier.until("a");
    };
    t.equal(length(0), 500);
    t.ok(length(0.999) > 1490);
    t.equal(length(0.999, { maxEjectionTime: 1200 }), 1200);
    t.end();
  },
);

void t.test("an endpoint starts anew when it comes back", (t) => {
  const outlier = detector(FOUR);
  times(5, outlier, "a", "failure", 0);
  times(50, outlier, "a", "failure", 500);
  t.equal(
    outlier.ejections.length,
    1,
    "what it answers while out does not count",
  );
  outlier.record("a", "success", 1000);
  times(4, outlier, "a", "failure", 1000);
  t.equal(outlier.until("a"), 1000);
  t.end();
});

void t.test(
  "an endpoint that comes back is on probation until something succeeds there",
  (t) => {
    const outlier = detector(FOUR);
    times(5, outlier, "a", "failure", 0);
    t.equal(outlier.onProbation("a"), true);
    t.equal(outlier.onProbation("b"), false);
    const version = outlier.version;
    outlier.record("a", "none", 1000);
    t.equal(outlier.onProbation("a"), true, "a cancelled probe says nothing");
    t.match(outlier.record("a", "failure", 1000), {
      reason: "probe",
      evidence: "the first request after its ejection failed",
      until: 3000,
      times: 2,
    });
    outlier.record("a", "success", 2000);
    t.equal(outlier.onProbation("a"), true, "it is out, and not heard");
    for (const effect of ["success", "failure", "local-origin"] as const)
      outlier.record("a", effect, 3000, 2999);
    t.equal(outlier.onProbation("a"), true, "sent before, over after");
    t.equal(outlier.ejections.length, 2);
    outlier.record("a", "success", 3000);
    t.equal(outlier.onProbation("a"), false);
    t.ok(outlier.version > version + 1, "pickers look again");
    times(4, outlier, "a", "failure", 3000);
    t.equal(outlier.ejections.length, 2);
    t.end();
  },
);

/** Endpoints, maxEjectionPercent, how many of them can be out at once. */
const CAPS: readonly [hosts: number, percent: number, ejectable: number][] = [
  [1, 100, 0],
  [2, 50, 1],
  [3, 10, 1],
  [3, 0, 1],
  [3, 50, 1],
  [4, 50, 2],
  [10, 50, 5],
  [10, 100, 10],
];

void t.test(
  "trap 15: at most the percentage is out, but always one where there are two",
  (t) => {
    for (const [count, maxEjectionPercent, ejectable] of CAPS) {
      const hosts = Array.from({ length: count }, (_, index) => `h${index}`);
      const outlier = detector(hosts, { maxEjectionPercent });
      for (const host of hosts) times(5, outlier, host, "failure", 0);
      const out = hosts.filter((host) => outlier.until(host) > 0).length;
      t.equal(out, ejectable, `${count} hosts at ${maxEjectionPercent} %`);
    }
    t.end();
  },
);

void t.test(
  "one that the cap spared is ejected as soon as another is back",
  (t) => {
    const outlier = detector(["a", "b"]);
    times(5, outlier, "a", "failure", 0);
    times(9, outlier, "b", "failure", 0);
    t.equal(outlier.until("b"), 0);
    t.equal(outlier.record("b", "failure", 1000)?.endpoint, "b");
    t.end();
  },
);

/** `successes` of `total` in turn, so that no five failures come in a row. */
function mixed(
  outlier: OutlierDetector,
  host: string,
  successes: number,
  total: number,
  now: number,
): void {
  let done = 0;
  for (let index = 1; index <= total; index += 1) {
    const due = Math.round((index * successes) / total);
    outlier.record(host, due > done ? "success" : "failure", now);
    done = due;
  }
}

void t.test(
  "a success rate credibly under the peers' ejects, with the evidence",
  (t) => {
    const outlier = detector(FOUR);
    for (const host of ["b", "c", "d"]) mixed(outlier, host, 99, 100, 0);
    mixed(outlier, "a", 35, 50, 0);
    const [ejection] = outlier.ejections;
    t.equal(ejection?.endpoint, "a");
    t.equal(ejection?.reason, "success-rate");
    t.match(
      ejection?.evidence,
      /^\d+\.\d % of \d+ requests succeeded \(at most \d+\.\d %\), of the peers' 99\.0 %$/,
    );
    t.end();
  },
);

void t.test("a fault that all share ejects nobody", (t) => {
  const outlier = detector(FOUR);
  for (let round = 0; round < 20; round += 1)
    for (const host of FOUR) mixed(outlier, host, 7, 10, round * 100);
  t.equal(outlier.ejections.length, 0);
  t.end();
});

void t.test("few requests are no evidence", (t) => {
  const outlier = detector(FOUR);
  for (const host of ["b", "c", "d"]) mixed(outlier, host, 100, 100, 0);
  mixed(outlier, "a", 12, 19, 0);
  t.equal(outlier.ejections.length, 0, "19 of 20 requests");
  const alone = detector(FOUR);
  mixed(alone, "a", 30, 100, 0);
  t.equal(alone.ejections.length, 0, "no peer has enough to be compared with");
  t.end();
});

void t.test(
  "a rate at the threshold or above is well, however good the peers are",
  (t) => {
    const outlier = detector(FOUR);
    for (const host of ["b", "c", "d"]) mixed(outlier, host, 500, 500, 0);
    times(100, outlier, "a", "success", 0);
    mixed(outlier, "a", 305, 400, 0);
    t.equal(outlier.ejections.length, 0);
    t.end();
  },
);

void t.test("the rate is that of the last interval", (t) => {
  const outlier = detector(FOUR);
  mixed(outlier, "a", 10, 19, 0);
  for (const host of ["b", "c", "d"]) mixed(outlier, host, 100, 100, 10_000);
  mixed(outlier, "a", 15, 19, 10_000);
  t.equal(
    outlier.ejections.length,
    0,
    "the failures of before have left the window",
  );
  t.end();
});

void t.test("statistics and ejections survive an update by key", (t) => {
  const outlier = detector(FOUR);
  times(5, outlier, "a", "failure", 0);
  times(4, outlier, "b", "failure", 0);
  const before = outlier.version;
  outlier.update(["a", "b", "e", "f"], SETTINGS);
  t.ok(outlier.version > before);
  t.equal(outlier.until("a"), 1000);
  t.equal(outlier.record("b", "failure", 0)?.endpoint, "b");
  outlier.update(["b", "e"], { ...SETTINGS, interval: 5000 });
  t.equal(outlier.until("a"), 0, "one that is gone is forgotten");
  t.equal(outlier.until("b"), 1000);
  t.end();
});

void t.test("the ledger is bounded", (t) => {
  const outlier = detector(FOUR, { maxEjectionTime: 1000 });
  for (let round = 0; round < 150; round += 1)
    times(5, outlier, "a", "failure", round * 2000);
  t.equal(outlier.ejections.length, 100);
  t.equal(outlier.ejections.at(-1)?.at, 149 * 2000);
  t.end();
});

void t.test("Wilson's upper bound", (t) => {
  for (const [successes, total, bound] of [
    [0, 0, 1],
    [10, 10, 1],
    [0, 10, 0.278],
    [5, 10, 0.763],
    [35, 50, 0.809],
    [700, 1000, 0.728],
  ] as const)
    t.ok(
      Math.abs(wilsonUpperBound(successes, total) - bound) < 0.001,
      `${successes} of ${total}: ${wilsonUpperBound(successes, total)}`,
    );
  t.end();
});
