/** What is held is counted, and what one queue may hold, what one read brings and who waits for room follow from it. */
import t from "tap";
import { Buffers } from "../../src/wire/buffers.ts";
import { LEAST_READ, USUAL_READ } from "../../src/runtime/socket-data.ts";

const MIB = 1_048_576;
const LIMIT = 16 * MIB;
const turn = (): Promise<void> =>
  new Promise((resolve) => void setImmediate(resolve));

void t.test("one queue may hold 64 KiB, less where much is held", (t) => {
  const buffers = new Buffers(LIMIT);
  for (const [held, share] of [
    [0, 65_536],
    [LIMIT / 4, 32_768],
    [(LIMIT * 3) / 8, 16_384],
    [LIMIT / 2, 0],
    [LIMIT, 0],
  ] as const) {
    buffers.change(held - buffers.held);
    t.equal(buffers.share, share, `${held} bytes held`);
    t.equal(buffers.crowded, held >= LIMIT / 2);
    t.equal(buffers.full, held >= LIMIT);
  }
  t.end();
});

void t.test(
  "however many queues stand still, they stay under half of the bound, and the next one has a share",
  (t) => {
    const buffers = new Buffers(LIMIT);
    let least = Infinity;
    for (let queue = 0; queue < 1000; queue += 1) {
      least = Math.min(least, buffers.share);
      buffers.change(Math.floor(buffers.share));
    }
    t.ok(least > 0);
    t.ok(buffers.held < LIMIT / 2);
    t.end();
  },
);

void t.test(
  "one read brings less where the sockets together could bring half of the bound",
  (t) => {
    const buffers = new Buffers(LIMIT);
    t.equal(buffers.readBytes, USUAL_READ);
    buffers.promise(LIMIT / 2 + 1);
    t.equal(buffers.readBytes, LEAST_READ);
    buffers.promise(-LIMIT / 4);
    t.equal(buffers.readBytes, USUAL_READ);
    buffers.change(LIMIT / 2);
    t.equal(buffers.readBytes, LEAST_READ);
    t.end();
  },
);

void t.test(
  "so many sockets read 64 KiB as are a quarter of the bound",
  (t) => {
    const buffers = new Buffers(LIMIT);
    let count = 0;
    while (buffers.large(1)) count += 1;
    t.equal(count, LIMIT / 4 / 65_536);
    buffers.small(1);
    t.ok(buffers.large(1));
    buffers.small(1);
    buffers.change(LIMIT / 4);
    t.notOk(buffers.large(1), "none where as much is held");
    t.end();
  },
);

void t.test("a socket that reads more at once counts as several", (t) => {
  const buffers = new Buffers(LIMIT);
  const all = LIMIT / 4 / 65_536;
  t.ok(buffers.large(all - 2));
  t.notOk(buffers.large(3), "not in part");
  t.ok(buffers.large(2));
  buffers.small(3);
  t.ok(buffers.large(3));
  t.end();
});

void t.test(
  "connections that gather bulk have an eighth of the bound together, and four may in any case",
  (t) => {
    for (const [limit, count] of [
      [LIMIT, LIMIT / 8 / 262_144],
      [MIB, 4],
    ] as const) {
      const buffers = new Buffers(limit);
      for (let at = 0; at < count; at += 1) t.ok(buffers.wide());
      t.notOk(buffers.wide());
      buffers.narrow();
      t.ok(buffers.wide());
    }
    t.end();
  },
);

void t.test("slices are copied the sooner the more is held", (t) => {
  const buffers = new Buffers(LIMIT);
  t.equal(buffers.waste, 16);
  buffers.change(LIMIT / 32);
  t.equal(buffers.waste, 2);
  t.end();
});

void t.test("who waits for room goes on once, in another turn", async (t) => {
  const buffers = new Buffers(LIMIT);
  let runs = 0;
  buffers.change(LIMIT / 2);
  buffers.whenRoom(() => (runs += 1));
  await turn();
  t.equal(runs, 0);
  buffers.change(-LIMIT / 4);
  t.equal(runs, 0, "not from within what made the room");
  await turn();
  t.equal(runs, 1);
  buffers.change(-LIMIT / 4);
  await turn();
  t.equal(runs, 1);
  buffers.whenRoom(() => (runs += 1));
  await turn();
  t.equal(runs, 2, "where there is room already");
});

void t.test("without a bound nothing is short", (t) => {
  const buffers = new Buffers();
  buffers.change(1e15);
  t.match(buffers, { share: 65_536, crowded: false, full: false });
  t.equal(buffers.readBytes, USUAL_READ);
  t.end();
});
