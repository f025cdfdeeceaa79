/** Gradient2's arithmetic, and the line before the limit. */
import t from "tap";
import {
  ConcurrencyLimit,
  STANDING,
  WaitingLine,
} from "../../src/policy/overload.ts";

const OPTIONS = { minConcurrency: 4, maxConcurrency: 1000 };

/** `windows` windows of `latency` milliseconds with so many in flight; the next may begin at the time that comes back. */
function play(
  limit: ConcurrencyLimit,
  latency: number,
  inFlight: number,
  windows: number,
  from = 0,
): number {
  let now = from;
  for (let window = 0; window < windows; window += 1)
    for (let sample = 0; sample <= 10; sample += 1) {
      limit.sample(latency, inFlight, now);
      now += 10;
    }
  return now;
}

void t.test("it begins at 20, and with few under way it stays", (t) => {
  const limit = new ConcurrencyLimit(OPTIONS);
  t.equal(limit.limit, 20);
  play(limit, 10, 9, 50);
  t.equal(limit.limit, 20, "less than half of it shows nothing");
  t.end();
});

void t.test("nothing waits: it grows by what a queue may hold", (t) => {
  const limit = new ConcurrencyLimit(OPTIONS);
  play(limit, 10, 20, 1);
  // 0.8 · 20 + 0.2 · (20 · 1 + 4)
  t.equal(limit.limit, 20);
  play(limit, 10, 20, 4, 1000);
  t.equal(limit.limit, 24);
  t.end();
});

void t.test("a window ends after 100 ms and with ten samples", (t) => {
  const limit = new ConcurrencyLimit(OPTIONS);
  for (let sample = 0; sample < 9; sample += 1)
    limit.sample(10, 20, sample * 100);
  t.equal(limit.latest, 0, "nine");
  limit.sample(10, 20, 900);
  t.equal(limit.latest, 10, "ten");
  for (let sample = 0; sample < 200; sample += 1)
    limit.sample(30, 20, 1000 + sample / 3);
  t.equal(limit.latest, 10, "within 100 ms");
  limit.sample(30, 20, 1101);
  t.equal(limit.latest, 30);
  t.end();
});

void t.test("the median counts: a few slow ones change nothing", (t) => {
  const limit = new ConcurrencyLimit(OPTIONS);
  for (let sample = 0; sample < 11; sample += 1)
    limit.sample(sample < 4 ? 5000 : 10, 20, sample * 10);
  t.equal(limit.latest, 10);
  t.end();
});

void t.test(
  "requests that take twice as long as they have been taking: it falls",
  (t) => {
    const limit = new ConcurrencyLimit(OPTIONS);
    const now = play(limit, 10, 100, 100);
    const before = limit.limit;
    t.ok(before > 80);
    const later = play(limit, 20, 100, 5, now);
    t.ok(limit.limit < before * 0.9, `${before} → ${limit.limit}`);
    play(limit, 200, 100, 50, later);
    t.ok(limit.limit < 15, "and ever further");
    t.end();
  },
);

void t.test("never below the minimum, never above the maximum", (t) => {
  const low = new ConcurrencyLimit({ minConcurrency: 12, maxConcurrency: 40 });
  const now = play(low, 10, 20, 100);
  t.equal(low.limit, 40);
  const later = play(low, 10_000, 40, 100, now);
  t.equal(low.limit, 12);
  low.configure({ minConcurrency: 1, maxConcurrency: 6 });
  t.equal(low.limit, 6, "new bounds hold at once");
  play(low, 10_000, 40, 1, later);
  t.end();
});

void t.test("a long overload does not become what is usual", (t) => {
  const limit = new ConcurrencyLimit(OPTIONS);
  const now = play(limit, 10, 12, 600);
  play(limit, 30, 1000, 600, now);
  t.ok(limit.usual < 12, `usual ${limit.usual} after a minute of 30 ms`);
  t.end();
});

void t.test("what has become quick again is soon usual", (t) => {
  const limit = new ConcurrencyLimit(OPTIONS);
  const now = play(limit, 100, 12, 600);
  play(limit, 10, 12, 60, now);
  t.ok(limit.usual < 25, `usual ${limit.usual}`);
  t.end();
});

void t.test("requests too quick to measure break nothing", (t) => {
  const limit = new ConcurrencyLimit(OPTIONS);
  play(limit, 0, 1000, 1300);
  t.equal(limit.limit, 1000);
  t.end();
});

const one = (name: string, since: number): { name: string; since: number } => ({
  name,
  since,
});

void t.test("through a burst the first that came goes first", (t) => {
  const line = new WaitingLine<ReturnType<typeof one>>();
  for (const name of ["a", "b", "c"]) line.join(one(name, 0));
  t.equal(line.next(STANDING)?.name, "a");
  t.equal(line.next(STANDING)?.name, "b");
  t.equal(line.length, 1);
  t.end();
});

void t.test(
  "in a standing line the newest goes first, until it has been empty",
  (t) => {
    const line = new WaitingLine<ReturnType<typeof one>>();
    for (const [at, name] of ["a", "b", "c", "d"].entries())
      line.join(one(name, at * 10));
    t.equal(line.isStanding(STANDING + 1), true);
    t.equal(line.next(STANDING + 1)?.name, "d");
    t.equal(line.oldest, 0);
    t.equal(line.drop()?.name, "a");
    const rest = [line.next(30)?.name, line.next(30)?.name];
    t.strictSame(rest, ["c", "b"]);
    t.equal(line.next(30), undefined);
    line.join(one("e", 100));
    line.join(one("f", 100));
    t.equal(line.isStanding(110), false);
    t.equal(line.next(110)?.name, "e");
    t.end();
  },
);

void t.test("who goes away stands there no more", (t) => {
  const line = new WaitingLine<ReturnType<typeof one>>();
  const [a, b] = [one("a", 0), one("b", 0)];
  line.join(a);
  line.join(b);
  t.equal(line.leave(a), true);
  t.equal(line.leave(a), false);
  t.equal(line.next(0), b);
  t.equal(line.leave(b), false);
  t.end();
});
