/** Room is made by breaking off what has stood still for longest: no more than is needed, and little by little. */
import t from "tap";
import {
  makeEviction,
  MOST_A_STEP,
  STEP,
  STILL,
} from "../../../src/proxy/downstream/eviction.ts";
import {
  IDLE_TICK,
  watchIdle,
  type Idler,
} from "../../../src/proxy/exchange/time/idle.ts";
import { Buffers } from "../../../src/wire/buffers.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { keptLog } from "../../support/laws/harness.ts";

const LIMIT = 1000;
const REQUESTS = 1000;

function setUp() {
  const clock = fakeClock();
  const { logger, lines } = keptLog();
  const idle = watchIdle(clock);
  const buffers = new Buffers(LIMIT);
  const gone: string[] = [];
  const shed: number[] = [];
  const eviction = makeEviction({
    clock,
    logger,
    buffers,
    idle,
    requests: REQUESTS,
    shed: (ms, most) => {
      t.equal(ms, STILL);
      shed.push(most);
      return 0;
    },
  });
  return {
    clock,
    lines,
    idle,
    buffers,
    gone,
    shed,
    eviction,
    /** An exchange that holds so many bytes, and lets go of them when it is broken off. */
    enter: (name: string, bytes: number, holds = true): Idler => {
      buffers.change(bytes);
      const idler: Idler = {
        dueAt: 0,
        dueSlot: undefined,
        due: () => undefined,
        movedAt: 0,
        idleLimit: 0,
        holds,
        idled: () => undefined,
        paced: () => false,
        giveUp() {
          gone.push(name);
          buffers.change(-bytes);
          idle.leave(idler);
        },
      };
      idle.enter(idler, Infinity);
      return idler;
    },
  };
}

void t.test(
  "the longest goes first, until little enough is held, and the log tells",
  (t) => {
    const { enter, clock, eviction, gone, lines } = setUp();
    for (const name of ["first", "second", "third", "fourth", "fifth"]) {
      enter(name, 100);
      clock.advance(IDLE_TICK);
    }
    clock.advance(STILL);
    eviction.look();
    t.same(gone, ["first", "second"], "under 375 of 1000 bytes");
    t.match(lines, [{ count: 2, bufferedBytes: 300, activeRequests: 3 }]);
    t.end();
  },
);

void t.test(
  "nothing is broken off that moved within a second, or holds nothing, or where there is room",
  (t) => {
    const { enter, clock, idle, eviction, gone } = setUp();
    const moving = enter("moving", 300);
    enter("waits for its endpoint", 100, false);
    clock.advance(STILL + IDLE_TICK);
    enter("held", 0);
    eviction.look();
    t.same(gone, [], "400 are little enough");
    const more = enter("more", 100);
    moving.movedAt = more.movedAt = idle.tick;
    eviction.look();
    clock.advance(STILL - IDLE_TICK);
    t.same(gone.includes("moving") || gone.includes("more"), false);
    t.end();
  },
);

void t.test(
  "exchanges are broken off where there are nearly as many as there may be, so many in a step",
  (t) => {
    const { enter, clock, idle, eviction, gone } = setUp();
    for (let index = 0; index < 800; index += 1) enter(`${index}`, 0);
    clock.advance(STILL);
    eviction.look();
    t.equal(gone.length, MOST_A_STEP);
    clock.advance(STEP);
    t.equal(gone.length, 2 * MOST_A_STEP);
    clock.advance(25 * STEP);
    t.equal(gone.length, 800 - REQUESTS * 0.625);
    t.equal(idle.active, REQUESTS * 0.625);
    clock.advance(60_000);
    t.equal(gone.length, 800 - REQUESTS * 0.625, "and no more");
    t.end();
  },
);

void t.test(
  "whole responses that nobody takes go after exchanges, and it goes on for as long as there is need",
  (t) => {
    const { buffers, clock, eviction, shed } = setUp();
    buffers.change(500);
    eviction.look();
    t.same(shed, [MOST_A_STEP]);
    clock.advance(3 * STEP);
    t.equal(shed.length, 4);
    buffers.change(-200);
    clock.advance(10 * STEP);
    t.ok(shed.length <= 5);
    eviction.close();
    t.equal(clock.pending, 0, "no timer is left");
    t.end();
  },
);
