/** Few connections are on their way at a time; who is in, gone or slow makes room for the next. */
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import t from "tap";
import {
  Arrivals,
  ARRIVES_WITHIN,
  HANDSHAKES_A_TURN,
  MOST_ARRIVING,
} from "../../../src/control-plane/push/arrivals.ts";
import { fakeClock } from "../../support/fake-clock.ts";

/** As far as it is looked at. */
function sockets(count: number): Socket[] {
  return Array.from({ length: count }, () =>
    Object.assign(new EventEmitter(), { destroyed: false }),
  ) as unknown as Socket[];
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1)
    await new Promise((resolve) => setImmediate(resolve));
}

void t.test("a few begin in a turn, and wait for those before", async (t) => {
  const clock = fakeClock();
  const begun: Socket[] = [];
  const arrivals = new Arrivals(clock, (raw) => begun.push(raw));
  const all = sockets(4 * MOST_ARRIVING);
  for (const raw of all) arrivals.add(raw);
  t.equal(begun.length, 0);
  await turns(1);
  t.equal(begun.length, HANDSHAKES_A_TURN);
  await turns(20);
  t.equal(begun.length, MOST_ARRIVING, "no more before one is in");
  t.same(begun, all.slice(0, MOST_ARRIVING), "in their order");

  arrivals.over(all[0] as Socket);
  arrivals.over(all[0] as Socket);
  all[1]?.emit("close");
  await turns(20);
  t.equal(begun.length, MOST_ARRIVING + 2, "one that is in, and one that left");
  all[MOST_ARRIVING + 2]?.emit("close");
  arrivals.over(all[2] as Socket);
  await turns(20);
  t.equal(begun.at(-1), all[MOST_ARRIVING + 3], "who left is passed over");

  clock.stall(10 * ARRIVES_WITHIN);
  await turns(20);
  t.equal(begun.length, MOST_ARRIVING + 3, "a stall ages nobody");
  clock.advance(ARRIVES_WITHIN);
  await turns(20);
  t.equal(begun.length, 2 * MOST_ARRIVING + 3, "the slow keep nobody waiting");
  arrivals.close();
  t.equal(clock.pending, 0);
});
