/** Memory as a state of overload: which share is which level, and how a level is left. */
import t from "tap";
import {
  LOOK,
  watchMemory,
  type Level,
  type MemorySample,
} from "../../../src/proxy/downstream/memory-pressure.ts";
import { makeMeters } from "../../../src/telemetry/meters.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { keptLog } from "../../support/laws/harness.ts";

const LIMIT = 1000;
const MIB = 1024 * 1024;

function watched(limits = { bufferedBytes: LIMIT, memoryBytes: LIMIT }) {
  const clock = fakeClock();
  const { logger, lines } = keptLog();
  const registry = makeMetrics({ maxSeries: 100 });
  const state = {
    resident: 0,
    heap: 0,
    heapLimit: LIMIT,
    buffered: 0,
    read: 0,
  };
  const levels: Level[] = [];
  /** What each was told: whether memory was short. */
  const collections: boolean[] = [];
  const growths: number[] = [];
  const memory = watchMemory({
    clock,
    logger,
    meters: makeMeters(registry),
    limits,
    buffered: () => state.buffered,
    onLevel: (level) => levels.push(level),
    sample: (): MemorySample => state,
    read: () => state.read,
    collect: (short) => collections.push(short),
    growth: (percent) => growths.push(percent),
  });
  return {
    state,
    lines,
    levels,
    growths,
    memory,
    clock,
    /** The level after `looks` looks at `resident`. */
    at: (resident: number, looks = 1): Level => {
      state.resident = resident;
      clock.advance(LOOK * looks);
      return memory.level;
    },
    metric: (name: string) =>
      Number(new RegExp(`^${name} (.*)$`, "m").exec(registry.render())?.[1]),
    collections,
  };
}

const SHARES: readonly (readonly [resident: number, level: Level])[] = [
  [0, 0],
  [899, 0],
  [900, 1],
  [949, 1],
  [950, 2],
  [979, 2],
  [980, 3],
  [2000, 3],
];
for (const [resident, level] of SHARES)
  void t.test(`${resident} of ${LIMIT} octets is level ${level}`, (t) => {
    const { at } = watched();
    t.equal(at(resident), level);
    t.end();
  });

for (const [share, level] of [
  ["resident", 2],
  ["heap", 2],
  // Beyond its bound nobody reads: it is no reason to turn anybody away.
  ["buffered", 1],
] as const)
  void t.test(`the share of ${share} counts, up to level ${level}`, (t) => {
    const { state, clock, memory, metric } = watched();
    state[share] = 960;
    clock.advance(LOOK);
    t.equal(memory.level, level);
    t.equal(metric("wherry_memory_pressure"), 0.96);
    t.equal(metric("wherry_overload_level"), level);
    t.end();
  });

void t.test("where nobody limits memory, its size says nothing", (t) => {
  const { at } = watched({ bufferedBytes: LIMIT, memoryBytes: 0 });
  t.equal(at(1_000_000_000), 0);
  t.end();
});

void t.test(
  "a level is left one by one, each after a second, and only under its own mark",
  (t) => {
    const { at, levels } = watched();
    t.equal(at(990), 3);
    t.equal(at(940, 10), 3, "between the marks it stays");
    t.equal(at(929), 2);
    t.equal(at(0), 2, "not at once");
    t.equal(at(0), 1);
    t.equal(at(0, 2), 0);
    t.same(levels, [3, 2, 1, 0]);
    t.end();
  },
);

void t.test("it rises at once, over several levels", (t) => {
  const { at, levels } = watched();
  at(910);
  at(0, 1);
  t.equal(at(990), 3);
  t.same(levels, [1, 3]);
  t.end();
});

void t.test(
  "each change has its line, which says what follows and why",
  (t) => {
    const { at, lines } = watched();
    at(960);
    at(0, 10);
    t.match(lines, [
      {
        level: 2,
        does: "no new connections are taken",
        residentBytes: 960,
        memoryLimitBytes: LIMIT,
        msg: "memory runs short",
      },
      { level: 1, msg: "memory pressure falls" },
      { level: 0, does: "all is well" },
    ]);
    t.equal(lines.length, 3);
    t.end();
  },
);

void t.test(
  "garbage is collected when memory runs short, at most every half minute, and not for buffers that are in use",
  (t) => {
    const short = watched();
    short.at(910, 10);
    t.same(short.collections, [true]);
    short.at(910, 60);
    t.same(short.collections, [true, true]);
    const full = watched();
    full.state.buffered = 990;
    full.at(0, 10);
    t.same(full.collections, []);
    t.end();
  },
);

void t.test("once closed it looks no more", (t) => {
  const { memory, clock } = watched();
  memory.close();
  t.equal(clock.pending, 0);
  t.end();
});

void t.test(
  "what was held and is no more is collected: each second at most where memory is short, each five seconds where it is not",
  (t) => {
    const memory = watched();
    const { state, at, clock } = memory;
    const held = (bytes: number): void => {
      state.buffered = bytes;
      clock.advance(LOOK);
    };
    const count = (): number => memory.collections.length;
    held(400);
    held(200);
    t.equal(count(), 0, "less than a quarter of what may be held");
    held(100);
    t.equal(count(), 1);
    held(400);
    held(0);
    t.equal(count(), 1, "too soon");
    clock.advance(5000);
    t.equal(count(), 2);
    clock.advance(60_000);
    t.equal(count(), 2, "once");
    at(910);
    t.equal(count(), 3, "memory is short");
    held(400);
    held(0);
    clock.advance(1000);
    t.equal(count(), 4, "a second later");
    t.same(
      memory.collections,
      [false, false, true, true],
      "at once only where memory is short",
    );
    t.end();
  },
);

void t.test(
  "what bodies left behind is collected little by little once no more are read, at most every half minute",
  (t) => {
    const { state, clock, collections } = watched();
    const looks = (count: number, bytesEach: number): number => {
      for (let look = 0; look < count; look++) {
        state.read += bytesEach;
        clock.advance(LOOK);
      }
      return collections.length;
    };
    t.equal(looks(1, 7 * MIB), 0);
    t.equal(looks(10, 0), 0, "too little to be worth it");
    t.equal(looks(10, MIB), 0, "more comes");
    t.equal(looks(1, 0), 1);
    t.equal(looks(200, 0), 1, "once");
    t.equal(looks(10, MIB), 1);
    t.equal(looks(1, 0), 2);
    t.equal(looks(10, MIB), 2);
    t.equal(looks(20, 0), 2, "too soon");
    t.equal(looks(40, 0), 3);
    t.equal(looks(10, MIB), 3);
    state.buffered = 8 * MIB;
    t.equal(looks(200, 0), 3, "more is on its way while much is held");
    state.buffered -= 1;
    t.equal(looks(1, 0), 4);
    t.same(collections, [false, false, false, false], "never at once");
    t.end();
  },
);

void t.test(
  "V8's heap may grow by less where more than half of the memory is used",
  (t) => {
    const { at, growths } = watched();
    at(490);
    t.same(growths, []);
    at(510);
    at(900);
    t.same(growths, [40]);
    at(460);
    t.same(growths, [40]);
    at(440);
    t.same(growths, [40, 100]);
    const boundless = watched({ bufferedBytes: LIMIT, memoryBytes: 0 });
    boundless.at(5000);
    t.same(boundless.growths, []);
    t.end();
  },
);
