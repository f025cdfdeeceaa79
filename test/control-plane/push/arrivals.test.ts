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
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";

/** As far as it is looked at. */
function sockets(count: number, remoteAddress?: string): Socket[] {
  return Array.from({ length: count }, () =>
    Object.assign(new EventEmitter(), {
      remoteAddress,
      readableLength: 1,
      destroyed: false,
      destroy(this: EventEmitter & { destroyed: boolean }) {
        this.destroyed = true;
        this.emit("close");
      },
    }),
  ) as unknown as Socket[];
}

function arrivalsOf(
  clock: FakeClock,
  begun: Socket[],
  waiting: Socket[] = [],
): Arrivals {
  return new Arrivals({
    clock,
    waits: (raw) => waiting.push(raw),
    begin: (raw) => begun.push(raw),
  });
}

/** Comes, and says something. */
function come(arrivals: Arrivals, raw: Socket): void {
  arrivals.add(raw);
  raw.emit("readable");
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1)
    await new Promise((resolve) => setImmediate(resolve));
}

void t.test("a few begin in a turn, and wait for those before", async (t) => {
  const clock = fakeClock();
  const begun: Socket[] = [];
  const arrivals = arrivalsOf(clock, begun);
  const all = sockets(4 * MOST_ARRIVING);
  for (const raw of all) come(arrivals, raw);
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

void t.test("those that say nothing take no turn", async (t) => {
  const clock = fakeClock();
  const begun: Socket[] = [];
  const waiting: Socket[] = [];
  const arrivals = arrivalsOf(clock, begun, waiting);
  const [late, gone, empty, good] = sockets(4) as [
    Socket,
    Socket,
    Socket,
    Socket,
  ];
  for (const raw of [...sockets(500), late, gone]) arrivals.add(raw);
  gone.emit("close");
  come(arrivals, Object.assign(empty, { readableLength: 0 }));
  t.ok(empty.destroyed, "it ended before it said anything");
  come(arrivals, good);
  await turns(2);
  t.same(begun, [good], "it waits for none of them");
  late.emit("readable");
  late.emit("readable");
  await turns(2);
  t.same(begun, [good, late]);
  t.same(waiting, [good, late], "each waits once");
  arrivals.close();
  t.equal(clock.pending, 0);
});

void t.test("one that may not wait takes no turn", async (t) => {
  const clock = fakeClock();
  const begun: Socket[] = [];
  const arrivals = new Arrivals({
    clock,
    waits: (raw) => raw.destroy(),
    begin: (raw) => begun.push(raw),
  });
  for (const raw of sockets(3)) come(arrivals, raw);
  await turns(3);
  t.same(begun, []);
  arrivals.close();
  t.end();
});

void t.test(
  "by turns, the last that came is before a queue of others",
  async (t) => {
    const clock = fakeClock();
    const begun: Socket[] = [];
    const arrivals = arrivalsOf(clock, begun);
    for (const raw of sockets(500)) come(arrivals, raw);
    await turns(20);
    const [good] = sockets(1) as [Socket];
    come(arrivals, good);
    await turns(20);
    t.notOk(begun.includes(good), "all places are taken");
    clock.advance(ARRIVES_WITHIN);
    await turns(20);
    t.ok(begun.includes(good), "but not for long");
    for (let round = 0; round < 8; round += 1) {
      clock.advance(ARRIVES_WITHIN);
      await turns(20);
    }
    t.equal(begun.length, 501, "nobody waits for ever");
    arrivals.close();
  },
);

const FLOOD = "10.0.0.1";

void t.test("sources have turns, however fast one of them comes", async (t) => {
  const clock = fakeClock();
  const begun: Socket[] = [];
  const arrivals = arrivalsOf(clock, begun);
  const flood = (count: number): void => {
    for (const raw of sockets(count, FLOOD)) come(arrivals, raw);
  };
  flood(500);
  await turns(20);
  t.equal(begun.length, MOST_ARRIVING);
  const [slow, other] = ["10.0.0.2", "::ffff:10.0.0.3"];
  for (const raw of [...sockets(2, slow), ...sockets(2, other)])
    come(arrivals, raw);
  // None of them is the first of all, or the last.
  flood(500);
  for (const raw of begun.slice(0, 2)) arrivals.over(raw);
  await turns(2);
  clock.advance(ARRIVES_WITHIN);
  await turns(10);
  t.same(
    begun
      .slice(MOST_ARRIVING, MOST_ARRIVING + 8)
      .map((raw) => raw.remoteAddress),
    [FLOOD, slow, other, FLOOD, slow, other, FLOOD, FLOOD],
  );
  arrivals.close();
  t.equal(clock.pending, 0);
});
