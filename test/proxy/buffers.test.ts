/** The replay buffer's bounds and the idle time-out's clock. */
import t from "tap";
import {
  IDLE_TICK,
  MOST_ENDED,
  SOON,
  watchIdle,
  type Idler,
} from "../../src/proxy/exchange/time/idle.ts";
import {
  makeReplayBudget,
  Replay,
  REPLAY_LIMIT,
} from "../../src/proxy/exchange/replay.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

void t.test("a request keeps 64 KiB and not an octet more", (t) => {
  const budget = makeReplayBudget();
  const replay = new Replay(budget);
  t.ok(replay.keep(Buffer.alloc(REPLAY_LIMIT - 1)));
  t.ok(replay.keep(Buffer.alloc(1)));
  t.notOk(replay.keep(Buffer.alloc(1)));
  t.equal(budget.held, REPLAY_LIMIT);
  replay.release();
  t.equal(budget.held, 0);
  t.notOk(replay.complete);
  t.notOk(
    replay.keep(Buffer.alloc(1)),
    "what was let go of is not begun again",
  );
  t.end();
});

void t.test(
  "all requests together keep no more than the process allows",
  (t) => {
    const budget = makeReplayBudget(100);
    const one = new Replay(budget);
    const two = new Replay(budget);
    t.ok(one.keep(Buffer.alloc(60)));
    t.notOk(two.keep(Buffer.alloc(60)));
    one.release();
    t.ok(two.keep(Buffer.alloc(60)));
    t.end();
  },
);

void t.test(
  "who does not move for its limit is told, once; who moves is not",
  (t) => {
    const clock = fakeClock();
    const watcher = watchIdle(clock);
    const told: string[] = [];
    const idler = (name: string, idleLimit: number): Idler => {
      const made: Idler = {
        dueAt: 0,
        dueSlot: undefined,
        due: () => undefined,
        movedAt: 0,
        idleLimit,
        holds: false,
        giveUp: () => undefined,
        paced: () => false,
        idled() {
          told.push(name);
          watcher.leave(made);
        },
      };
      return made;
    };
    const still = idler("still", 1000);
    const moving = idler("moving", 1000);
    const endless = idler("endless", 0);
    for (const each of [still, moving, endless]) watcher.enter(each, Infinity);
    for (let step = 0; step < 50; step += 1) {
      clock.advance(IDLE_TICK);
      moving.movedAt = watcher.tick;
    }
    t.same(told, ["still"]);
    t.equal(watcher.active, 2);
    watcher.leave(moving);
    watcher.leave(endless);
    clock.advance(IDLE_TICK);
    t.equal(clock.pending, 0, "no timer runs for nobody");
    t.end();
  },
);

void t.test("of many that are idle at once, a look ends so many", (t) => {
  const clock = fakeClock();
  const watcher = watchIdle(clock);
  const ended: Idler[] = [];
  const mayEnd: boolean[] = [];
  const enter = (idleLimit: number): void => {
    const made: Idler = {
      dueAt: 0,
      dueSlot: undefined,
      due: () => undefined,
      movedAt: 0,
      idleLimit,
      holds: false,
      giveUp: () => undefined,
      paced(_ms, may) {
        mayEnd.push(may);
        return false;
      },
      idled() {
        ended.push(made);
        watcher.leave(made);
      },
    };
    watcher.enter(made, Infinity);
  };
  enter(0);
  for (let count = 0; count < 2.5 * MOST_ENDED; count += 1) enter(1000);
  clock.advance(1000);
  t.equal(ended.length, 0);
  t.same(new Set(mayEnd), new Set([true]));
  clock.advance(IDLE_TICK);
  const counts: number[] = [ended.length];
  for (let look = 0; look < 3; look += 1) {
    clock.advance(SOON);
    counts.push(ended.length);
  }
  t.same(
    counts,
    [1, 2, 2.5, 2.5].map((looks) => looks * MOST_ENDED),
  );
  t.equal(watcher.active, 1);
  watcher.close();
  t.end();
});

void t.test(
  "of many that are too slow at once, a look ends so many, and none that has caught up since",
  (t) => {
    const clock = fakeClock();
    const watcher = watchIdle(clock);
    const judged: number[] = [];
    let catchesUp = false;
    const count = 2.5 * MOST_ENDED;
    for (let made = 0; made < count; made += 1) {
      const idler: Idler = {
        dueAt: 0,
        dueSlot: undefined,
        due: () => undefined,
        movedAt: 0,
        idleLimit: 0,
        holds: false,
        giveUp: () => undefined,
        paced(ms, mayEnd) {
          judged.push(ms);
          if (catchesUp) return false;
          if (mayEnd) watcher.leave(idler);
          return !mayEnd;
        },
        idled: () => undefined,
      };
      watcher.enter(idler, Infinity);
    }
    clock.advance(1000);
    t.equal(watcher.active, count - MOST_ENDED);
    t.same(judged, Array<number>(count).fill(1000), "each is judged once");
    clock.advance(SOON);
    t.equal(watcher.active, count - 2 * MOST_ENDED);
    t.same(
      judged.slice(count),
      Array<number>(MOST_ENDED).fill(0),
      "and no time twice",
    );
    catchesUp = true;
    clock.advance(SOON);
    t.equal(watcher.active, count - 2 * MOST_ENDED);
    catchesUp = false;
    clock.advance(1000);
    t.equal(watcher.active, 0, "the next look finds them again");
    watcher.close();
    t.end();
  },
);

void t.test("of thousands that are idle, none is forgotten", (t) => {
  const clock = fakeClock();
  const watcher = watchIdle(clock);
  let ended = 0;
  for (let count = 0; count < 1500; count += 1) {
    const made: Idler = {
      dueAt: 0,
      dueSlot: undefined,
      due: () => undefined,
      movedAt: 0,
      idleLimit: 1000,
      holds: false,
      giveUp: () => undefined,
      paced: () => false,
      idled() {
        ended += 1;
        watcher.leave(made);
      },
    };
    watcher.enter(made, Infinity);
  }
  // The full look of the second second finds them; those that it leaves do not wait for the next one.
  clock.advance(2000);
  t.equal(ended, MOST_ENDED);
  clock.advance((1500 / MOST_ENDED) * SOON);
  t.equal(ended, 1500);
  t.end();
});
