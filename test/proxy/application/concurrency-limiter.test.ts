/** The gate: who is let in, who waits, who is turned away; and what it makes of an overload (balancing: Overload). */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import {
  ConcurrencyLimiter,
  LONGEST_WAIT,
  type Waiter,
  type Entry,
} from "../../../src/proxy/application/concurrency-limiter.ts";
import { makeMeters } from "../../../src/telemetry/meters.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import {
  fakeClock,
  seededRandom,
  type FakeClock,
} from "../../support/clocks/fake-clock.ts";
import { simulate } from "../../support/clocks/overload-simulation.ts";

const EQUAL: Entry = {
  policy: "shop/orders",
  priority: undefined,
  retry: false,
  inside: true,
};

interface Scene {
  readonly clock: FakeClock;
  readonly limiter: ConcurrencyLimiter;
  /** What became of each, in the order in which it was decided. */
  readonly told: string[];
  readonly ask: (
    name: string,
    over?: Partial<Entry>,
  ) => (() => void) | undefined;
}

/** A gate that lets in exactly `places`. */
function scene(places: number): Scene {
  const clock = fakeClock();
  const limiter = new ConcurrencyLimiter(
    8080,
    clock,
    makeMeters(makeMetrics({ maxSeries: 100 })),
    {
      mode: "ENFORCE",
      minConcurrency: places,
      maxConcurrency: places,
    },
  );
  const told: string[] = [];
  return {
    clock,
    limiter,
    told,
    ask: (name, over = {}) => {
      const entrant: Waiter = {
        entry: { ...EQUAL, ...over },
        since: clock.now(),
        admitted: () => told.push(`${name} in`),
        shed: (error) => told.push(`${name} ${error.code}`),
      };
      const entered = limiter.enter(entrant);
      if (entered instanceof MeshError) {
        told.push(`${name} ${entered.code}`);
        return undefined;
      }
      return entered;
    },
  };
}

void t.test(
  "as many as the limit are in, the rest wait, first come first served",
  (t) => {
    const { limiter, told, ask, clock } = scene(2);
    for (const name of ["a", "b", "c", "d"]) ask(name);
    t.strictSame(told, ["a in", "b in"]);
    t.equal(limiter.inFlight, 2);
    t.equal(limiter.waiting, 2);
    limiter.leave(1, clock.now());
    t.strictSame(told, ["a in", "b in", "c in"]);
    limiter.leave(1, clock.now());
    limiter.leave(1, clock.now());
    limiter.leave(1, clock.now());
    t.equal(limiter.inFlight, 0);
    t.strictSame(told.at(-1), "d in");
    t.end();
  },
);

void t.test("in a standing queue the newest goes first", (t) => {
  const { limiter, told, ask, clock } = scene(1);
  for (const name of ["a", "b", "c"]) ask(name);
  clock.advance(30);
  ask("d");
  limiter.leave(1, clock.now());
  t.strictSame(told, ["a in", "d in"]);
  t.end();
});

void t.test("a full line lets its oldest go, not the newcomer", (t) => {
  const { limiter, told, ask } = scene(1);
  for (const name of ["a", "b", "c", "d", "e", "f"]) ask(name);
  t.strictSame(told, ["a in", "b SHED"]);
  t.equal(limiter.waiting, 4);
  t.equal(limiter.refused, 1);
  t.end();
});

void t.test(
  "a time that is too short is refused while requests take longer, and tried again once nobody has shown that for a second",
  (t) => {
    const { limiter, told, ask, clock } = scene(20);
    const slow = (): void => {
      for (let index = 0; index < 10; index += 1) ask("slow");
      clock.advance(1000);
      for (let index = 0; index < 10; index += 1)
        limiter.leave(1000, clock.now());
      told.length = 0;
    };
    slow();
    slow();
    t.equal(limiter.limit.latest, 1000);
    ask("a", { left: 999 });
    clock.advance(999);
    ask("b", { left: 999 });
    ask("patient", { left: 1001 });
    clock.advance(1);
    ask("c", { left: 999 });
    t.strictSame(told, [
      "a DEADLINE_EXCEEDED",
      "b DEADLINE_EXCEEDED",
      "patient in",
      "c in",
    ]);
    t.end();
  },
);

void t.test(
  "who has waited too long is turned away, and no timer is left",
  (t) => {
    const { limiter, told, ask, clock } = scene(1);
    ask("a");
    ask("b");
    clock.advance(10);
    ask("c");
    clock.advance(LONGEST_WAIT - 11);
    t.strictSame(told, ["a in"]);
    clock.advance(1);
    t.strictSame(told, ["a in", "b SHED"]);
    clock.advance(10);
    t.strictSame(told, ["a in", "b SHED", "c SHED"]);
    t.equal(clock.pending, 0);
    limiter.leave(1, clock.now());
    t.equal(limiter.inFlight, 0);
    t.end();
  },
);

void t.test("who goes away waits no more", (t) => {
  const { limiter, told, ask, clock } = scene(1);
  ask("a");
  const leave = ask("b");
  leave?.();
  limiter.leave(1, clock.now());
  t.strictSame(told, ["a in"]);
  t.equal(limiter.inFlight, 0);
  clock.advance(1000);
  limiter.close();
  t.equal(clock.pending, 0);
  t.end();
});

void t.test(
  "a repeated request does not wait: somebody else may have room",
  (t) => {
    const { told, ask } = scene(1);
    ask("a");
    ask("b", { retry: true });
    t.strictSame(told, ["a in", "b SHED"]);
    t.end();
  },
);

void t.test(
  "shadow lets all in, and counts what it would have turned away",
  (t) => {
    const { limiter, clock } = scene(2);
    // Two are in, four would wait.
    for (let index = 0; index < 10; index += 1) limiter.observe();
    t.equal(limiter.wouldRefuse, 4);
    t.equal(limiter.refused, 0);
    for (let index = 0; index < 10; index += 1)
      limiter.leave(undefined, clock.now());
    t.equal(limiter.inFlight, 0);
    t.end();
  },
);

void t.test(
  "less important requests are refused once there is too much, and callers inside are told the threshold",
  (t) => {
    const { limiter, told, ask, clock } = scene(1);
    t.equal(limiter.field(), undefined, "nothing to tell");
    ask("first", { priority: 0 });
    for (let window = 0; window < 40; window += 1) {
      for (let index = 0; index < 20; index += 1)
        ask(`${window}`, { priority: index * 38 });
      clock.advance(1000);
    }
    const threshold = limiter.threshold.value;
    t.ok(threshold < 300, String(threshold));
    t.equal(limiter.field()?.name, "x-wherry-admission");
    t.equal(limiter.field()?.value, String(threshold));
    t.equal(limiter.field(), limiter.field(), "made once");
    told.length = 0;
    ask("low", { priority: 760 });
    t.strictSame(told, ["low SHED"], "at once");
    const refused = limiter.enter({
      entry: { ...EQUAL, priority: 760 },
      since: clock.now(),
      admitted: () => undefined,
      shed: () => undefined,
    });
    t.match(refused, {
      code: "SHED",
      policy: "shop/orders",
      unprocessed: true,
      answer: { fields: [["x-wherry-admission", String(threshold)]] },
    });
    t.end();
  },
);

for (const seed of [1, 2, 3])
  void t.test(
    `three times the capacity: p99 of what is admitted under three times the quiet one, goodput 90 % (seed ${seed})`,
    (t) => {
      const application = {
        slots: 8,
        service: 10,
        seed,
        seconds: 30,
        warmUp: 5,
      };
      const capacity = 800;
      const quiet = simulate({ ...application, mode: "OFF", rate: 240 });
      const over = simulate({
        ...application,
        mode: "ENFORCE",
        rate: 3 * capacity,
      });
      t.ok(
        over.p99 < 3 * quiet.p99,
        `p99 ${over.p99.toFixed(1)} beside ${quiet.p99.toFixed(1)} ms`,
      );
      t.ok(over.goodput >= 0.9 * capacity, `${over.goodput} of ${capacity}`);
      const none = simulate({
        ...application,
        mode: "OFF",
        rate: 3 * capacity,
        seconds: 10,
      });
      t.ok(
        none.p99 === 0 || none.p99 > 10 * quiet.p99,
        "without it nobody is served in time",
      );
      t.end();
    },
  );

void t.test(
  "below its capacity it turns nobody away, and shadow changes nothing",
  (t) => {
    const application = {
      slots: 8,
      service: 10,
      seed: 5,
      seconds: 30,
      warmUp: 5,
    };
    const enforced = simulate({ ...application, mode: "ENFORCE", rate: 560 });
    t.equal(enforced.refused, 0);
    const ordered = simulate({
      ...application,
      mode: "ENFORCE",
      rate: 560,
      entry: (index) => ({ ...EQUAL, priority: (index * 7) % 768 }),
    });
    t.equal(ordered.refused, 0, "nor do priorities");
    const off = simulate({ ...application, mode: "OFF", rate: 560 });
    const shadow = simulate({ ...application, mode: "SHADOW", rate: 560 });
    t.equal(shadow.served, off.served);
    t.equal(shadow.p99, off.p99);
    t.equal(shadow.wouldRefuse, 0);
    const over = simulate({
      ...application,
      mode: "SHADOW",
      rate: 1600,
      seconds: 8,
    });
    t.ok(over.wouldRefuse > 1000, `${over.wouldRefuse} would have been`);
    t.end();
  },
);

void t.test(
  "with priorities the important ones are served through an overload",
  (t) => {
    const random = seededRandom(9);
    const levels: number[] = [];
    const entry = (index: number): Entry => {
      const level = index % 6;
      levels[index] = level;
      return { ...EQUAL, priority: level * 128 + Math.floor(random() * 128) };
    };
    const result = simulate({
      slots: 8,
      service: 10,
      seed: 4,
      seconds: 60,
      warmUp: 40,
      mode: "ENFORCE",
      rate: 1600,
      entry,
    });
    const served = [0, 0, 0, 0, 0, 0];
    for (const index of result.servedOnes) {
      const level = levels[index] ?? 0;
      served[level] = (served[level] ?? 0) + 1;
    }
    const each = result.offered / 6;
    const [first = 0, second = 0] = served;
    const last = served[5] ?? 0;
    t.ok(first / each > 0.93, `of the most important ${first / each}`);
    t.ok(second / each > 0.9, `of the next ${second / each}`);
    t.ok(last / each < 0.1, `of the least important ${last / each}`);
    t.ok(result.goodput > 720, `${result.goodput} of 800`);
    t.end();
  },
);
