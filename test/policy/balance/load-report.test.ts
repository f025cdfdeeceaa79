// What a sidecar reports of its application's load (balancing by load).
import t from "tap";
import {
  bucketOf,
  formatLoad,
  isReportDue,
  LoadMeter,
  parseLoad,
  REPORT_PERIOD,
  REPORT_REPEAT,
  reported,
  reportPeriod,
  type Subscriber,
} from "../../../src/policy/balance/load-report.ts";

void t.test("two buckets to each doubling of what is in flight", (t) => {
  t.strictSame(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 1e9].map(bucketOf),
    [0, 2, 3, 4, 4, 5, 5, 6, 6, 8, 39],
  );
  t.end();
});

void t.test(
  "a latency is filed under what was in flight when its request arrived",
  (t) => {
    const meter = new LoadMeter(0);
    t.equal(meter.latency, 0, "nothing is known");
    const first = meter.arrive();
    const second = meter.arrive();
    t.equal(meter.inFlight, 2);
    meter.leave(first, 10, 1);
    meter.leave(second, 30, 2);
    t.equal(meter.inFlight, 0);
    t.equal(meter.latency, 10, "alone it takes 10 ms");
    meter.arrive();
    t.equal(meter.latency, 30, "beside another 30");
    meter.arrive();
    t.equal(meter.latency, 30, "the nearest bucket that knows");
    t.equal(meter.sampledAt, 2);
    t.end();
  },
);

void t.test(
  "the average moves by a tenth; what tells nothing does not move it",
  (t) => {
    const meter = new LoadMeter(0);
    const one = (latency: number | undefined): void =>
      meter.leave(meter.arrive(), latency, 5);
    one(10);
    one(20);
    t.equal(meter.latency, 11);
    one(undefined);
    t.equal(meter.latency, 11);
    t.equal(meter.inFlight, 0);
    meter.leave(0, undefined, 6);
    t.equal(meter.inFlight, 0, "never below zero");
    t.end();
  },
);

void t.test(
  "a caller is told when something has changed, at most each 20 ms",
  (t) => {
    const meter = new LoadMeter(0);
    const caller: Subscriber = { askedAt: 0, saidAt: 0, saidVersion: -1 };
    reported(caller, meter, 100);
    t.equal(isReportDue(caller, meter, 100 + REPORT_PERIOD), false, "no news");
    t.equal(
      isReportDue(caller, meter, 100 + REPORT_REPEAT),
      true,
      "a sign of life",
    );
    meter.arrive();
    t.equal(isReportDue(caller, meter, 99 + REPORT_PERIOD), false);
    t.equal(isReportDue(caller, meter, 100 + REPORT_PERIOD), true);
    t.end();
  },
);

void t.test(
  "rounds are jittered by a quarter, and rarer for many callers",
  (t) => {
    t.equal(
      reportPeriod(1, () => 0),
      15,
    );
    t.equal(
      reportPeriod(1, () => 1),
      25,
    );
    t.equal(
      reportPeriod(100, () => 0.5),
      100,
    );
    t.end();
  },
);

void t.test(
  "the header's text: requests in flight, microseconds, limit",
  (t) => {
    t.equal(
      formatLoad({ inFlight: 3, latency: 12.3456, limit: 0 }),
      "3,12346,0",
    );
    t.strictSame(parseLoad("3,12346,40"), {
      inFlight: 3,
      latency: 12.346,
      limit: 40,
    });
    for (const bad of [
      "",
      "?",
      "1",
      "1,2",
      "1,2,3,4",
      "-1,2,3",
      "1.5,2,3",
      "1,2,x",
      " 1,2,3",
      "1,2,99999999999",
    ])
      t.equal(parseLoad(bad), undefined, bad);
    t.end();
  },
);
