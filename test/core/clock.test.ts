import t from "tap";
import {
  afterArrivals,
  parseTimestamp,
  systemClock,
  timestamp,
  wait,
} from "../../src/core/clock.ts";
import { equalJitter, fullJitter } from "../../src/core/backoff.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

void t.test("wait ends when its time has come", async (t) => {
  const clock = fakeClock();
  const done = wait(clock, 100, new AbortController().signal);
  clock.advance(99);
  t.equal(clock.pending, 1);
  clock.advance(1);
  await done;
  t.equal(clock.pending, 0);
});

void t.test(
  "wait that is called off rejects with the signal's reason and leaves no timer (law 4)",
  async (t) => {
    const clock = fakeClock();
    const controller = new AbortController();
    const done = wait(clock, 100, controller.signal);
    controller.abort(new Error("enough"));
    await t.rejects(done, { message: "enough" });
    t.equal(clock.pending, 0);
    await t.rejects(wait(clock, 100, controller.signal), { message: "enough" });
    t.equal(clock.pending, 0);
  },
);

void t.test(
  "the system clock's timers can be called off, and a very long one does not fire at once",
  async (t) => {
    await new Promise<void>((resolve, reject) => {
      const keepAlive = setTimeout(
        () => reject(new Error("the timer never fired")),
        5000,
      );
      systemClock.after(2 ** 40, () =>
        reject(new Error("a long timer fired at once")),
      );
      systemClock.after(1, () =>
        reject(new Error("a cancelled timer fired")),
      )();
      const stop = systemClock.every(1, () => {
        stop();
        clearTimeout(keepAlive);
        resolve();
      });
    });
    t.ok(systemClock.now() > 0);
    t.ok(systemClock.wall() > Date.UTC(2026, 0, 1));
    t.ok(systemClock.random() < 1);
  },
);

void t.test("a timer of more days than Node's can wait goes in parts", (t) => {
  const day = 86_400_000;
  const parts: { readonly ms: number; readonly run: () => void }[] = [];
  const real = globalThis.setTimeout;
  globalThis.setTimeout = ((run: () => void, ms: number) => {
    parts.push({ ms, run });
    return { unref: () => undefined };
  }) as unknown as typeof setTimeout;
  let ran = 0;
  try {
    systemClock.after(60 * day, () => (ran += 1));
    for (let part = 0; part < parts.length; part += 1) parts[part]?.run();
  } finally {
    globalThis.setTimeout = real;
  }
  t.equal(ran, 1);
  t.equal(parts.length, 3);
  t.equal(
    parts.reduce((sum, { ms }) => sum + ms, 0),
    60 * day,
  );
  t.end();
});

void t.test("timestamps are RFC 3339", (t) => {
  t.equal(
    timestamp(Date.UTC(2026, 0, 2, 3, 4, 5, 6)),
    "2026-01-02T03:04:05.006Z",
  );
  t.equal(
    parseTimestamp("2026-01-02T03:04:05.006Z"),
    Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  );
  t.ok(Number.isNaN(parseTimestamp("yesterday")));
  t.end();
});

void t.test(
  "back-off doubles its bound, is capped, and jitters over the whole or the upper half",
  (t) => {
    const options = { base: 25, max: 250 };
    const bounds = [25, 50, 100, 200, 250, 250];
    const highest = fakeClock({ random: () => 0.999999 });
    const lowest = fakeClock({ random: () => 0 });
    for (const [index, bound] of bounds.entries()) {
      t.ok(Math.abs(fullJitter(options, index + 1, highest) - bound) < 0.01);
      t.equal(fullJitter(options, index + 1, lowest), 0);
      t.ok(Math.abs(equalJitter(options, index + 1, highest) - bound) < 0.01);
      t.equal(equalJitter(options, index + 1, lowest), bound / 2);
    }
    t.end();
  },
);

void t.test(
  "what has arrived is heard before its time is over, and may call it off",
  async (t) => {
    const clock = fakeClock();
    const told: string[] = [];
    const calledOff = afterArrivals(clock, 100, () => told.push("called off"));
    afterArrivals(clock, 100, () => told.push("over"));
    clock.advance(100);
    t.strictSame(told, []);
    calledOff();
    await new Promise((resolve) => setImmediate(resolve));
    t.strictSame(told, ["over"]);
    afterArrivals(clock, 100, () => told.push("never"))();
    t.equal(clock.pending, 0);
  },
);
