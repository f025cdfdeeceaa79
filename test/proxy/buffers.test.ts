/** The replay buffer's bounds and the idle time-out's clock. */
import t from "tap";
import {
  IDLE_TICK,
  watchIdle,
  type Idler,
} from "../../src/proxy/exchange/idle.ts";
import {
  makeReplayBudget,
  Replay,
  REPLAY_LIMIT,
} from "../../src/proxy/exchange/replay.ts";
import { fakeClock } from "../support/fake-clock.ts";

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
        evicted: () => undefined,
        paced: () => undefined,
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
