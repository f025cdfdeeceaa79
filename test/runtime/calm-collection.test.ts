/** What a wave of work leaves in the heap is collected once things are calm, where it is worth it and takes little. */
import t from "tap";
import {
  CALM_AGAIN,
  CALM_LOOK,
  collectWhenCalm,
  Leavings,
  MOST_LEFT,
} from "../../src/runtime/calm-collection.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const MIB = 1024 * 1024;

function rig(): {
  total: number;
  used: number;
  cpu: number;
  collected: number;
  readonly look: (cpu?: number) => void;
  readonly stop: () => void;
  readonly advance: (ms: number) => void;
} {
  const clock = fakeClock();
  const state = {
    total: 200 * MIB,
    used: 80 * MIB,
    cpu: 0,
    collected: 0,
    look(cpu = 0) {
      state.cpu += cpu;
      clock.advance(CALM_LOOK);
    },
    stop: (): void => undefined,
    advance: (ms: number) => clock.advance(ms),
  };
  state.stop = collectWhenCalm({
    clock,
    heap: () => ({ total: state.total, used: state.used }),
    cpu: () => state.cpu,
    collect: () => {
      state.collected += 1;
    },
  });
  return state;
}

void t.test("only when calm", (t) => {
  const state = rig();
  state.look(CALM_LOOK * 0.2);
  t.equal(state.collected, 0);
  state.look(CALM_LOOK * 0.01);
  t.equal(state.collected, 1);
  t.end();
});

void t.test("once a minute", (t) => {
  const state = rig();
  for (let ms = 0; ms < CALM_AGAIN; ms += CALM_LOOK) state.look();
  t.equal(state.collected, 1);
  state.look();
  state.look();
  t.equal(state.collected, 2);
  t.end();
});

void t.test("where there is something to gain, and it takes little", (t) => {
  const state = rig();
  state.total = 100 * MIB;
  state.look();
  t.equal(state.collected, 0, "20 MiB are not worth it");
  state.total = 900 * MIB;
  state.used = 500 * MIB;
  state.look();
  t.equal(state.collected, 0, "500 MiB take too long");
  state.used = 90 * MIB;
  state.look();
  t.equal(state.collected, 1);
  t.end();
});

void t.test("not after its end", (t) => {
  const state = rig();
  state.stop();
  state.look();
  t.equal(state.collected, 0);
  t.end();
});

void t.test("the process's own heap", (t) => {
  const clock = fakeClock();
  const stop = collectWhenCalm({ clock, cpu: () => 0 });
  clock.advance(CALM_LOOK);
  stop();
  t.end();
});

void t.test("what lists leave behind is collected in steps", (t) => {
  const state = { used: 80 * MIB, collected: 0 };
  const leavings = new Leavings({
    used: () => state.used,
    collect: () => {
      state.collected += 1;
    },
  });
  const looks = (used: number): number => {
    state.used = used;
    leavings.look();
    return state.collected;
  };
  t.equal(looks(80 * MIB), 0);
  t.equal(looks(80 * MIB + MOST_LEFT - 1), 0);
  t.equal(looks(70 * MIB), 0, "V8 has collected by itself");
  t.equal(looks(70 * MIB + MOST_LEFT), 1);
  t.equal(looks(71 * MIB + MOST_LEFT), 1, "it is under way");
  t.equal(looks(60 * MIB), 1);
  t.equal(looks(60 * MIB + MOST_LEFT), 2);
  t.equal(looks(60 * MIB + 2 * MOST_LEFT - 1), 2, "all of it is alive");
  t.equal(looks(60 * MIB + 2 * MOST_LEFT), 3);
  t.end();
});
