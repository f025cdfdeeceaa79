/** What a request tells of the application's speed: the time in which the application had all of it, not that in which it waited for its caller. */
import t from "tap";
import { outcomeOfAnswer, type Outcome } from "../../../src/policy/outcome.ts";
import { ApplicationTarget } from "../../../src/proxy/application/application-target.ts";
import { ConcurrencyLimiter } from "../../../src/proxy/application/concurrency-limiter.ts";
import { RequestLoad } from "../../../src/proxy/application/load-reports.ts";
import { LoadMeter } from "../../../src/policy/balance/load-report.ts";
import { CANCELLED } from "../../../src/proxy/exchange/second-attempt.ts";
import type { Target } from "../../../src/proxy/exchange/route-plan.ts";
import { makeMeters } from "../../../src/telemetry/meters.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const ANSWERED = outcomeOfAnswer({ status: 200 });
const FAILED = outcomeOfAnswer({ status: 500 });

const DIRECT: Target = {
  key: "127.0.0.1:8080",
  address: "127.0.0.1:8080",
  trusted: false,
  probing: false,
  connect: () => undefined,
  answered: () => undefined,
  done: () => undefined,
};

/** Milliseconds from the beginning; undefined: it never came to that. */
interface Course {
  readonly sent?: number;
  readonly headed?: number;
  readonly over: number;
  readonly outcome: Outcome;
}

interface Bench {
  readonly limiter: ConcurrencyLimiter;
  readonly meter: LoadMeter;
  readonly run: (course: Course) => void;
}

function bench(): Bench {
  const clock = fakeClock();
  const limiter = new ConcurrencyLimiter(
    8080,
    clock,
    makeMeters(makeMetrics({ maxSeries: 100 })),
    { mode: "ENFORCE", minConcurrency: 1, maxConcurrency: 100 },
  );
  const meter = new LoadMeter(clock.now());
  const run = ({ sent, headed, over, outcome }: Course): void => {
    const target = new ApplicationTarget(DIRECT, {
      clock,
      load: new RequestLoad(clock, meter, undefined),
      limiter,
      entry: { policy: undefined, priority: 1, retry: false, inside: true },
    });
    const began = clock.now();
    const at = (time: number | undefined, then: () => void): void => {
      if (time === undefined) return;
      clock.advance(began + time - clock.now());
      then();
    };
    target.connect(
      { mayRepeat: true },
      { connected: () => undefined, failed: () => undefined },
    );
    const send = (): void => at(sent, () => target.sent());
    const head = (): void =>
      at(headed, () => target.headed(outcome, clock.now()));
    for (const step of (sent ?? 0) <= (headed ?? over)
      ? [send, head]
      : [head, send])
      step();
    at(over, () => target.done(outcome, headed ?? over, clock.now()));
  };
  return { limiter, meter, run };
}

/** A window of requests that take 5 ms each. */
const QUICK: Course = { sent: 0, headed: 5, over: 5, outcome: ANSWERED };

for (const { name, course, latest } of [
  {
    name: "a slow upload, answered 5 ms after its end",
    course: { sent: 3000, headed: 3005, over: 3005, outcome: ANSWERED },
    latest: 5,
  },
  {
    name: "a request of which not all was sent, given up by its caller",
    course: { over: 3000, outcome: CANCELLED },
    latest: 5,
  },
  {
    name: "a response that began before all was sent, after a long time",
    course: { headed: 3000, over: 3100, outcome: ANSWERED },
    latest: 5,
  },
  {
    name: "a response that began before all was sent, at once",
    course: { headed: 2, over: 3000, outcome: ANSWERED },
    latest: 2,
  },
  {
    name: "a stream that was answered at once, and ended by its caller later",
    course: { headed: 2, sent: 3000, over: 3000, outcome: ANSWERED },
    latest: 2,
  },
  {
    name: "an application that is slow",
    course: { sent: 0, headed: 300, over: 310, outcome: ANSWERED },
    latest: 300,
  },
  {
    name: "a whole request whose caller gave up on a slow application",
    course: { sent: 0, over: 300, outcome: CANCELLED },
    latest: 300,
  },
  {
    name: "a failure",
    course: { sent: 0, headed: 300, over: 300, outcome: FAILED },
    latest: 5,
  },
])
  void t.test(name, (t) => {
    const { limiter, meter, run } = bench();
    for (let index = 0; index < 21; index += 1) run(QUICK);
    t.equal(limiter.limit.latest, 5);
    for (let index = 0; index < 60; index += 1) run(course);
    t.equal(limiter.limit.latest, latest);
    t.ok(Math.abs(meter.latency - latest) < 2, `${meter.latency} ms are told`);
    t.equal(limiter.inFlight, 0);
    t.end();
  });
