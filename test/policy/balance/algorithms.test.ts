import t from "tap";
import {
  at,
  newLoad,
  type Algorithm,
  type Candidate,
} from "../../../src/policy/balance/algorithm.ts";
import { leastRequest } from "../../../src/policy/balance/least-request.ts";
import {
  estimate,
  INITIAL_LATENCY,
  peakEwma,
  recordLatency,
  TAU,
} from "../../../src/policy/balance/peak-ewma.ts";
import { random } from "../../../src/policy/balance/random.ts";
import { roundRobin } from "../../../src/policy/balance/round-robin.ts";
import { latencyOf } from "../../../src/policy/outcome.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";

interface Named extends Candidate {
  readonly name: string;
}

function candidate(name: string, over: Partial<Candidate> = {}): Named {
  return {
    name,
    weight: 1,
    load: newLoad(INITIAL_LATENCY, 0, 0),
    ...over,
  };
}

function tally(
  algorithm: Algorithm,
  candidates: readonly Named[],
  count: number,
  now = 0,
): Record<string, number> {
  const picks: Record<string, number> = {};
  for (let index = 0; index < count; index += 1) {
    const { name } = algorithm.choose(candidates, now);
    picks[name] = (picks[name] ?? 0) + 1;
  }
  return picks;
}

void t.test(
  "round robin spreads a heavy endpoint's turns (nginx's example: a a b a c a a)",
  (t) => {
    const algorithm = roundRobin();
    const candidates = [
      candidate("a", { weight: 5 }),
      candidate("b"),
      candidate("c"),
    ];
    const turns = Array.from(
      { length: 14 },
      () => algorithm.choose(candidates, 0).name,
    ).join("");
    t.equal(turns, "aabacaaaabacaa");
    t.end();
  },
);

void t.test("random draws by weight", (t) => {
  const algorithm = random(seededRandom(2));
  const picks = tally(
    algorithm,
    [candidate("a", { weight: 3 }), candidate("b", { weight: 1 })],
    8000,
  );
  t.ok(Math.abs((picks["a"] ?? 0) - 6000) < 3 * Math.sqrt(8000 * 0.75 * 0.25));
  const last = random(() => 1);
  t.equal(last.choose([candidate("a"), candidate("b")], 0).name, "b");
  t.end();
});

void t.test("least request takes the less busy of two, for its weight", (t) => {
  const algorithm = leastRequest(seededRandom(3));
  const busy = candidate("busy");
  busy.load.inflight = 3;
  t.strictSame(tally(algorithm, [busy, candidate("idle")], 50), { idle: 50 });
  const strong = candidate("strong", { weight: 10 });
  strong.load.inflight = 3;
  t.strictSame(tally(algorithm, [strong, candidate("weak")], 50), {
    strong: 50,
  });
  t.strictSame(tally(algorithm, [busy], 5), { busy: 5 });
  t.end();
});

void t.test(
  "two choices are two different ones, and every pair comes up",
  (t) => {
    const algorithm = leastRequest(seededRandom(4));
    const worst = candidate("worst");
    worst.load.inflight = 9;
    const picks = tally(
      algorithm,
      [worst, candidate("b"), candidate("c")],
      3000,
    );
    t.equal(picks["worst"], undefined, "it always meets a better one");
    t.ok(Math.abs((picks["b"] ?? 0) - 1500) < 150);
    t.end();
  },
);

void t.test("peak EWMA weighs latency by what is under way", (t) => {
  const algorithm = peakEwma(seededRandom(5));
  const fast = candidate("fast");
  const slow = candidate("slow");
  fast.load.latency = 10;
  slow.load.latency = 35;
  t.strictSame(tally(algorithm, [fast, slow], 20), { fast: 20 });
  fast.load.inflight = 3;
  t.strictSame(tally(algorithm, [fast, slow], 20), { slow: 20 });
  t.strictSame(
    tally(algorithm, [{ ...fast, weight: 2 }, slow], 20),
    { fast: 20 },
    "a heavier endpoint bears more",
  );
  t.end();
});

void t.test("the average takes a peak at once and good news slowly", (t) => {
  const { load } = candidate("a");
  recordLatency(load, 500, 1000);
  t.equal(load.latency, 500);
  recordLatency(load, 100, 1000);
  t.equal(load.latency, 500, "no time has passed");
  recordLatency(load, 100, 1000 + TAU);
  t.ok(Math.abs(load.latency - (100 + 400 / Math.E)) < 1e-9);
  t.end();
});

void t.test(
  "an estimate worse than the median decays towards it; a better one stays",
  (t) => {
    const { load } = candidate("a");
    recordLatency(load, 5000, 0);
    t.equal(estimate(load, 10, 0), 5000);
    t.ok(Math.abs(estimate(load, 10, TAU) - (10 + 4990 / Math.E)) < 1e-9);
    t.ok(estimate(load, 10, 20 * TAU) < 10.01);
    t.equal(estimate(load, 9000, 5 * TAU), 5000);
    t.end();
  },
);

void t.test(
  "an endpoint that failed once gets traffic again after a while",
  (t) => {
    const algorithm = peakEwma(seededRandom(6));
    const failed = candidate("failed");
    const well = candidate("well");
    recordLatency(failed.load, 5000, 0);
    recordLatency(well.load, 1000, 0);
    const share = (now: number): number =>
      tally(algorithm, [failed, well], 100, now)["failed"] ?? 0;
    t.equal(share(1), 0);
    well.load.inflight = 1;
    t.equal(share(60_000), 100, "its estimate is that of its peer by now");
    t.end();
  },
);

void t.test("a black hole that fails fast attracts no traffic", (t) => {
  const random = seededRandom(7);
  const algorithm = peakEwma(random);
  const candidates = ["hole", "b", "c", "d", "e"].map((name) =>
    candidate(name),
  );
  let lost = 0;
  const ends: { at: number; who: Named; latency: number }[] = [];
  for (let index = 0; index < 20_000; index += 1) {
    const now = index * 2;
    while (ends[0] !== undefined && ends[0].at <= now) {
      const end = ends.shift();
      if (end === undefined) break;
      end.who.load.inflight -= 1;
      recordLatency(end.who.load, end.latency, end.at);
    }
    const who = algorithm.choose(candidates, now);
    who.load.inflight += 1;
    const hole = who.name === "hole";
    if (hole) lost += 1;
    const took = hole ? 1 : 8 + 4 * random();
    const latency = latencyOf(
      {
        kind: hole ? "server-error" : "answered",
        status: undefined,
        retryAfter: undefined,
      },
      took,
    );
    ends.push({ at: now + took, who, latency: latency ?? took });
    ends.sort((left, right) => left.at - right.at);
  }
  t.ok(lost < 100, `${lost} of 20,000 went into the hole`);
  t.end();
});

void t.test("a slow endpoint gets little traffic", (t) => {
  const algorithm = peakEwma(seededRandom(8));
  const candidates = ["slow", "b", "c", "d"].map((name) => candidate(name));
  let slow = 0;
  for (let index = 0; index < 10_000; index += 1) {
    const now = index * 5;
    const who = algorithm.choose(candidates, now);
    if (who.name === "slow") slow += 1;
    recordLatency(who.load, who.name === "slow" ? 100 : 10, now);
  }
  t.ok(slow < 500, `${slow} of 10,000`);
  t.end();
});

void t.test("a hundred and more candidates are no matter", (t) => {
  const many = Array.from({ length: 300 }, (_, index) =>
    candidate(`c${index}`),
  );
  for (const algorithm of [
    peakEwma(seededRandom(9)),
    leastRequest(seededRandom(9)),
    random(seededRandom(9)),
    roundRobin(),
  ])
    t.ok(Object.keys(tally(algorithm, many, 3000)).length > 250);
  t.throws(() => at(many, 300), /no candidate 300 of 300/);
  t.end();
});
