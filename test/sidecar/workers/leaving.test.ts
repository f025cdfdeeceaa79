/** WebSockets of a sidecar that leaves are told to go a few at a time. */
import t from "tap";
import { leaveByAndBy } from "../../../src/sidecar/workers/leaving.ts";
import type { Idler } from "../../../src/proxy/exchange/time/idle.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

/** `opens`: its handshake is still on its way. */
function idlerOf(left: Idler[], opens = false): Idler & { opens: boolean } {
  const idler = {
    movedAt: 0,
    idleLimit: 0,
    idled: () => undefined,
    holds: false,
    giveUp: () => undefined,
    paced: () => false,
    dueAt: 0,
    dueSlot: undefined,
    due: () => undefined,
    opens,
    leave(callee: boolean) {
      if (!callee || idler.opens) return false;
      left.push(idler);
      return true;
    },
  };
  return idler;
}

void t.test("few at once, many over the time that there is", (t) => {
  for (const [count, first, steps] of [
    [4, 4, 1],
    [1000, 10, 100],
    [3, 3, 1],
  ] as const) {
    const clock = fakeClock();
    const left: Idler[] = [];
    const idlers = Array.from({ length: count }, () => idlerOf(left));
    const stop = leaveByAndBy({
      ...{ clock, idle: { idlers }, callee: true, within: 10_000 },
    });
    t.equal(left.length, first, `${count}: at once`);
    clock.advance((steps - 1) * 100);
    t.equal(left.length, count, `${count}: all`);
    clock.advance(1000);
    t.equal(left.length, count, "each once");
    stop();
    t.equal(clock.pending, 0);
  }
  t.end();
});

void t.test("one that opens later, and none of the other side", (t) => {
  const clock = fakeClock();
  const left: Idler[] = [];
  const late = idlerOf(left, true);
  const idlers = [late];
  const common = { clock, idle: { idlers }, within: 10_000 };
  const stops = [true, false].map((callee) =>
    leaveByAndBy({ ...common, callee }),
  );
  t.equal(left.length, 0);
  late.opens = false;
  clock.advance(100);
  t.same(left.length, 1);
  for (const stop of stops) stop();
  t.end();
});
