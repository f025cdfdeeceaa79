/** Few connections are on their way at a time; who is in, gone or slow makes room for the next. */
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import t from "tap";
import {
  Arrivals,
  ARRIVES_WITHIN,
  HANDSHAKES_A_TURN,
  MOST_ARRIVING,
  SPEAKS_WITHIN,
} from "../../../src/control-plane/push/arrivals.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

/** As far as it is looked at. */
function sockets(count: number): Socket[] {
  return Array.from({ length: count }, () =>
    Object.assign(new EventEmitter(), { destroyed: false, bytesRead: 1 }),
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
  const half = MOST_ARRIVING / 2;
  t.same(
    begun,
    all
      .slice(0, half)
      .flatMap((raw, index) => [raw, all[all.length - 1 - index]]),
    "the first that came and the last, by turns",
  );

  arrivals.over(all[0] as Socket);
  arrivals.over(all[0] as Socket);
  all[1]?.emit("close");
  await turns(20);
  t.equal(begun.length, MOST_ARRIVING + 2, "one that is in, and one that left");
  all[half + 1]?.emit("close");
  all[all.length - half - 2]?.emit("close");
  for (const raw of all.slice(2, 4)) arrivals.over(raw);
  await turns(20);
  t.same(
    begun.slice(-2),
    [all[half + 2], all[all.length - half - 3]],
    "who left is passed over",
  );

  const before = begun.length;
  clock.stall(10 * ARRIVES_WITHIN);
  await turns(20);
  t.equal(begun.length, before, "a stall ages nobody");
  clock.advance(ARRIVES_WITHIN);
  await turns(20);
  t.equal(begun.length, before + MOST_ARRIVING, "the slow keep nobody waiting");
  arrivals.close();
  t.equal(clock.pending, 0);
});

void t.test(
  "the silent fill the queue: who comes last is in before most of them, and they keep nobody for long",
  async (t) => {
    const clock = fakeClock();
    const begun: Socket[] = [];
    const arrivals = new Arrivals(clock, (raw) => begun.push(raw));
    const silent = sockets(500).map((raw) =>
      Object.assign(raw, { bytesRead: 0 }),
    );
    for (const raw of silent) arrivals.add(raw);
    await turns(20);
    const [good] = sockets(1) as [Socket];
    arrivals.add(good);
    await turns(20);
    t.notOk(begun.includes(good), "all places are taken");
    clock.advance(SPEAKS_WITHIN);
    await turns(20);
    t.ok(begun.includes(good), "but not for long");
    for (let round = 0; round < 8; round += 1) {
      clock.advance(SPEAKS_WITHIN);
      await turns(20);
    }
    t.equal(begun.length, 501, "nobody waits for ever");
    arrivals.close();
  },
);
